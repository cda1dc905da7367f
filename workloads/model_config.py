"""What a workload leaves unsaid, from the server: tensors, batching, and the steps of ensembles.

Triton answers `GET /v2/models/NAME/config` with the model's configuration, in the form of its config.pbtxt. Another
server of the Open Inference Protocol has `GET /v2/models/NAME`, with names, types and shapes. What the workload says
itself wins, and must not contradict it.
"""

import json
import re
import urllib.error
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Any

from tritonclient.utils import triton_to_np_dtype

from common import access, address
from common.messages import first_line, one_line
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
    """Empty where it does not say them."""
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
    said = [Input(each) if isinstance(each, str) else each for each in placement.inputs]
    if not served.inputs:
        return keep_what_it_says(placement, said, served, asked_by)
    known = {each.name: each for each in served.inputs}
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


def keep_what_it_says(placement: Placement, said: list[Input], served: ServedModel, asked_by: str) -> Placement:
    """Return a placement whose model is served, where the server says nothing of the model's inputs.

    Raises ValueError, which says what is good, where the workload leaves them to the server.
    """
    if not said or placement.batched is None:
        good = 'inputs=(Input("x", "FP32", (3, 224, 224)),) and batched=True or False'
        raise ValueError(f"{asked_by} must name its tensors, as the server does not describe {served.name}: {good}")
    outputs = tuple(placement.outputs) or served.outputs
    return replace(placement, inputs=tuple(said), outputs=outputs)


def check_names(asked_by: str, kind: str, named: Iterable[str], model: str, known: Iterable[str]) -> None:
    """Check that a model has these inputs, or outputs. Raises ValueError for the first that it lacks."""
    if unknown := [name for name in named if name not in known]:
        has = ", ".join(known) or "none"
        raise ValueError(f"{asked_by} names the {kind} {unknown[0]!r}; the {kind}s of {model} are: {has}")


def agrees(said: Input, known: Input) -> bool:
    """Tell whether what a workload says of an input can be true of what the server says."""
    if "" not in (said.datatype, known.datatype) and said.datatype != known.datatype:
        return False
    if said.dims is None or known.dims is None:
        return True
    pairs = zip(said.dims, known.dims, strict=False)
    return len(said.dims) == len(known.dims) and all(-1 in pair or pair[0] == pair[1] for pair in pairs)


def combine(said: Input, known: Input) -> Input:
    """Return an input with what the server adds. An input that the workload names is sent, though it be optional."""
    dims = known.dims if said.dims is None else said.dims
    return Input(said.name, known.datatype or said.datatype, dims)


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
    dims = tensor.get("dims", ())
    known = None if dims is None else tuple(int(n) for n in dims)  # JSON has 64-bit integers as text
    return Input(tensor["name"], "BYTES" if datatype == "STRING" else datatype, known, bool(tensor.get("optional")))


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
            return make_config(metadata, batched, model, server.url)
        if words.startswith("<"):  # a web server's page in HTML
            silence = address.explain_silence(server.url, f"/v2/models/{model} is HTTP {refusal.code} there")
            raise ConnectionError(silence) from None
        raise ValueError(f"{server.url} has no model {model}, which {asked_by} asks: {words}") from None
    except (OSError, ValueError, HTTPException) as error:
        raise ConnectionError(address.explain_silence(server.url, error)) from None
    if isinstance(config, dict) and "name" in config:
        return config
    if metadata := read_metadata(server.url, model):
        return make_config(metadata, batched, model, server.url)
    raise ConnectionError(f"no Triton server answers at {server.url}: its /v2/models/{model}/config describes no model")


def read_metadata(url: str, model: str) -> dict | None:
    """Return a model's metadata, as every server of the protocol has them; None if there are none."""
    try:
        with access.open_url(f"{url}/v2/models/{model}", TIMEOUT) as response:
            metadata = json.load(response)
    except (OSError, ValueError, HTTPException):
        return None
    return metadata if isinstance(metadata, dict) and metadata.keys() & {"name", "inputs"} else None


def make_config(metadata: dict, batched: bool | None, model: str, url: str) -> dict:
    """Return metadata in the form of a configuration.

    Their shapes have the batch dimension, and do not say so: it is taken for one where every tensor begins with a -1
    that is not its only dimension, unless the workload says otherwise. Which inputs are optional is not said either: of
    several the server refuses what it lacks. Servers leave out all tensors, or a tensor's shape, and name types and
    lengths that the protocol does not have: these are not known, then. Raises ValueError for a tensor without a name.
    """
    inputs, outputs = metadata.get("inputs") or [], metadata.get("outputs") or []
    for each in (*inputs, *outputs):
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise ValueError(f"{url} describes {model} by a tensor without a name: {one_line(json.dumps(each))}")
    shapes = [read_shape(each.get("shape")) for each in (*inputs, *outputs)]
    if batched is None:
        batched = all(shape is not None and len(shape) > 1 and shape[0] == -1 for shape in shapes)
    tensors = [
        {"name": each["name"], "data_type": read_datatype(each.get("datatype")), "dims": shape and shape[batched:]}
        for each, shape in zip((*inputs, *outputs), shapes, strict=True)
    ]
    count = len(inputs)
    given = [{**each, "optional": count > 1} for each in tensors[:count]]
    return {"name": model, "max_batch_size": int(batched), "input": given, "output": tensors[count:]}


def read_shape(shape: Any) -> list[int] | None:
    """Return a shape of a model's metadata, with -1 for a length that is no number, as "batch"; None without one."""
    if not isinstance(shape, list):
        return None
    return [int(n) if re.fullmatch("-?[0-9]{1,18}", str(n)) else -1 for n in shape]


def read_datatype(datatype: Any) -> str:
    """Return a type of a model's metadata if the protocol has it; empty for another one: the server must refuse it."""
    return datatype if isinstance(datatype, str) and triton_to_np_dtype(datatype) is not None else ""


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
