"""Recorded arrivals as a process; `traces` reads the files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadgen.arrivals import traces
from loadgen.arrivals.checks import check_count, check_not_negative, check_positive
from loadgen.arrivals.schedule import Arrivals


@dataclass(frozen=True)
class Trace(Arrivals):
    """Recorded arrivals: a file of timestamps, intervals or counts per minute, or a public data set (docs/traces.md).

    The kind is the one given, else the one that the column's name implies, else timestamps. Timestamps are seconds from
    the start of the run; date-times and times since 1970 count from the first in the file. Counts become a Poisson
    process that is known to have that many arrivals in the minute: ordered uniform times (Cox & Lewis 1966). `skip`
    leaves out the trace's first seconds; scale = 2 then stretches time to half the rate. Nothing arrives before the
    trace begins and after it ends.
    """

    steady = False
    file: str
    kind: str = ""
    column: str = ""
    scale: float = 1.0
    skip: float = 0.0
    unit: str = ""

    def __post_init__(self):
        check_positive(scale=self.scale)
        check_not_negative(skip=self.skip)
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
        end = self.skip + seconds / self.scale
        if recording.kind == "counts":
            # Minutes after the end of the run are not expanded.
            values = recording.values[: int(min(len(recording.values), end / 60 + 1))]
            check_count(values.sum())
            minutes = np.repeat(np.arange(len(values)), values.astype(int))
            values = np.sort(minutes + rng.random(len(minutes))) * 60
        else:
            values = np.cumsum(recording.values) if recording.kind == "intervals" else recording.values
        times = (values - self.skip) * self.scale
        times = times[(times >= 0) & (times < seconds)]
        used = f"{traces.pluralise(len(times), 'arrival')} from its {self.skip:g} to {end:g} s"
        return times, f"trace {self.file}: {recording.source}; {recording.extent}; {used}"
