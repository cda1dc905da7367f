"""The figures of an arm, summed over the runs of this process: a fold over finished samples.

A sample adds a few numbers here; what is due, fired and in flight at an instant is worked out when somebody asks.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np

from loadgen.samples.sample import COMPLETED, STATUSES, Sample
from loadgen.samples.verdict import Validity

STEPS = (1, 1.5, 2, 3, 5, 7)
LAG_BOUNDS = (*(round(step * 10.0**power, 7) for power in (-5, -4, -3, -2, -1) for step in (1, 2, 5)), 1.0)
"""Upper bounds of the buckets of dispatch lag, in seconds: 10 microseconds to 1 second."""
LATENCY_BOUNDS = (
    0.0005,
    *(round(step * 10.0**power, 7) for power in (-3, -2, -1, 0) for step in STEPS),
    10.0,
    20.0,
    30.0,
)
"""The same of latency: 0.5 ms to 30 s, the default deadline of a request. Every bucket makes a fetch dearer."""


class Source(Protocol):
    """What a run knows of its progress; `client.loop.Loop` is one, a master of workers has another."""

    @property
    def elapsed(self) -> int:
        """The run's time in ns: 0 before its schedule begins, and constant once the run is over."""

    @property
    def fired(self) -> int:
        """How many arrivals of the run have been handed to the client."""


class Histogram:
    """Counts in classic buckets, with the sum of what was counted."""

    def __init__(self, bounds: Sequence[float]):
        """Take the upper bounds of the buckets, ascending, in seconds."""
        self.bounds, self.sum = bounds, 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Count one value in the first bucket whose bound it does not exceed."""
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return (bound, how many values lie up to it) for each bucket; the last bound is "+Inf"."""
        bounds = [*(f"{bound:.7g}" for bound in self.bounds), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self._counts)), strict=True))


class Progress(NamedTuple):
    """What `due` and `fired` begin with, and the run that adds to them; replaced as a whole, as another thread asks."""

    due: int = 0
    """Arrivals of the runs that have ended."""
    fired: int = 0
    ended: int = 0
    """Samples of fired arrivals before the run."""
    source: Source | None = None
    """Of the run that goes on."""
    dues: np.ndarray | None = None


class ArmMetrics:
    """What an arm's runs came to. `add` takes every finished sample, from a single thread."""

    def __init__(self) -> None:
        self.finished = dict.fromkeys(STATUSES, 0)
        """How many arrivals ended in each status."""
        self.lag, self.latency = Histogram(LAG_BOUNDS), Histogram(LATENCY_BOUNDS)
        self.runs = {"VALID": 0, "INVALID": 0}
        self.broken: Counter[str] = Counter()
        """Rule -> how many runs broke it."""
        self.valid: bool | None = None
        """Whether the last run that ended was VALID; None before."""
        self._progress = Progress()
        self._ended = 0  # samples of arrivals that were fired

    def begin(self, dues: np.ndarray | None, source: Source) -> None:
        """Begin a run with these due times in seconds, ascending; a closed loop has none: what is fired is due."""
        if self.active:
            self.end()
        self._progress = self._progress._replace(ended=self._ended, source=source, dues=dues)

    def add(self, sample: Sample) -> None:
        """Count a finished sample."""
        self.finished[sample.status] += 1
        if sample.fired:
            self._ended += 1
            self.lag.observe((sample.fired - sample.due) / 1e9)
        if sample.status == COMPLETED:
            self.latency.observe((sample.done - sample.due) / 1e9)

    def end(self, verdict: Validity | None = None) -> None:
        """End the run with its verdict; None if nobody judged it. Every sample is in."""
        # A worker that died fired arrivals that the books hold as never sent.
        fired = max(self.fired, self._progress.fired + self._ended - self._progress.ended)
        self._progress = Progress(sum(self.finished.values()), fired)
        if verdict is not None:
            self.valid = verdict.valid
            self.runs["VALID" if verdict.valid else "INVALID"] += 1
            self.broken.update(finding.rule for finding in verdict.findings)

    @property
    def active(self) -> bool:
        """True while a run goes on."""
        return self._progress.source is not None

    @property
    def due(self) -> int:
        """How many arrivals were due until now; after a run as many as the books hold."""
        due, _, _, source, dues = self._progress
        if source is None:
            return due
        return due + (source.fired if dues is None else int(np.searchsorted(dues, source.elapsed / 1e9, "right")))

    @property
    def fired(self) -> int:
        """How many arrivals were handed to the client until now."""
        _, fired, _, source, _ = self._progress
        return fired + (source.fired if source else 0)

    @property
    def in_flight(self) -> int:
        """How many arrivals were fired and have not ended; 0 without a run."""
        _, _, ended, source, _ = self._progress
        return max(0, source.fired - (self._ended - ended)) if source else 0
