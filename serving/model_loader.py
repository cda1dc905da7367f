"""Which models there are, and how they are loaded: with the thread plan and the provenance in their configuration.

The committed config.pbtxt hold one instance and one thread, so that a plain tritonserver runs them as they are. The
plan is laid over them through the repository interface's `config` parameter. Loading an ensemble also loads the steps
that are not loaded, or whose folder changed since they were: from their files, without the plan. So steps go first,
and are compiled before: the stub would write __pycache__ into their folders (it ignores PYTHONDONTWRITEBYTECODE).
"""

import compileall
import json
import time
from pathlib import Path

from models import artefacts
from serving import ROOT, Failure, wheel
from serving.processes import stubs
from serving.triton_api import Rest, Unreachable

STEPS, ENSEMBLES = ROOT / "model_repository", ROOT / "ensembles"
THREADS = {"dali": "num_threads", "onnxruntime": "intra_op_thread_count"}  # as the native backends spell it
PROMPT = 10.0  # seconds in which most models load; after that it is asked how far one is
MISSING = 5.0  # seconds without a stub, after which a model that is being loaded will not get one any more
LONGEST = 600.0  # seconds that any load may take
ADMISSION = {"slo_ms", "next"}  # parameters of backends/admission.py


def steps(weights: str, state: Path) -> Path:
    """The folder of the models that compute, complete with networks."""
    if weights == "tiny":
        return overlay(state)
    check()
    return STEPS


def check() -> None:
    """Raises Failure unless the exported networks, and what belongs to them, are there."""
    for path in (artefacts.RESNET, artefacts.LABELS, artefacts.WAV2VEC2, artefacts.VOCAB):
        if not (STEPS / path).is_file():
            raise Failure(f"model_repository/{path} is missing; run `make models`, or try --weights tiny")


def overlay(state: Path) -> Path:
    """model_repository/ made of links to its files, with the tiny stand-ins in place of the networks."""
    from models import standin

    tiny = standin.build(state / "standin").resolve()
    folder = state / "models"
    for source in (STEPS, tiny):
        for path in sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            link = folder / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(path)
    return folder


def names(folder: Path, guarded: bool = False) -> list[str]:
    """The models in a folder; `guarded`: with those that only a server with native backends has."""
    found = {config.parent.name for config in folder.glob("*/config.pbtxt")}
    if guarded:
        found |= {config.parent.parent.name for config in folder.glob(f"*/configs/{wheel.GUARDED}.pbtxt")}
    return sorted(found)


def configurations(folder: Path, plan: dict, metrics: str) -> dict[str, str]:
    """The configuration (JSON) of each model in the plan.

    `metrics` is the host:port where steps read how many requests wait for them. Raises Failure if a file is no
    configuration.
    """
    return {model: configuration(folder / model, share, metrics) for model, share in plan.items()}


class Stuck(Failure):
    """A model that will never be loaded by this server: only a new one helps."""


def load_all(rest: Rest, server: str, folder: Path, configs: dict[str, str], say=print) -> None:
    """Load every step, then every ensemble, into the server of that name.

    Raises Failure with the server's reason at the first that fails.
    """
    compileall.compile_dir(folder, quiet=2)
    for models in (folder, ENSEMBLES):
        for name in names(models, guarded=wheel.installed() is None):
            began = time.monotonic()
            try:
                rest.load(name, configs.get(name), PROMPT)
            except Unreachable:
                backend = json.loads(configs.get(name, "{}")).get("backend", "")
                await_load(rest, server, name, in_stubs(backend))
            say(f"  loaded {name} in {time.monotonic() - began:.1f} s")


def await_load(rest: Rest, server: str, model: str, stubbed: bool) -> None:
    """Wait for the end of a load that took longer than whoever asked for it waited.

    Raises Unreachable if the server is gone, Failure if the model could not be loaded, and Stuck if it never will be:
    Triton waits for good for a stub that died as it began, and lets nobody load the model again. `stubbed`: the model
    runs in Python stubs.
    """
    began = alive = time.monotonic()
    while (state := rest.index().get(model)) == "LOADING":
        now = time.monotonic()
        if not stubbed or any(stub.model == model for stub in stubs(server)):
            alive = now
        if now - alive > MISSING or now - began > LONGEST:
            raise Stuck(f"{model}: its Python stub died as it began, and tritonserver waits for it for good")
        time.sleep(0.5)
    if state != "READY":
        raise Failure(f"{model} could not be loaded; the server's log says why")


def configuration(model: Path, share: dict[str, int], metrics: str) -> str:
    """config.pbtxt as JSON, with the model's share of the plan and, where it has one, its provenance."""
    from google.protobuf import json_format, text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    try:
        config = text_format.Parse((model / "config.pbtxt").read_text(), ModelConfig())
    except text_format.ParseError as bad:
        raise Failure(f"{model.name}/config.pbtxt: {bad}") from None
    config.name = model.name
    if not config.instance_group:
        config.instance_group.add()
    config.instance_group[0].count = share["instances"]
    if config.backend in THREADS:
        config.parameters[THREADS[config.backend]].string_value = str(share["threads"])
    for name in ADMISSION & share.keys():
        config.parameters[name].string_value = str(share[name])
        config.parameters["metrics"].string_value = metrics
    provenance = model / "provenance.json"
    if provenance.is_file():
        config.parameters["provenance"].string_value = provenance.read_text()
    return json_format.MessageToJson(config, preserving_proto_field_name=True, indent=None)


def in_stubs(backend: str) -> bool:
    """Whether this backend's models run in Python stubs: the Python backend, and with the wheel's server our twins."""
    return backend == "python" or (wheel.installed() is not None and (ROOT / "backends" / backend).is_dir())
