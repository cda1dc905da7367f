"""Recorded arrivals as a process: the files are read by `traces`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadgen.arrivals import traces
from loadgen.arrivals.checks import bounded, not_negative, positive
from loadgen.arrivals.schedule import Arrivals


@dataclass(frozen=True)
class Trace(Arrivals):
    """Recorded arrivals: a file of timestamps, intervals or counts per minute, or a public data set (docs/traces.md).

    The kind is the one given, or else what the name of the file's column says, or else timestamps. They count in
    seconds from the start of the run; date-times and times since 1970 from the file's first. Counts are spread within
    their minute like a Poisson process that has that many: as ordered uniform times (Cox & Lewis 1966). `skip` leaves
    out the trace's first seconds; then scale = 2 stretches time to half the rate. Before the trace begins and after it
    is over nothing arrives.
    """

    file: str
    kind: str = ""
    column: str = ""
    scale: float = 1.0
    skip: float = 0.0
    unit: str = ""

    def __post_init__(self):
        positive(scale=self.scale)
        not_negative(skip=self.skip)
        for name, known in (("kind", traces.KINDS), ("unit", traces.UNITS)):
            if (word := getattr(self, name)) not in ("", *known):
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {word!r}")
        for word in (self.file, self.column):
            if "," in word or word != word.strip():
                raise ValueError(f"{word!r} cannot be written in a specification: no comma, no space around it")
        if not self.file:
            raise ValueError("file is missing")

    def draw(self, rng, seconds):
        recording = traces.read(Path(self.file), self.kind, self.column, self.unit)
        end = self.skip + seconds / self.scale
        if recording.kind == "counts":
            values = recording.values[: int(min(len(recording.values), end / 60 + 1))]
            bounded(values.sum())
            minutes = np.repeat(np.arange(len(values)), values.astype(int))
            values = np.sort(minutes + rng.random(len(minutes))) * 60
        else:
            values = np.cumsum(recording.values) if recording.kind == "intervals" else recording.values
        times = (values - self.skip) * self.scale
        times = times[(times >= 0) & (times < seconds)]
        used = f"{traces.pluralise(len(times), 'arrival')} from its {self.skip:g} to {end:g} s"
        return times, f"trace {self.file}: {recording.source}; {recording.extent}; {used}"
