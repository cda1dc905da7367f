"""What a workload leaves unsaid, from the server: tensors, batching, and the steps of ensembles.

Triton answers `GET /v2/models/NAME/config` with the model's configuration, in the form of its config.pbtxt. Another
server of the Open Inference Protocol has `GET /v2/models/NAME`, with names, types and shapes. What the workload says
itself wins, and must not contradict it.
"""

import json
import urllib.error
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http.client import HTTPException

from common import access, address
from common.messages import first_line
from workloads.tensors import Input
from workloads.workload import Placement, Workload

TIMEOUT = 10  # seconds
STARTING = (502, 503, 504)
"""What a proxy answers for a server that may come up yet."""


@dataclass(frozen=True)
class ServedModel:
    """What a server says of one of its models."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    batched: bool
    """Whether its tensors have a batch dimension, which `dims` of its inputs leave out."""
    steps: tuple[str, ...]
    """The models that compute for it, in order: itself, or those of an ensemble, with nested ensembles replaced by
    their own steps. A model that is passed twice is there twice."""


def complete(workload: Workload, url: str, asked: Iterable[str] | None = None) -> Workload:
    """Return the workload with the tensors of its placements, and its steps, as the server at `url` has them.

    Of placements that are not among those `asked`, by default all, the server need not have the model.

    A built-in one says it all: then nothing is asked. Raises ConnectionError with one line if no server answers, and
    ValueError if it lacks a model, has one that cannot be measured, or contradicts the workload.
    """
    placements, steps = {}, list(workload.steps)
    for name, placement in workload.placements.items():
        if asked is not None and name not in asked:
            placements[name] = placement
            continue
        asked_by = workload.describe_placement(name)
        lacks = not placement.inputs or not placement.outputs or placement.batched is None
        placements[name] = placement
        if workload.file or lacks or not workload.steps:
            served = read_model(url, placement.model, asked_by, placement.batched)
            placements[name] = fill_in(placement, served, asked_by)
            if not workload.steps:
                steps = merge(steps, list(dict.fromkeys(served.steps)))
    for step in workload.steps if workload.file else ():
        read(url, step, f"steps of {workload.reference}")
    return replace(workload, placements=placements, steps=tuple(steps))


def fill_in(placement: Placement, served: ServedModel, asked_by: str) -> Placement:
    """Return the placement with what its model's configuration adds to it.

    Raises ValueError, which begins with `asked_by`, where the two contradict each other.
    """
    known = {each.name: each for each in served.inputs}
    said = [Input(each) if isinstance(each, str) else each for each in placement.inputs]
    check_names(asked_by, "input", [*(each.name for each in said), *placement.extra], served.name, known)
    check_names(asked_by, "output", placement.outputs, served.name, served.outputs)
    if placement.batched not in (None, served.batched):
        has = "a batch dimension" if served.batched else "no batch dimension"
        raise ValueError(f"{asked_by} says batched={placement.batched}; {served.name} has {has}")
    for each in said:
        if not agrees(each, known[each.name]):
            raise ValueError(f"{asked_by} says that {each.name} is {each}; {served.name} takes {known[each.name]}")
    sent = {each.name for each in said} | set(placement.extra)
    if said and (left := [each.name for each in served.inputs if not each.optional and each.name not in sent]):
        raise ValueError(f"{asked_by} leaves out the input {left[0]!r}; {served.name} needs {', '.join(known)}")
    inputs = [combine(each, known[each.name]) for each in said] or list(served.inputs)
    inputs += [known[name] for name in placement.extra if name not in {each.name for each in inputs}]
    outputs = tuple(placement.outputs) or served.outputs
    whole = replace(placement, inputs=tuple(inputs), outputs=outputs, batched=served.batched)
    try:
        _ = whole.target
    except ValueError as error:
        raise ValueError(f"{asked_by}: {error}") from None
    return whole


def check_names(asked_by: str, kind: str, named: Iterable[str], model: str, known: Iterable[str]) -> None:
    """Check that a model has these inputs, or outputs. Raises ValueError for the first that it lacks."""
    if unknown := [name for name in named if name not in known]:
        has = ", ".join(known) or "none"
        raise ValueError(f"{asked_by} names the {kind} {unknown[0]!r}; the {kind}s of {model} are: {has}")


def agrees(said: Input, known: Input) -> bool:
    """Tell whether what a workload says of an input can be true of what the server says."""
    if said.datatype not in ("", known.datatype):
        return False
    if said.dims is None or known.dims is None:
        return True
    pairs = zip(said.dims, known.dims, strict=False)
    return len(said.dims) == len(known.dims) and all(-1 in pair or pair[0] == pair[1] for pair in pairs)


def combine(said: Input, known: Input) -> Input:
    """Return an input with what the server adds. An input that the workload names is sent, though it be optional."""
    dims = known.dims if said.dims is None else said.dims
    return Input(said.name, known.datatype, dims)


def merge(steps: list[str], others: list[str]) -> list[str]:
    """Join two rows of models, each model once; the longer row keeps its order.

    So a network that one placement asks directly stays where the ensemble of another has it.
    """
    longer, shorter = (steps, others) if len(steps) >= len(others) else (others, steps)
    return [*longer, *(each for each in shorter if each not in longer)]


def read_model(url: str, model: str, asked_by: str, batched: bool | None = None) -> ServedModel:
    """Return what the server says of a model; `asked_by` says in an error who needs it.

    `batched` is what the workload says of it, if anything; it counts where the server does not say it.

    Raises ConnectionError as `read` does, and ValueError also for a model whose answers are no answer to one request.
    """
    config = read(url, model, asked_by, batched)
    return replace(parse_model(config), steps=flatten(url, config, asked_by))


def parse_model(config: dict) -> ServedModel:
    """Return a model as its own configuration describes it, as if it were no ensemble."""
    batched = int(config.get("max_batch_size", 0)) > 0
    inputs = tuple(map(parse_input, config.get("input", ())))
    outputs = tuple(each["name"] for each in config.get("output", ()))
    return ServedModel(config["name"], inputs, outputs, batched, (config["name"],))


def parse_input(tensor: dict) -> Input:
    """Return an input of a model's configuration."""
    datatype = tensor.get("data_type", "").removeprefix("TYPE_")
    dims = tuple(int(n) for n in tensor.get("dims", ()))  # JSON has 64-bit integers as text
    return Input(tensor["name"], "BYTES" if datatype == "STRING" else datatype, dims, bool(tensor.get("optional")))


def flatten(url: str, config: dict, asked_by: str) -> tuple[str, ...]:
    """Return the models that compute for a model, with nested ensembles replaced by their steps.

    Raises ValueError for a model that is decoupled or keeps a state between requests.
    """
    model = config["name"]
    if config.get("model_transaction_policy", {}).get("decoupled"):
        raise ValueError(f"{asked_by} needs {model}, which is decoupled: one request may have any number of answers")
    if "sequence_batching" in config:
        raise ValueError(f"{asked_by} needs {model}, a sequence model: its answers depend on earlier requests")
    steps = [each["model_name"] for each in config.get("ensemble_scheduling", {}).get("step", ())]
    if not steps:
        return (model,)
    return tuple(leaf for step in steps for leaf in flatten(url, read(url, step, asked_by), asked_by))


def read(url: str, model: str, asked_by: str, batched: bool | None = None) -> dict:
    """Return a model's configuration, or what its metadata say of it; `asked_by` and `batched` as for `read_model`.

    Raises ConnectionError with one line if no server answers, ValueError if it has no such model.
    """
    server = address.parse(url)
    try:
        with access.open_url(f"{server.url}/v2/models/{model}/config", TIMEOUT) as response:
            config = json.load(response)
    except urllib.error.HTTPError as refusal:
        words = first_line(refusal.read(4096).decode("utf-8", "replace"))
        if refusal.code in STARTING:
            raise ConnectionError(address.explain_silence(server.url, refusal)) from None
        if metadata := read_metadata(server.url, model):
            return make_config(metadata, batched)
        if words.startswith("<"):  # a web server's page in HTML
            silence = address.explain_silence(server.url, f"/v2/models/{model} is HTTP {refusal.code} there")
            raise ConnectionError(silence) from None
        raise ValueError(f"{server.url} has no model {model}, which {asked_by} asks: {words}") from None
    except (OSError, ValueError, HTTPException) as error:
        raise ConnectionError(address.explain_silence(server.url, error)) from None
    if not isinstance(config, dict):
        raise ConnectionError(f"no Triton server answers at {server.url}: its JSON is no object")
    return config


def read_metadata(url: str, model: str) -> dict | None:
    """Return a model's metadata, as every server of the protocol has them; None if there are none."""
    try:
        with access.open_url(f"{url}/v2/models/{model}", TIMEOUT) as response:
            metadata = json.load(response)
    except (OSError, ValueError, HTTPException):
        return None
    return metadata if isinstance(metadata, dict) and metadata.get("inputs") else None


def make_config(metadata: dict, batched: bool | None) -> dict:
    """Return metadata in the form of a configuration.

    Their shapes have the batch dimension, and do not say so: it is taken for one where every tensor begins with a -1
    that is not its only dimension, unless the workload says otherwise. Which inputs are optional is not said either: of
    several the server refuses what it lacks.
    """
    inputs, outputs = metadata["inputs"], metadata.get("outputs") or []
    shapes = [[int(n) for n in each.get("shape", ())] for each in (*inputs, *outputs)]
    if batched is None:
        batched = all(len(shape) > 1 and shape[0] == -1 for shape in shapes)
    tensors = [
        {"name": each["name"], "data_type": each.get("datatype", ""), "dims": shape[batched:]}
        for each, shape in zip((*inputs, *outputs), shapes, strict=True)
    ]
    count = len(inputs)
    given = [{**each, "optional": count > 1} for each in tensors[:count]]
    return {"name": metadata["name"], "max_batch_size": int(batched), "input": given, "output": tensors[count:]}


def check_answers(url: str) -> None:
    """Ask whether anything answers in HTTP at `url`, whatever it says but that it wants another login.

    Raises ConnectionError with one line if not, ValueError as `access.check` does.
    """
    server = address.parse(url)
    access.check(url)
    try:
        access.open_url(f"{server.url}/v2/health/live", TIMEOUT).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError, HTTPException) as error:
        raise ConnectionError(address.explain_silence(server.url, error)) from None
