"""A schedule of absolute due times, and the base of the arrival processes that make one from a seed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from arrivals import spec
from arrivals.checks import check_count, check_positive

CHUNK = 4096
"""Gaps drawn at a time. It is part of what a seed means: another number gives other schedules."""


@dataclass(frozen=True)
class Schedule:
    """Absolute due times, seconds from the start of the run, ascending; float64 of shape (n,)."""

    times: np.ndarray
    spec: str
    """The specification of the process, from which the schedule can be made again."""
    seconds: float
    """The length of the run; no arrival lies beyond it."""
    seed: int
    note: str = ""
    """For a trace: how its file was read, for the log."""
    steady: bool = True
    """The process's."""

    def __len__(self) -> int:
        """Return the number of arrivals."""
        return len(self.times)

    @property
    def rate(self) -> float:
        """Offered load in arrivals per second."""
        return len(self) / self.seconds

    @property
    def digest(self) -> str:
        """Twelve hex digits of the SHA-256 of the due times, in whole nanoseconds as little-endian int64."""
        return hashlib.sha256((self.times * 1e9).round().astype("<i8").tobytes()).hexdigest()[:12]


class Arrivals:
    """An arrival process. A subclass is a frozen dataclass of its parameters.

    It overrides one method: `draw_gaps` if gaps are independent, `draw_times` if not, `draw` if it has a note as well.
    """

    steady: ClassVar[bool] = True
    """Whether its rate stays the same in the long run. If not, a queue that grows is no fault of the run."""

    def schedule(self, seconds: float, seed: int) -> Schedule:
        """Make the schedule of all arrivals in [0, seconds).

        Process, length and seed determine it on every machine. Raises ValueError for a length that is not positive, a
        negative seed, more than LIMIT arrivals, and a trace that cannot be read.
        """
        check_positive(seconds=seconds)
        if seed < 0:
            raise ValueError(f"seed must not be negative, not {seed}")
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
        try:
            times, note = self.draw(rng, seconds)
            return Schedule(times, str(self), seconds, seed, note, self.steady)
        except ValueError as error:
            raise ValueError(f"arrivals {str(self)!r} for {seconds:g} s: {error}") from None

    def draw(self, rng: np.random.Generator, seconds: float) -> tuple[np.ndarray, str]:
        """Return the due times, and a note on where they come from."""
        return self.draw_times(rng, seconds), ""

    def draw_times(self, rng: np.random.Generator, seconds: float) -> np.ndarray:
        """Draw due times from gaps; the first arrival is one gap after the start."""
        return accumulate(lambda n: self.draw_gaps(rng, n), seconds)

    def draw_gaps(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n gaps in seconds, float64 of shape (n,)."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Return the specification."""
        return spec.write(self)


def accumulate(
    draw_gaps: Callable[[int], np.ndarray],
    seconds: float,
    transform: Callable[[np.ndarray], np.ndarray] = lambda totals: totals,
) -> np.ndarray:
    """Return transform(gap 1), transform(gap 1 + gap 2), ... as far as they lie below `seconds`.

    `draw_gaps(n)` returns n gaps; `transform` must not descend.

    Gaps are drawn and transformed in chunks whose size does not depend on `seconds`, so a longer run begins like a
    shorter one, bit for bit.
    """
    chunks, total, now, count = [], 0.0, 0.0, 0
    while now < seconds:
        totals = total + np.cumsum(draw_gaps(CHUNK))
        chunks.append(transform(totals))
        total, now, count = totals[-1], chunks[-1][-1], count + len(totals)
        check_count(count - CHUNK)  # the last chunk may lie beyond the end
    chunks[-1] = chunks[-1][chunks[-1] < seconds]
    return np.concatenate(chunks)
