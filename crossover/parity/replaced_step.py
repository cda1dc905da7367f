"""The tensors that a client prepares, beside those that the server's own steps make of the same payload.

Where one placement asks a model itself, and another asks an ensemble of which that model is a step, the client replaces
the steps before it. These are asked alone, one after the other, for what they would hand to that model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossover.measurement.ensemble_steps import Step, list_steps
from crossover.parity.answers import Answered, Asker
from transport.message import Request
from workloads.tensors import Input, Tensor, encode
from workloads.workload import Workload


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
        return f"{', '.join(step.target.model for step in self.steps)} alone"

    def make_tensors(self, asker: Asker, request: Request) -> Answered:
        """Return what the steps make of an ensemble's request, by the name of the network's input."""
        wires = {tensor.name: tensor for tensor in request.tensors}
        given = set(wires)
        for step in self.steps:
            answered = asker.send(step.make_request(wires))
            if answered.reason:
                return Answered(reason=f"{step.target.model}: {answered.reason}")
            made = {step.writes[name]: array for name, array in answered.outputs.items() if name in step.writes}
            wires |= {wire: encode(Input(wire), array, batched=False) for wire, array in made.items()}
        handed = {name: wire for name, wire in self.network.reads.items() if wire in wires.keys() - given}
        return Answered({name: wires[wire].array for name, wire in handed.items()})


def find_replaced_steps(url: str, workload: Workload, names: tuple[str, str]) -> ReplacedSteps | None:
    """Return the steps of one placement's ensemble that the other one replaces; None where there are none.

    Raises ValueError and ConnectionError as `list_steps` does.
    """
    if any(workload.placements[name].gateway for name in names):
        return None  # it passes on nothing but its own model
    models = [workload.placements[name].model for name in names]
    for direct, ensemble in ((0, 1), (1, 0)):
        steps = list_steps(url, models[ensemble])
        for network in steps:
            if network.target.model == models[direct] and (before := list_steps_before(network, steps)):
                return ReplacedSteps(direct, network, before)
    return None


def list_steps_before(network: Step, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps on which a step's inputs depend, in an order in which each has its inputs."""
    found: list[Step] = []

    def add_makers(step: Step) -> None:
        for maker in steps:
            if maker not in found and set(maker.writes.values()) & set(step.reads.values()):
                add_makers(maker)
                found.append(maker)

    add_makers(network)
    return tuple(found)


def read_arrays(tensors: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """Return the arrays that a request sends, by name."""
    return {tensor.name: tensor.array for tensor in tensors}
