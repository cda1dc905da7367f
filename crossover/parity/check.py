"""Compares what the placements of a workload answer to the same payloads, pair by pair."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations

from crossover.parity.answers import Answered, Asker
from crossover.parity.difference import Difference, Distance, judge, match_outputs, measure_distance
from crossover.parity.replaced_step import ReplacedSteps, find_replaced_steps, read_arrays
from loadgen.arm import Arm, Mode
from workloads.payloads import Payload
from workloads.workload import Workload

FEW = 4
"""Payloads that are sent before a comparison."""
SAME, LOSSY, DIFFERENT, UNKNOWN = "same", "lossy", "different", "unknown"
"""What a pair computes: the same; something less, as a placement declares (`Placement(lossy=...)`); different things;
or nothing is known, as no payload was answered by both."""


@dataclass(frozen=True)
class Pair:
    """Two placements, the baseline first, and how their answers differ."""

    names: tuple[str, str]
    lossy: str
    """What they declare to lose, in their words; empty: nothing."""
    payloads: int
    """That both have answered."""
    outputs: list[Difference]
    tensors: list[Difference]
    """What the client prepares, against what the steps make that it replaces; the verdict does not go by them."""
    unmatched: list[str]
    """What is not compared, and why: `transcript, which only server has`."""
    unanswered: list[str]
    """Payloads that not both have answered, with the reason."""

    @property
    def verdict(self) -> str:
        """SAME, LOSSY, DIFFERENT or UNKNOWN."""
        if not self.payloads:
            return UNKNOWN
        if self.outputs and all(each.agrees for each in self.outputs):
            return SAME
        return LOSSY if self.lossy else DIFFERENT

    def as_dict(self) -> dict:
        """Return it as run.json has it."""
        differences = {key: [each.as_dict() for each in getattr(self, key)] for key in ("outputs", "tensors")}
        return {**asdict(self), **differences, "verdict": self.verdict}


@dataclass
class Comparing:
    """Two placements while their answers come in."""

    names: tuple[str, str]
    replaced: ReplacedSteps | None
    payloads: int = 0
    distances: dict[str, list[Distance]] = field(default_factory=dict)
    tensors: dict[str, list[Distance]] = field(default_factory=dict)
    unmatched: dict[str, None] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)

    def take(self, payload: str, first: Answered, second: Answered) -> None:
        """Take both answers to a payload."""
        for name, answered in zip(self.names, (first, second), strict=True):
            if answered.reason:
                self.unanswered.append(f"{payload} by {name}: {answered.reason}")
                return
        self.payloads += 1
        matched = match_outputs(first.outputs, second.outputs)
        for one, other in matched:
            name = one if one == other else f"{one}/{other}"
            distance = measure_distance(payload, first.outputs[one], second.outputs[other])
            self.distances.setdefault(name, []).append(distance)
        for i, answered in enumerate((first, second)):
            alone = [name for name in answered.outputs if name not in [pair[i] for pair in matched]]
            self.unmatched |= dict.fromkeys(f"{name}, which only {self.names[i]} has" for name in alone)

    def take_tensors(self, payload: str, answers: Sequence[Answered], asker: Asker) -> None:
        """Ask the steps that one placement replaces, by the `asker` of the other, and take their tensors."""
        if not self.replaced or any(each.reason or not each.request for each in answers):
            return
        direct, ensemble = answers[self.replaced.asked_directly], answers[1 - self.replaced.asked_directly]
        assert direct.request and ensemble.request
        made, prepared = self.replaced.make_tensors(asker, ensemble.request), read_arrays(direct.request.tensors)
        if made.reason:
            self.unmatched[f"the tensors: {made.reason}"] = None
        for name in [name for name in prepared if name in made.outputs]:
            distance = measure_distance(payload, prepared[name], made.outputs[name])
            self.tensors.setdefault(f"{name} ({self.replaced.words})", []).append(distance)

    def finish(self, lossy: str) -> Pair:
        """Return what they come to."""
        judged, tensors = (
            [judge(name, distances) for name, distances in each.items()] for each in (self.distances, self.tensors)
        )
        # The highest number means something of answers only.
        tensors = [replace(each, top1=None) for each in tensors]
        return Pair(self.names, lossy, self.payloads, judged, tensors, list(self.unmatched), self.unanswered)


def check_placements(
    url: str,
    workload: Workload,
    placements: Sequence[str],
    library: str,
    payloads: Sequence[Payload],
    show: Callable[[int], object] = lambda done: None,
) -> list[Pair]:
    """Send every payload by every placement, and compare the answers of each two of them.

    The workload must be complete (`model_config.complete`); `show` is called with the number of payloads that are done.
    """
    askers = {name: Asker(url, Arm(workload, name, Mode("sequential"), library)) for name in placements}
    pairs = combinations(placements, 2)
    comparing = [Comparing(names, find_replaced_steps(url, workload, names)) for names in pairs]
    try:
        for done, payload in enumerate(payloads, 1):
            answers = {name: asker.ask(payload) for name, asker in askers.items()}
            for each in comparing:
                both = [answers[name] for name in each.names]
                each.take(payload.name, *both)
                if each.replaced:
                    each.take_tensors(payload.name, both, askers[each.names[1 - each.replaced.asked_directly]])
            show(done)
    finally:
        for asker in askers.values():
            asker.close()
    return [each.finish(describe_losses(workload, each.names)) for each in comparing]


def describe_losses(workload: Workload, names: Sequence[str]) -> str:
    """Write what these placements declare to lose: `thumbnail: re-encoded as JPEG`; empty if they declare nothing."""
    losses = {name: workload.placements[name].lossy for name in names}
    return "; ".join(f"{name}: {lossy}" for name, lossy in losses.items() if lossy)


def choose_few(payloads: Sequence[Payload], count: int = FEW) -> list[Payload]:
    """Return at most so many payloads, spread over all of them."""
    step = max(1, len(payloads) // count)
    return list(payloads[::step][:count])
