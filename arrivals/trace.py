"""Recorded arrivals as a process; `traces` reads the files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arrivals import traces
from arrivals.checks import check_count, check_not_negative, check_positive
from arrivals.schedule import Arrivals


@dataclass(frozen=True)
class Trace(Arrivals):
    """Recorded arrivals: a file of timestamps, intervals or counts per minute, or a public data set (docs/traces.md).

    The kind is the one given, else the one that the column's name implies, else timestamps. Timestamps are seconds from
    the start of the run; date-times and times since 1970 count from the first in the file. Counts become a Poisson
    process that is known to have that many arrivals in the minute: ordered uniform times (Cox & Lewis 1966). `spread`
    does the same to times of a coarse clock: each moves to a uniform place in the `spread` seconds of the trace from it
    on; None: as its layout says, 1 second for BurstGPT. `skip` leaves out the trace's first seconds; scale = 2 then
    stretches time to half the rate. Nothing arrives before the trace begins and after it ends.
    """

    steady = False
    file: str
    kind: str = ""
    column: str = ""
    scale: float = 1.0
    skip: float = 0.0
    unit: str = ""
    spread: float | None = None

    def __post_init__(self):
        check_positive(scale=self.scale)
        check_not_negative(skip=self.skip, spread=self.spread or 0.0)
        for name, known in (("kind", traces.KINDS), ("unit", traces.UNITS)):
            if (word := getattr(self, name)) not in ("", *known):
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {word!r}")
        for word in (self.file, self.column):
            if "," in word or word != word.strip():
                raise ValueError(f"{word!r} cannot be written in a specification: no comma, no space around it")
        if not self.file:
            raise ValueError("file is missing")

    def draw(self, rng: np.random.Generator, seconds: float) -> tuple[np.ndarray, str]:
        """Read the file and return its due times, with a note on how it was read. Raises ValueError."""
        recording = traces.read(Path(self.file), self.kind, self.column, self.unit)
        end, width = self.skip + seconds / self.scale, recording.width
        if recording.kind == "counts":
            if self.spread is not None:
                raise ValueError(f"spread is for timestamps and intervals: counts are spread over their {width:g} s")
            # Counts after the end of the run are not expanded.
            counts = recording.values[: int(min(len(recording.values), end / width + 1))]
            check_count(counts.sum())
            places = np.repeat(np.arange(len(counts)), counts.astype(int))
        else:
            width = width if self.spread is None else self.spread
            values = np.cumsum(recording.values) if recording.kind == "intervals" else recording.values
            # Arrivals after the end of the run draw nothing, so that a longer run begins like a shorter one.
            places = values[values < end] / (width or 1)
        values = np.sort(places + rng.random(len(places))) * width if width else places
        times = (values - self.skip) * self.scale
        times = times[(times >= 0) & (times < seconds)]
        used = f"{traces.pluralise(len(times), 'arrival')} from its {self.skip:g} to {end:g} s"
        used += warn_of_resolution(times / self.scale, width)
        return times, f"trace {self.file}: {recording.source}; {recording.extent}; {used}"


def warn_of_resolution(times: np.ndarray, width: float) -> str:
    """Return a warning where the trace's clock is coarser than the mean gap, to follow the note; else nothing.

    `times` are in seconds, ascending; `width` is the number of seconds over which they were spread. Where they were
    not, the clock's step is the largest that all their distances are multiples of, in whole microseconds.
    """
    if len(times) < 2:
        return ""
    gap = (times[-1] - times[0]) / (len(times) - 1)
    step = width or np.gcd.reduce(np.diff((times * 1e6).round().astype(np.int64))) / 1e6
    if step <= gap * 1.000001:  # two arrivals differ by a rounding only
        return ""
    says = f"; warning: it tells times to {step:g} s, coarser than the mean gap of {gap:.3g} s"
    if width:
        return f"{says}: where in it requests arrive is drawn by the seed, and shorter bursts are lost"
    return f"{says}: requests arrive at once; if that is its clock's doing, spread={step:g} spreads them"
