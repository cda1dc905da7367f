"""The steps of an ensemble with the wires between them, so that each can be asked alone for what it does there.

Nested ensembles are replaced by their own steps. A tensor is the same at both ends of a wire, batch dimension included.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from crossover.measurement.single_request import infer
from serving.server import Unavailable
from transport.message import Request
from workloads.model_config import parse_model, read
from workloads.tensors import Input, Tensor, encode
from workloads.workload import Target

Wires = dict[str, Tensor]
"""Name of a tensor of the ensemble -> the tensor, of one request. Those of a nested ensemble have its number before."""


@dataclass(frozen=True)
class Step:
    """A model that computes within an ensemble, and how it is connected."""

    target: Target
    """The model, with all its outputs."""
    reads: Mapping[str, str]
    """Input of the model -> tensor of the ensemble."""
    writes: Mapping[str, str]
    """Output of the model -> tensor of the ensemble."""

    def make_request(self, wires: Wires) -> Request:
        """Make the request that asks the model alone for what it does in the ensemble."""
        tensors = tuple(replace(wires[wire], name=name) for name, wire in self.reads.items() if wire in wires)
        return Request(self.target.model, tensors, self.target.outputs)

    def ask(self, url: str, request: Request) -> Wires:
        """Ask the model of the server at `url`, and return what it writes. Raises Unavailable."""
        from tritonclient.http import InferInput  # imports gevent

        inputs = [
            InferInput(each.name, each.shape, each.datatype).set_data_from_numpy(each.array) for each in request.tensors
        ]
        try:
            answer = infer(url, request.model, inputs)
        except Unavailable as error:
            raise Unavailable(f"{request.model}: {error}", error.code) from None
        arrays = {wire: answer.as_numpy(name) for name, wire in self.writes.items()}
        return {wire: encode(Input(wire), array, batched=False) for wire, array in arrays.items() if array is not None}


def list_steps(url: str, model: str) -> list[Step]:
    """List the steps of an ensemble in order, as the server at `url` has them; empty for a model that is none.

    Raises ValueError and ConnectionError as `model_config.read` does.
    """
    return list(find_steps(url, read(url, model, "this run"), {}, ""))


def find_steps(url: str, config: dict, known: Mapping[str, str], prefix: str) -> Iterator[Step]:
    """Yield the steps of an ensemble's configuration.

    `known` has the outer names of its inputs and outputs; its other tensors are named with the prefix.
    """
    for number, step in enumerate(config.get("ensemble_scheduling", {}).get("step", ()), 1):
        reads, writes = (
            {name: known.get(wire, prefix + wire) for name, wire in step.get(each, {}).items()}
            for each in ("input_map", "output_map")
        )
        inner = read(url, step["model_name"], f"a step of {config['name']}")
        if "ensemble_scheduling" in inner:
            yield from find_steps(url, inner, {**reads, **writes}, f"{prefix}{number}/")
        else:
            served = parse_model(inner)
            yield Step(Target(served.name, served.inputs, served.outputs, served.batched), reads, writes)
