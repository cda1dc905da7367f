"""The highest rate that keeps p95 within a limit: a quick bracketed search, from what the arm answers without a pause.

A turn is a search of its own. It steps up or down from where it starts until the answer changes, then halves the
bracket (in logarithms). Turns differ in their schedules; the first starts at START of the rate without pauses, each
further one where the turns before it ended.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import geometric_mean

from benchmarks.gpu.load import Load

START = 0.85
"""Times the rate of clients that never pause."""
STEPS = 6
"""Of one search at most, until the answer changes."""
FASTER = 1.4
"""The power by which a step grows from one to the next: who begins far away must not walk."""
FIRST, LATER = 1.25, 1.12
"""The factor of a step, in the first turn and in those after it."""
SLO_FACTOR = 5
"""Times the unloaded latency of the slowest arm: the limit of p95, the same for all arms."""


@dataclass(frozen=True)
class Probe:
    """One rate that was offered."""

    rate: float
    over: bool
    p95: float
    load: Load


@dataclass
class Search:
    """The bracket of one turn: the highest rate that kept the limit and the lowest that did not, None if unknown."""

    probes: list[Probe] = field(default_factory=list)
    kept: Probe | None = None
    broken: Probe | None = None

    def add(self, probe: Probe) -> None:
        """Narrow the bracket by a probe."""
        self.probes.append(probe)
        if probe.over and (self.broken is None or probe.rate < self.broken.rate):
            self.broken = probe
        if not probe.over and (self.kept is None or probe.rate > self.kept.rate):
            self.kept = probe

    @property
    def value(self) -> float | None:
        """The geometric middle of the bracket; None if it has only one side."""
        return (self.kept.rate * self.broken.rate) ** 0.5 if self.kept and self.broken else None


def search(measure: Callable[[float], Probe], start: float, factor: float, bisections: int, fits) -> Search:
    """Search one turn; `fits()` says whether another probe fits into the time left."""
    found = Search()
    found.add(measure(start))
    step = 1 / factor if found.probes[0].over else factor
    rate = start
    for _ in range(STEPS):
        if (found.kept and found.broken) or not fits():
            break
        rate *= step
        found.add(measure(rate))
        step **= FASTER
    for _ in range(bisections):
        if found.value is None or not fits():
            break
        found.add(measure(found.value))
    return found


@dataclass(frozen=True)
class Capacity:
    """What the turns say together: their middle, and the outermost limits of their brackets."""

    value: float
    low: float
    high: float
    turns: int
    best: Probe
    """The highest rate of all that kept the limit, with its costs."""


def combine(turns: list[Search]) -> Capacity | None:
    """Return what turns say together; None if none has a bracket with both sides."""
    whole = [turn for turn in turns if turn.value]
    if not whole:
        return None
    kept = [turn.kept for turn in whole if turn.kept]
    return Capacity(
        geometric_mean([turn.value or 0.0 for turn in whole]),
        min(each.rate for each in kept),
        max(turn.broken.rate for turn in whole if turn.broken),
        len(whole),
        max(kept, key=lambda probe: probe.rate),
    )
