"""The tensors that a client prepares, beside those that the server's own steps make of the same payload.

Where one placement asks a model itself, and another asks an ensemble of which that model is a step, the client replaces
the steps before it. These are asked alone, one after the other, for what they would hand to that model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crossover.parity.answers import Answered, Asker
from loadgen.transport.message import Request
from workloads import model_config
from workloads.tensors import Input, Tensor, encode
from workloads.workload import Workload


@dataclass(frozen=True)
class Step:
    """A step of an ensemble: a model, and which of the ensemble's tensors each of its inputs and outputs is."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class ReplacedSteps:
    """The steps of an ensemble that come before the model which another placement asks itself."""

    asked_directly: int
    """Which of the two placements does: 0 or 1."""
    network: Step
    steps: tuple[Step, ...]
    """In an order in which each has its inputs."""

    @property
    def words(self) -> str:
        """What they are called: `image_preprocess alone`."""
        return f"{', '.join(step.model for step in self.steps)} alone"

    def make_tensors(self, asker: Asker, request: Request) -> Answered:
        """Return what the steps make of an ensemble's request, by the name of the network's input."""
        known = {tensor.name: tensor for tensor in request.tensors}
        for step in self.steps:
            # What an ensemble's request leaves out is optional.
            inputs = {name: known[tensor] for name, tensor in step.inputs.items() if tensor in known}
            tensors = tuple(replace(tensor, name=name) for name, tensor in inputs.items())
            answered = asker.send(Request(step.model, tensors, tuple(step.outputs)))
            if answered.reason:
                return Answered(reason=f"{step.model}: {answered.reason}")
            # They have the ensemble's batch dimension already.
            made = {step.outputs[name]: array for name, array in answered.outputs.items() if name in step.outputs}
            known |= {name: encode(Input(name), array, batched=False) for name, array in made.items()}
        given = {tensor.name for tensor in request.tensors}
        handed = {name: tensor for name, tensor in self.network.inputs.items() if tensor in known.keys() - given}
        return Answered({name: known[tensor].array for name, tensor in handed.items()})


def find_replaced_steps(url: str, workload: Workload, names: tuple[str, str]) -> ReplacedSteps | None:
    """Return the steps of one placement's ensemble that the other one replaces; None where there are none.

    Nested ensembles are not looked into. Raises ConnectionError if the server does not answer.
    """
    models = [workload.placements[name].model for name in names]
    for direct, ensemble in ((0, 1), (1, 0)):
        steps = read_steps(url, models[ensemble], workload.describe_placement(names[ensemble]))
        for network in steps:
            if network.model == models[direct] and (before := list_steps_before(network, steps)):
                return ReplacedSteps(direct, network, before)
    return None


def read_steps(url: str, model: str, asked_by: str) -> list[Step]:
    """Return the steps of an ensemble; none of another model, or where the server tells no configuration."""
    try:
        config = model_config.read(url, model, asked_by)
    except ValueError:
        return []
    described = config.get("ensemble_scheduling", {}).get("step", ())
    return [Step(each["model_name"], each["input_map"], each["output_map"]) for each in described]


def list_steps_before(network: Step, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps on which a step's inputs depend, in an order in which each has its inputs."""
    found: list[Step] = []

    def add_makers(step: Step) -> None:
        for maker in steps:
            if maker not in found and set(maker.outputs.values()) & set(step.inputs.values()):
                add_makers(maker)
                found.append(maker)

    add_makers(network)
    return tuple(found)


def read_arrays(tensors: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """Return the arrays that a request sends, by name."""
    return {tensor.name: tensor.array for tensor in tensors}
