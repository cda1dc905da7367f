"""Finds the models and loads them, with the thread plan and the provenance in their configurations.

The committed config.pbtxt files have one instance and one thread, so that a plain tritonserver runs them as they are.
The plan is laid over them by the `config` parameter of the repository interface. Loading an ensemble also loads those
of its steps that are not loaded, or whose folder changed since, from their files and without the plan. So the steps
are loaded first, and compiled before that: the stub would write __pycache__ into their folders (it ignores
PYTHONDONTWRITEBYTECODE).
"""

import compileall
import contextlib
import json
import time
from pathlib import Path

from common.messages import one_line
from models import artefacts
from serving import ROOT, Failure, environment_folders, wheel
from serving.processes import stubs
from serving.triton_api import Refused, TritonAPI, Unreachable

OURS = STEPS, ENSEMBLES, VARIANTS = ROOT / "model_repository", ROOT / "ensembles", ROOT / "model_variants"
THREADS = {"dali": "num_threads", "onnxruntime": "intra_op_thread_count"}  # as the native backends spell it
PROMPT = 10.0  # seconds in which most models load; after that the server is asked for the model's state
MISSING = 5.0  # seconds without a stub after which a model that is being loaded will not get one any more
LONGEST = 600.0  # seconds that any load may take
ADMISSION = {"slo_ms", "next"}  # parameters of backends/admission.py
SAMPLE_AXIS = "sample_axis"  # parameter of backends/rows.py


def steps(weights: str, state: Path) -> Path:
    """Return the folder of the models that compute, with their networks: "real" ones, also in "fp16", or "tiny" ones.

    Raises Failure if a real network is missing.
    """
    if weights == "tiny":
        return overlay(state)
    check(weights)
    return STEPS


def check(weights: str = "real") -> None:
    """Raise Failure unless the exported networks are there, with their labels and vocabulary, in FP16 if so asked."""
    for path in list_missing():
        raise Failure(f"model_repository/{path} is missing; run `make models`, or try --weights tiny")
    for path in list_missing_half() if weights == "fp16" else ():
        raise Failure(f"model_repository/{path} is missing or not of these weights; run `crossover models --fp16`")


def list_missing() -> list[str]:
    """Return which files of the exported networks are not there, by their paths in model_repository/."""
    needed = (artefacts.RESNET, artefacts.LABELS, artefacts.WAV2VEC2, artefacts.VOCAB)
    return [str(path) for path in needed if not (STEPS / path).is_file()]


def list_missing_half() -> list[str]:
    """Return which networks in FP16 are not there, or of other weights than those in FP32, by their paths."""
    return [path for network, path in artefacts.HALF.items() if not artefacts.has_half(STEPS, network)]


def overlay(state: Path) -> Path:
    """Make a folder of links to the files of model_repository/, with tiny stand-ins in place of the networks."""
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
    """Return the models in a folder, sorted; `guarded`: with those that only a server with native backends has."""
    # A folder of that name is no configuration, and ends tritonserver if it has to read it.
    models = {config.parent.name for config in folder.glob("*/config.pbtxt") if is_file(config)}
    if guarded:
        models |= {config.parent.parent.name for config in folder.glob(f"*/configs/{wheel.GUARDED}.pbtxt")}
    return sorted(models)


def is_file(path: Path) -> bool:
    """Return whether this is a file, as far as it can be seen."""
    with contextlib.suppress(OSError):  # its folder may not be entered
        return path.is_file()
    return False


def configurations(folder: Path, plan: dict, metrics: str, half: bool = False) -> dict[str, str]:
    """Return the configuration (JSON) of each model in the plan; `half`: of networks in FP16.

    `metrics` is the host:port where a step reads how many requests wait for it. Raises Failure if a config.pbtxt cannot
    be parsed.
    """
    return {model: configuration(folder / model, share, metrics, half) for model, share in plan.items()}


class Stuck(Failure):
    """A model that this server will never load: only a new server helps."""


def load_all(api: TritonAPI, server: str, folder: Path, configs: dict[str, str], say=print) -> None:
    """Load every step in `folder`, then every ensemble, into the server of that name; `say` gets a line per model.

    `configs`: configurations (JSON) that replace the steps' files. Raises Failure with the server's reason at the first
    model that fails.
    """
    compileall.compile_dir(folder, quiet=2)
    backends: set[str] = set()
    for models in (folder, ENSEMBLES):
        for name in names(models, guarded=wheel.installed() is None):
            config = configs.get(name)
            laid_over = json.loads(config or "{}")
            backend = laid_over.get("backend", "")
            begins = backend not in backends
            backends.add(backend)
            try:
                with environment_folders.claim(server) if begins else contextlib.nullcontext():
                    load(api, server, name, config, backend, say)
            except Unreachable:
                raise
            except Failure as failure:
                if not on_gpu(laid_over):
                    raise
                remedy = f"--on-cpu {name} keeps it off the GPU, --no-gpu all steps"
                if takes_half(laid_over):
                    remedy = f"--weights real takes it in FP32; {remedy}"
                why = failure.reason if isinstance(failure, Refused) else failure
                raise Failure(f"{name} does not load on the GPU: {why}; {remedy}") from None


def load(api: TritonAPI, server: str, name: str, config: str | None, backend: str, say=print) -> None:
    """Load one model of this backend with its configuration (None: its file's), and say how long it took.

    Raises Failure with the server's reason if it cannot be loaded.
    """
    began = time.monotonic()
    try:
        api.load(name, config, PROMPT)
    except Unreachable:
        if api.index().get(name) == "LOADING":
            say(f"  {name} is still loading, as large models do for minutes; after {LONGEST / 60:.0f} it is given up")
        await_load(api, server, name, in_stubs(backend))
    say(f"  loaded {name} in {time.monotonic() - began:.1f} s")


def takes_half(config: dict) -> bool:
    """Return whether a configuration, as JSON has it, is of a network in FP16."""
    return config.get("default_model_filename") in {Path(path).name for path in artefacts.HALF.values()}


def on_gpu(config: dict) -> bool:
    """Return whether a configuration, as JSON has it, puts the model on a GPU."""
    return any(group.get("kind") == "KIND_GPU" for group in config.get("instance_group", []))


def await_load(api: TritonAPI, server: str, model: str, stubbed: bool) -> None:
    """Wait for the end of a load that is under way; `stubbed`: the model runs in Python stubs.

    Raises Unreachable if the server is gone, Failure if the model could not be loaded, and Stuck if it never will be:
    Triton waits forever for a stub that died while it started, and lets nobody load the model again.
    """
    began = alive = time.monotonic()
    while (state := api.index().get(model)) == "LOADING":
        now = time.monotonic()
        if not stubbed or any(stub.model == model for stub in stubs(server)):
            alive = now
        if now - alive > MISSING or now - began > LONGEST:
            raise Stuck(f"{model}: its Python stub died as it began, and tritonserver waits for it forever")
        time.sleep(0.5)
    if state != "READY":
        raise Failure(f"{model} could not be loaded: {api.reason(model) or 'the server log says why'}")


def configuration(model: Path, share: dict[str, int], metrics: str, half: bool = False) -> str:
    """Return a model's config.pbtxt as JSON, with its share of the plan and its provenance, if it has one.

    `model` is its folder; `share` its entry in the plan; `half`: with the file in FP16, if it is a network of ours.
    Raises Failure if the file cannot be parsed.
    """
    from google.protobuf import json_format

    config = read_config(model)
    config.name = model.name
    if not config.instance_group:
        config.instance_group.add()
    group = config.instance_group[0]
    group.count = share["instances"]
    group.kind = group.KIND_GPU if "gpu" in share else group.KIND_CPU  # the Python backend takes KIND_AUTO for the CPU
    if "gpu" in share:
        group.gpus[:] = [share["gpu"]]
    if config.backend in THREADS:
        config.parameters[THREADS[config.backend]].string_value = str(share["threads"])
    if in_stubs(config.backend):
        add_sample_axis(config)
    for name in ADMISSION & share.keys():
        config.parameters[name].string_value = str(share[name])
        config.parameters["metrics"].string_value = metrics
    half = half and model.name in artefacts.HALF
    if half:
        config.default_model_filename = Path(artefacts.HALF[model.name]).name
    provenance = model / (artefacts.HALF_PROVENANCE if half else artefacts.PROVENANCE)
    if provenance.is_file():
        config.parameters["provenance"].string_value = provenance.read_text()
    return json_format.MessageToJson(config, preserving_proto_field_name=True, indent=None)


def add_sample_axis(config) -> bool:
    """Put an axis of one before the samples' own in the shapes that the model gets, and say so in a parameter.

    Without it Triton never answers a request for no rows, and one for [0, 40] fails those it is merged with
    (backends/rows.py). Clients see no difference. A config (ModelConfig) that has a `reshape` of its own, and one
    without batches or inputs, stays as it is. Returns whether it was changed.
    """
    if not (config.max_batch_size and config.input) or any(tensor.HasField("reshape") for tensor in config.input):
        return False
    for tensor in config.input:
        tensor.reshape.shape[:] = [1, *tensor.dims]
    config.parameters[SAMPLE_AXIS].string_value = "1"
    return True


def read_config(model: Path):
    """Return the configuration of the model in this folder. Raises Failure if its file cannot be parsed."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    try:
        return text_format.Parse((model / "config.pbtxt").read_text(), ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError, OSError) as bad:
        raise Failure(one_line(f"{model.name}/config.pbtxt: {bad}")) from None


def in_stubs(backend: str) -> bool:
    """Return whether this backend's models run in Python stubs: those of Triton's Python backend and of our twins."""
    return backend == "python" or (wheel.installed() is not None and (ROOT / "backends" / backend).is_dir())
