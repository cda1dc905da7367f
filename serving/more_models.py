"""Model repositories of others, beside ours or, with `--only`, alone: `crossover up --models DIR`.

Their models are loaded as their files say, but for what `lay_over` adds, and the supervisor reloads them like ours. One
that does not load is named with Triton's reason, and the others are served.
"""

import compileall
import contextlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from common.messages import one_line
from serving import Failure, environment_folders, model_loader, wheel
from serving.triton_api import Refused, TritonAPI, Unreachable

UNREADABLE = "failed to poll from model repository"
"""What Triton answers for a model whose folder it cannot use; the reason stands in its log."""
UNPARSED = "failed to read text proto"
"""What Triton answers for a config.pbtxt that it cannot parse; it does not say where."""
NO_BACKEND = re.compile(r"unable to find backend library for backend '([^']*)'.*")
PLATFORMS = {"onnxruntime_onnx": "onnxruntime"}
"""Backends of ours by the `platform` that older configurations name in their place."""
FILES = {"model.onnx": "onnxruntime", "model.py": "python"}
"""Backends by the file of a model whose configuration names none, as Triton completes it."""


def check(folders: Sequence[str], alone: bool) -> None:
    """Raise ValueError, in one line, for a folder without models, and for a model whose name is taken already.

    `alone`: without ours.
    """
    served = () if alone else model_loader.OURS
    ours = {name: "ours" for folder in served for name in model_loader.names(folder, guarded=True)}
    for folder in folders:
        found = list_models(Path(folder))
        if lost := list_lost_links(Path(folder)):
            lost_link = f"the link {one_line(lost[0])!r} leads nowhere"
            raise ValueError(f"--models {folder}: {lost_link}, and Triton lists no model beside it; remove it")
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
    models = [Path(folder) / name for folder in folders for name in list_models(Path(folder))]
    return sorted(models, key=is_ensemble)


def list_models(folder: Path) -> list[str]:
    """Return the models of a repository, sorted: folders with a config.pbtxt, or with none and a numbered version.

    Triton can do without the file for some backends, and else says what is missing.
    """
    found = set(model_loader.names(folder))
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            if each.is_dir() and not (each / "config.pbtxt").exists() and has_version(each):
                found.add(each.name)
    return sorted(found)


def list_lost_links(folder: Path) -> list[str]:
    """Return the links in a repository that lead nowhere, sorted."""
    with contextlib.suppress(OSError):
        return sorted(each.name for each in folder.iterdir() if each.is_symlink() and not each.exists())
    return []


def has_version(model: Path) -> bool:
    """Return whether a model's folder has one of a version, as far as it can be seen."""
    return bool(list_versions(model))


def list_versions(model: Path) -> list[Path]:
    """Return the folders of a model's versions, as far as they can be seen."""
    with contextlib.suppress(OSError):
        return [each for each in model.iterdir() if each.name.isdecimal() and each.is_dir()]
    return []


def is_ensemble(model: Path) -> bool:
    """Return whether a model is an ensemble; False where its configuration cannot be read, which Triton will say."""
    try:
        return model_loader.read_config(model).HasField("ensemble_scheduling")
    except Failure:
        return False


def are_complete(folders: Sequence[str]) -> bool:
    """Return whether the configurations of all models in these repositories name a backend, inputs and outputs.

    One that cannot be parsed lacks nothing that Triton could complete.
    """
    return all(is_complete(model) for model in find(folders))


def is_complete(model: Path) -> bool:
    """Return whether a model's configuration names what runs it, inputs and outputs, or cannot be parsed."""
    try:
        config = read_config(model)
    except Failure:
        return True
    return bool((config.backend or config.platform) and config.input and config.output)


def load(api: TritonAPI, record: dict, metrics: str, log: Path | None, say=print) -> dict[str, str]:
    """Load the models of the repositories of a server's record; `say` gets a line per model.

    `metrics` is the host:port of the server's metrics, `log` where it writes, if that is a file. Returns each model
    with the reason why it is not served, in one line; "" if it is. Raises Unreachable if the server is gone.
    """
    for folder in record["models"]:
        compileall.compile_dir(folder, quiet=2)
    outcomes, slo = {}, record["slo"] if record["admission"] else 0
    backends = set() if record["only"] else {"python", *model_loader.THREADS}  # those that run already
    for model in find(record["models"]):
        runs_in = backend(model)
        begins = runs_in not in backends
        backends.add(runs_in)
        try:
            config = lay_over(model, len(record["cores"]), slo, metrics)
            with environment_folders.claim(record["name"]) if begins else contextlib.nullcontext():
                model_loader.load(api, record["name"], model.name, config, runs_in, say)
            environment_folders.mark_used(record["name"])
            outcomes[model.name] = ""
        except Failure as failure:
            if not api.is_live():
                raise Unreachable(api.url, f"tritonserver ended while it loaded {model.name}") from None
            outcomes[model.name] = explain(failure, model, log)
            say(f"  {model.name} is not served: {outcomes[model.name]}")
    return outcomes


def explain(failure: Failure, model: Path, log: Path | None) -> str:
    """Return in one line why a model was not loaded: Triton's answer, or where that says nothing its log."""
    reason = one_line(failure.reason if isinstance(failure, Refused) else failure).rstrip("; ")
    name = re.escape(model.name)
    if UNREADABLE in reason:
        reason = find_in_log(log, f"Poll failed for model directory '{name}': (.*)") or reason
    if UNPARSED in reason:
        reason = find_parse_error(model) or reason
    if isinstance(failure, model_loader.Stuck):
        reason = find_in_log(log, f"Failed to preinitialize Python stub: (.*/{name}/.*)") or reason
    if wheel.installed() and (missing := NO_BACKEND.search(reason)):
        has = ", ".join(sorted({"python", *model_loader.THREADS}))
        reason = f"this server has no backend {missing[1]!r}, only {has}"
    return reason.removeprefix(f"{model.name}: ").removeprefix(f"load failed for model '{model.name}': ")


def find_in_log(log: Path | None, pattern: str) -> str:
    """Return what the group of a pattern last matched in the server's log, in one line; "" if nothing."""
    found = re.findall(pattern, log.read_text(errors="replace")) if log else []
    return one_line(found[-1]).strip('"') if found else ""


def find_parse_error(model: Path) -> str:
    """Return what is wrong in a model's config.pbtxt, with its line; "" if nothing is."""
    try:
        model_loader.read_config(model)
    except Failure as bad:
        return str(bad)
    return ""


def lay_over(model: Path, cores: int, slo: int, metrics: str) -> str | None:
    """Return a model's configuration (JSON) with what the launcher adds to it; None where it adds nothing.

    Where its backend takes a number of threads, and its file gives none, its instances share the server's `cores`, and
    what its file does not count is one: ONNX Runtime would take two instances on the CPU, and as many threads for each
    as the machine has cores. Where its backend can refuse requests, and its file says nothing of it, it has an SLO of
    `slo` ms (0: none), and no request without rows reaches its neighbours. What the file says stays.
    """
    from google.protobuf import json_format

    try:
        config = read_config(model)
    except Failure:
        return None  # Triton says what is wrong
    added: dict[str, int | str] = {}
    runs_in = name_backend(config, model)
    if runs_in in model_loader.THREADS and all(group.kind != group.KIND_GPU for group in config.instance_group):
        for group in config.instance_group or [config.instance_group.add()]:
            group.count = group.count or 1  # Triton would make two of ONNX Runtime
        instances = sum(group.count for group in config.instance_group)
        added[model_loader.THREADS[runs_in]] = max(1, cores // instances)
    if slo and admits(runs_in):
        added |= {"slo_ms": slo, "metrics": metrics}
    added = {name: value for name, value in added.items() if name not in config.parameters}
    for name, value in added.items():
        config.parameters[name].string_value = str(value)
    guarded = admits(runs_in) and model_loader.add_sample_axis(config)
    config.name = config.name or model.name
    laid_over = json_format.MessageToJson(config, preserving_proto_field_name=True, indent=None)
    return laid_over if added or guarded else None


def admits(backend: str) -> bool:
    """Return whether models of this backend can refuse what they would answer too late: our twins can."""
    return backend in model_loader.THREADS and model_loader.in_stubs(backend)


def read_configs(api: TritonAPI, outcomes: dict[str, str]) -> dict[str, dict]:
    """Return the configuration that each model was loaded with; `outcomes` is what `load` returned.

    Raises Unreachable if the server is gone.
    """
    return {model: api.config(model) for model, reason in outcomes.items() if not reason}


def in_stubs(configs: dict[str, dict]) -> dict[str, str]:
    """Return the configurations (JSON) of those that are served by Python stubs, which die by themselves."""
    stubbed = {name: each for name, each in configs.items() if model_loader.in_stubs(each.get("backend", ""))}
    return {model: json.dumps(config) for model, config in stubbed.items()}


def plan(configs: dict[str, dict]) -> dict[str, dict]:
    """Return the share of each model that computes: its `instances`, its `threads` and `slo_ms`.

    `threads` is None where its own code decides on them, and `slo_ms` where its queue grows without bound.
    """
    shares = {}
    for model, config in configs.items():
        if "ensemble_scheduling" in config:
            continue
        parameters = {name: each.get("string_value", "") for name, each in config.get("parameters", {}).items()}
        threads = parameters.get(model_loader.THREADS.get(config.get("backend", ""), ""), "")
        shares[model] = {
            "instances": sum(group.get("count", 1) for group in config.get("instance_group", [])) or 1,
            "threads": int(threads) if threads.isdecimal() and int(threads) else None,
            "slo_ms": int(parameters["slo_ms"]) if parameters.get("slo_ms", "").isdecimal() else None,
        }
    return shares


def backend(model: Path) -> str:
    """Return the backend that runs a model, as far as its folder says it; "" where it does not."""
    try:
        return name_backend(read_config(model), model)
    except Failure:
        return ""


def read_config(model: Path):
    """Return the configuration of a model, empty if it has no file of one. Raises Failure if it cannot be parsed."""
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    return model_loader.read_config(model) if (model / "config.pbtxt").exists() else ModelConfig()


def name_backend(config, model: Path) -> str:
    """Return the backend of a configuration (ModelConfig): it names it, or a platform, or the model's file tells."""
    if config.backend or config.platform:
        return config.backend or PLATFORMS.get(config.platform, "")
    files = [FILES[file] for file in FILES for version in list_versions(model) if (version / file).exists()]
    return files[0] if files else ""
