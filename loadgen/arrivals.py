"""When requests arrive: a schedule of absolute due times, made before the run from a seed.

A process knows gaps, or due times, and nothing else. `parse("poisson:rate=20").schedule(seconds=60, seed=1)`
gives the due times; the same specification, length and seed give the same schedule on every machine, and a
longer run begins like a shorter one. Times are in seconds, rates in arrivals per second.

    python -m loadgen.arrivals gamma:rate=20,cv=3 --seconds 60 --seed 1
"""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from loadgen import grammar, inversion, traces
from loadgen.schedule import Arrivals, Schedule, accumulate, between, bounded, not_negative, positive

__all__ = ["EXAMPLES", "Arrivals", "Closed", "Schedule", "parse", "positive"]


@dataclass(frozen=True)
class Constant(Arrivals):
    """One arrival every 1/rate seconds, the first at once."""

    rate: float

    def __post_init__(self):
        positive(rate=self.rate)

    def times(self, rng, seconds):
        bounded(seconds * self.rate)
        return np.arange(max(1, np.ceil(round(seconds * self.rate, 6)))) / self.rate


@dataclass(frozen=True)
class Uniform(Arrivals):
    """Gaps drawn uniformly from [min, max) seconds."""

    min: float
    max: float

    def __post_init__(self):
        positive(max=self.max)
        between(0, self.max, min=self.min)

    def gaps(self, rng, n):
        return rng.uniform(self.min, self.max, n)


@dataclass(frozen=True)
class Poisson(Arrivals):
    """A Poisson process: exponential gaps of mean 1/rate seconds (Cox & Lewis 1966)."""

    rate: float

    def __post_init__(self):
        positive(rate=self.rate)

    def gaps(self, rng, n):
        return rng.exponential(1 / self.rate, n)


@dataclass(frozen=True)
class Gamma(Arrivals):
    """Gamma gaps of mean 1/rate and coefficient of variation cv: shape 1/cv^2, scale cv^2/rate (AlpaServe, OSDI '23).

    cv = 1 is Poisson; below 1e-6 the spacing is constant, the first arrival one gap after the start. vLLM's
    `burstiness` and AIPerf's `smoothness` are the shape: cv = 1/sqrt(shape).
    """

    rate: float
    cv: float

    also = dict.fromkeys(("burstiness", "smoothness"), ("cv", lambda shape: shape**-0.5 if shape > 0 else -1))

    def __post_init__(self):
        positive(rate=self.rate)
        if not 0 <= self.cv <= 1000:
            raise ValueError("cv must lie between 0 and 1000 (a shape between 1e-6 and infinity)")

    def gaps(self, rng, n):
        if self.cv < 1e-6:
            return np.full(n, 1 / self.rate)
        return rng.gamma(self.cv**-2, self.cv**2 / self.rate, n)


@dataclass(frozen=True)
class Pareto(Arrivals):
    """Pareto gaps (type I) of mean 1/rate: none shorter than (alpha - 1) / (alpha * rate), and a heavy tail.

    The variance is infinite for alpha <= 2, and the mean rate of a run then settles slowly (Paxson & Floyd 1995).
    """

    rate: float
    alpha: float

    def __post_init__(self):
        positive(rate=self.rate, alpha=self.alpha)
        if self.alpha <= 1:
            raise ValueError(f"alpha must be above 1, or the mean gap is infinite, not {self.alpha:g}")

    def gaps(self, rng, n):
        return (1 + rng.pareto(self.alpha, n)) * (self.alpha - 1) / (self.alpha * self.rate)


@dataclass(frozen=True)
class MMPP(Arrivals):
    """Markov-modulated Poisson: a state lasts exponentially long, of mean durations[i], at rates[i] (its own Poisson).

    The states follow each other in the order given, round and round; the first is drawn by its share of the
    time, so that the process is stationary (Fischer & Meier-Hellstern 1993). The mean rate is
    sum(rates * durations) / sum(durations).
    """

    rates: tuple[float, ...]
    durations: tuple[float, ...]

    def __post_init__(self):
        some(rates=self.rates)
        for duration in self.durations:
            positive(durations=duration)
        if len(self.rates) != len(self.durations) or len(self.rates) < 2:
            raise ValueError("rates and durations must be as many, two or more")

    def times(self, rng, seconds):
        states, arrivals = rng.spawn(2)
        durations = np.array(self.durations)
        first = states.choice(len(durations), p=durations / durations.sum())
        durations, levels = np.roll(durations, -first), np.roll(self.rates, -first)

        def stays(n: int) -> np.ndarray:
            return states.exponential(durations, (n // len(durations) + 1, len(durations))).ravel()

        ends = accumulate(stays, seconds)
        levels = np.resize(levels, len(ends) + 1)
        path = inversion.PiecewiseLinear([0, *ends], levels, levels)
        return accumulate(arrivals.standard_exponential, seconds, path.when)


@dataclass(frozen=True)
class OnOff(Arrivals):
    """Bursts: the MMPP of two states, on at on_rate for `on` seconds in the mean, then off at off_rate for `off`."""

    on_rate: float
    on: float
    off: float
    off_rate: float = 0.0

    def __post_init__(self):
        positive(on=self.on, off=self.off)
        some(on_rate=self.on_rate, off_rate=self.off_rate)

    def times(self, rng, seconds):
        return MMPP((self.on_rate, self.off_rate), (self.on, self.off)).times(rng, seconds)


class Varying(Arrivals):
    """A Poisson process whose rate is a given function of time; `when` inverts the cumulative rate."""

    def times(self, rng, seconds):
        return accumulate(rng.standard_exponential, seconds, self.when)


@dataclass(frozen=True)
class Ramp(Varying):
    """Poisson; the rate goes straight from `from` to `to` over so many seconds, and stays there."""

    from_: float
    to: float
    over: float

    def __post_init__(self):
        positive(over=self.over)
        some(**{"from": self.from_, "to": self.to})

    def when(self, totals):
        return inversion.PiecewiseLinear([0, self.over], [self.from_, self.to], [self.to, self.to]).when(totals)


@dataclass(frozen=True)
class Step(Varying):
    """Poisson; each of the rates in turn for `every` seconds, and the last one from then on."""

    rates: tuple[float, ...]
    every: float

    def __post_init__(self):
        positive(every=self.every)
        some(rates=self.rates)

    def when(self, totals):
        return inversion.PiecewiseLinear(np.arange(len(self.rates)) * self.every, self.rates, self.rates).when(totals)


@dataclass(frozen=True)
class Spike(Varying):
    """Poisson; at `rate`, but at `peak` from `at` seconds on, as long as it lasts, and then at `rate` again."""

    rate: float
    peak: float
    at: float
    lasts: float

    def __post_init__(self):
        positive(lasts=self.lasts)
        not_negative(at=self.at)
        some(rate=self.rate, peak=self.peak)

    def when(self, totals):
        levels = [self.rate, self.peak, self.rate]
        return inversion.PiecewiseLinear([0, self.at, self.at + self.lasts], levels, levels).when(totals)


@dataclass(frozen=True)
class Sine(Varying):
    """Poisson; the rate at t is rate * (1 + amplitude * sin(2 pi t / period)), amplitude from 0 to 1."""

    rate: float
    amplitude: float
    period: float

    def __post_init__(self):
        positive(rate=self.rate, period=self.period)
        between(0, 1, amplitude=self.amplitude)

    def times(self, rng, seconds):
        bounded(self.rate * seconds)
        return super().times(rng, seconds)

    def when(self, totals):
        return inversion.sine(totals, self.rate, self.amplitude, self.period)


PHASES = ("random", "staggered", "synchronised")


@dataclass(frozen=True)
class Video(Arrivals):
    """Cameras of fps frames a second each, merged.

    Their phases are random (uniform over a frame, independent), staggered (evenly apart) or synchronised (all
    at 0). Every frame is late by a jitter of its own, uniform over [0, jitter) seconds: at most one frame
    long, so that no frame overtakes the one before. A camera draws from its own stream.
    """

    cameras: int
    fps: float
    phase: str = "random"
    jitter: float = 0.0

    def __post_init__(self):
        between(1, 100_000, cameras=self.cameras)
        positive(fps=self.fps)
        if self.phase not in PHASES:
            raise ValueError(f"phase must be one of {', '.join(PHASES)}, not {self.phase!r}")
        between(0, 1 / self.fps, jitter=self.jitter)

    def times(self, rng, seconds):
        bounded(self.cameras * (seconds * self.fps + 1))
        frames, cameras = np.arange(int(seconds * self.fps) + 1) / self.fps, []
        for i, stream in enumerate(rng.spawn(self.cameras)):
            phase = {"random": stream.random(), "staggered": i / self.cameras, "synchronised": 0.0}[self.phase]
            cameras.append(frames + phase / self.fps + stream.uniform(0, self.jitter, len(frames)))
        times = np.sort(np.concatenate(cameras))
        return times[times < seconds]


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


@dataclass(frozen=True)
class Closed(Arrivals):
    """Not a schedule: users who each wait for the answer, think for so many seconds, and ask again.

    The naive baseline: a slow server is asked less (Schroeder, Wierman & Harchol-Balter, NSDI '06).
    """

    users: int
    think: float = 0.0

    def __post_init__(self):
        between(1, 100_000, users=self.users)
        not_negative(think=self.think)

    def schedule(self, seconds, seed):
        """Raises ValueError."""
        raise ValueError(f"arrivals {str(self)!r} have no schedule: when a user asks again depends on the answers")


def some(**rates) -> None:
    """Raise ValueError for rates that are negative, and for none above zero: nothing would ever arrive."""
    for name, values in rates.items():
        for value in np.atleast_1d(values):
            not_negative(**{name: value})
    if not np.any([np.any(values) for values in rates.values()]):
        raise ValueError(f"{' and '.join(rates)} must not all be zero")


EXAMPLES = {
    Constant: "constant:rate=20",
    Uniform: "uniform:min=0.02,max=0.08",
    Poisson: "poisson:rate=20",
    Gamma: "gamma:rate=20,cv=3",
    Pareto: "pareto:rate=20,alpha=1.5",
    OnOff: "onoff:on_rate=100,on=1,off=4",
    MMPP: "mmpp:rates=5/50/200,durations=10/2/0.5",
    Ramp: "ramp:from=5,to=50,over=60",
    Step: "step:rates=5/10/20/40,every=15",
    Spike: "spike:rate=10,peak=100,at=20,lasts=5",
    Sine: "sine:rate=20,amplitude=0.8,period=30",
    Video: "video:cameras=16,fps=30,phase=random,jitter=0.005",
    Trace: "trace:file=arrivals.csv",
    Closed: "closed:users=8,think=0.5",
}
PROCESSES = {cls.__name__.lower(): cls for cls in EXAMPLES}


def parse(spec: str) -> Arrivals:
    """The process a specification names, e.g. `poisson:rate=20` or, positionally, `uniform:0.02,0.08`.

    Raises ValueError with one line that names the good ones and gives an example.
    """
    name, _, text = spec.strip().partition(":")
    if name not in PROCESSES:
        near = get_close_matches(name, PROCESSES, 1) or ["poisson"]
        example = EXAMPLES[PROCESSES[near[0]]]
        raise ValueError(f"unknown arrivals {spec!r}; try one of {', '.join(PROCESSES)}, e.g. {example}")
    try:
        return grammar.read(PROCESSES[name], text)
    except ValueError as error:
        raise ValueError(f"arrivals {spec!r}: {error}; e.g. {EXAMPLES[PROCESSES[name]]}") from None


if __name__ == "__main__":
    from loadgen.describe import main

    main()
