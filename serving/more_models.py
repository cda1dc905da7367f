"""Model repositories that are served beside ours: `crossover up --models DIR`.

Their models are loaded as their files say, without the thread plan, and the supervisor reloads them like ours. One that
does not load is named with Triton's reason, and the others are served.
"""

import compileall
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from common.messages import one_line
from serving import Failure, model_loader
from serving.triton_api import Refused, TritonAPI, Unreachable


def check(folders: Sequence[str]) -> None:
    """Raise ValueError, in one line, for a folder without models, and for a model whose name is taken already."""
    ours = {name: "ours" for folder in model_loader.OURS for name in model_loader.names(folder, guarded=True)}
    for folder in folders:
        found = model_loader.names(Path(folder))
        if not found:
            raise ValueError(f"--models {folder}: no model is there; expected folders with a config.pbtxt")
        for name in found:
            if quote(name, safe="", errors="replace") != name:
                raise ValueError(f"--models {folder}: no URL can have the name {name!r} in it; rename the model")
            if name in ours:
                raise ValueError(f"--models {folder}: the name {name!r} is taken by {ours[name]}; rename the model")
            ours[name] = f"that of {folder}"


def find(folders: Sequence[str]) -> list[Path]:
    """Return the folders of all models in these repositories, ensembles last, as they need the others."""
    models = [Path(folder) / name for folder in folders for name in model_loader.names(Path(folder))]
    return sorted(models, key=is_ensemble)


def is_ensemble(model: Path) -> bool:
    """Return whether a model is an ensemble; False where its configuration cannot be read, which Triton will say."""
    try:
        return model_loader.read_config(model).HasField("ensemble_scheduling")
    except Failure:
        return False


def load(api: TritonAPI, server: str, folders: Sequence[str], say=print) -> dict[str, str]:
    """Load the models of these repositories into the server of that name; `say` gets a line per model.

    Returns each model with the reason why it is not served, in one line; "" if it is. Raises Unreachable if the server
    is gone.
    """
    for folder in folders:
        compileall.compile_dir(folder, quiet=2)
    outcomes = {}
    for model in find(folders):
        try:
            model_loader.load(api, server, model.name, None, backend(model), say)
            outcomes[model.name] = ""
        except Failure as failure:
            if not api.is_live():
                raise Unreachable(api.address, f"tritonserver ended while it loaded {model.name}") from None
            outcomes[model.name] = one_line(failure.reason if isinstance(failure, Refused) else failure)
            say(f"  {model.name} is not served: {outcomes[model.name]}")
    return outcomes


def read_configs(api: TritonAPI, outcomes: dict[str, str]) -> dict[str, str]:
    """Return the configurations (JSON) of those that are served by Python stubs, which die by themselves.

    `outcomes` is what `load` returned. Raises Unreachable if the server is gone.
    """
    served = {model: api.config(model) for model, reason in outcomes.items() if not reason}
    return {
        model: json.dumps(config)
        for model, config in served.items()
        if model_loader.in_stubs(config.get("backend", ""))
    }


def backend(model: Path) -> str:
    """Return the backend that a model's configuration names; "" where it cannot be read or names none."""
    try:
        return model_loader.read_config(model).backend
    except Failure:
        return ""
