"""A schedule of absolute due times, and how an arrival process makes one from a seed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loadgen.arrivals import spec
from loadgen.arrivals.checks import bounded, positive

CHUNK = 4096


@dataclass(frozen=True)
class Schedule:
    """Absolute due times, seconds from the start of the run, ascending; float64 of shape (n,)."""

    times: np.ndarray
    spec: str
    seconds: float
    seed: int
    note: str = ""
    """Where the times come from, for the reader of a log, where the specification does not say it: of a trace."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def rate(self) -> float:
        """Offered load in arrivals per second."""
        return len(self) / self.seconds

    @property
    def digest(self) -> str:
        """Twelve hex digits of the SHA-256 of the due times in whole nanoseconds (little-endian int64)."""
        return hashlib.sha256((self.times * 1e9).round().astype("<i8").tobytes()).hexdigest()[:12]


class Arrivals:
    """An arrival process. A subclass is a frozen dataclass with `gaps(rng, n)`, n gaps in seconds, or `times`."""

    def schedule(self, seconds: float, seed: int) -> Schedule:
        """All arrivals in [0, seconds).

        Raises ValueError for a length or a seed that cannot be, for more than LIMIT arrivals and for a
        trace that cannot be read.
        """
        positive(seconds=seconds)
        if seed < 0:
            raise ValueError(f"seed must not be negative, not {seed}")
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
        try:
            times, note = self.draw(rng, seconds)
            return Schedule(times, str(self), seconds, seed, note)
        except ValueError as error:
            raise ValueError(f"arrivals {str(self)!r} for {seconds:g} s: {error}") from None

    def draw(self, rng: np.random.Generator, seconds: float) -> tuple[np.ndarray, str]:
        """Due times, and a note on where they come from."""
        return self.times(rng, seconds), ""

    def times(self, rng: np.random.Generator, seconds: float) -> np.ndarray:
        """Due times from gaps, the first one gap after the start."""
        return accumulate(lambda n: self.gaps(rng, n), seconds)

    def __str__(self) -> str:
        return spec.write(self)


def accumulate(
    gaps: Callable[[int], np.ndarray],
    seconds: float,
    when: Callable[[np.ndarray], np.ndarray] = lambda totals: totals,
) -> np.ndarray:
    """when(gap 1), when(gap 1 + gap 2), ... as far as they lie below `seconds`; `when` must not descend.

    Gaps are drawn and mapped in chunks whose size does not depend on `seconds`: a longer run begins like a
    shorter one, bit for bit.
    """
    chunks, total, now, count = [], 0.0, 0.0, 0
    while now < seconds:
        totals = total + np.cumsum(gaps(CHUNK))
        chunks.append(when(totals))
        total, now, count = totals[-1], chunks[-1][-1], count + len(totals)
        bounded(count - CHUNK)
    chunks[-1] = chunks[-1][chunks[-1] < seconds]
    return np.concatenate(chunks)
