"""Which models there are, and how they are loaded: with the thread plan and the provenance in their configuration.

The committed config.pbtxt hold one instance and one thread, so that a plain tritonserver runs them as they are. The
plan is laid over them through the repository interface's `config` parameter. Loading an ensemble also loads the steps
that are not loaded, or whose folder changed since they were: from their files, without the plan. So steps go first,
and are compiled before: the stub would write __pycache__ into their folders (it ignores PYTHONDONTWRITEBYTECODE).
"""

import compileall
import time
from pathlib import Path

from models import artefacts
from serving import ROOT, Failure, wheel
from serving.rest import Rest

STEPS, ENSEMBLES = ROOT / "model_repository", ROOT / "ensembles"
THREADS = {"dali": "num_threads", "onnxruntime": "intra_op_thread_count"}  # as the native backends spell it
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


def load_all(rest: Rest, folder: Path, configs: dict[str, str], say=print) -> None:
    """Load every step, then every ensemble. Raises Failure with the server's reason at the first that fails."""
    compileall.compile_dir(folder, quiet=2)
    for models in (folder, ENSEMBLES):
        for name in names(models, guarded=wheel.installed() is None):
            began = time.monotonic()
            rest.load(name, configs.get(name))
            say(f"  loaded {name} in {time.monotonic() - began:.1f} s")


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
