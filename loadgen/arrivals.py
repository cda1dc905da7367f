"""When requests arrive: a schedule of absolute due times, made before the run from a seed.

A process knows gaps and nothing else. `parse("poisson:rate=20").schedule(seconds=60, seed=1)` gives
the due times; the same specification, length and seed give the same schedule on every machine, and a
longer run begins like a shorter one.

    python -m loadgen.arrivals poisson:rate=20 --seconds 60 --seed 1
"""

import argparse
import dataclasses
import hashlib
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

CHUNK = 4096


@dataclass(frozen=True)
class Schedule:
    """Absolute due times, seconds from the start of the run, ascending; float64 of shape (n,)."""

    times: np.ndarray
    spec: str
    seconds: float
    seed: int

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
        """All arrivals in [0, seconds). Raises ValueError for a length or a seed that cannot be."""
        positive(seconds=seconds)
        if seed < 0:
            raise ValueError(f"seed must not be negative, not {seed}")
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
        return Schedule(self.times(rng, seconds), str(self), seconds, seed)

    def times(self, rng: np.random.Generator, seconds: float) -> np.ndarray:
        """Due times from gaps, the first one gap after the start."""
        chunks, now = [], 0.0
        while now < seconds:
            chunks.append(now + np.cumsum(self.gaps(rng, CHUNK)))
            now = chunks[-1][-1]
        times = np.concatenate(chunks)
        return times[times < seconds]

    def __str__(self) -> str:
        fields = ",".join(f"{f.name}={getattr(self, f.name):g}" for f in dataclasses.fields(self))
        return f"{type(self).__name__.lower()}:{fields}"


def positive(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number, not {value:g}")


@dataclass(frozen=True)
class Constant(Arrivals):
    """One arrival every 1/rate seconds, the first at once."""

    rate: float

    def __post_init__(self):
        positive(rate=self.rate)

    def times(self, rng, seconds):
        return np.arange(np.ceil(round(seconds * self.rate, 6))) / self.rate


@dataclass(frozen=True)
class Uniform(Arrivals):
    """Gaps drawn uniformly from [min, max) seconds."""

    min: float
    max: float

    def __post_init__(self):
        positive(max=self.max)
        if not 0 <= self.min <= self.max:
            raise ValueError(f"min must lie between 0 and max={self.max:g}, not {self.min:g}")

    def gaps(self, rng, n):
        return rng.uniform(self.min, self.max, n)


@dataclass(frozen=True)
class Poisson(Arrivals):
    """A Poisson process: exponential gaps of mean 1/rate seconds."""

    rate: float

    def __post_init__(self):
        positive(rate=self.rate)

    def gaps(self, rng, n):
        return rng.exponential(1 / self.rate, n)


EXAMPLES = {
    Constant: "constant:rate=20",
    Uniform: "uniform:min=0.02,max=0.08",
    Poisson: "poisson:rate=20",
}
PROCESSES = {cls.__name__.lower(): cls for cls in EXAMPLES}


def parse(spec: str) -> Arrivals:
    """The process a specification names, e.g. `poisson:rate=20` or, positionally, `uniform:0.02,0.08`.

    Raises ValueError with one line that names the good ones and gives an example.
    """
    name, _, text = spec.strip().partition(":")
    if name not in PROCESSES:
        good = ", ".join(PROCESSES)
        raise ValueError(f"unknown arrivals {spec!r}; try one of {good}, e.g. {EXAMPLES[Poisson]}")
    cls = PROCESSES[name]
    names = [field.name for field in dataclasses.fields(cls)]
    try:
        words = [word.strip() for word in text.split(",") if word.strip()]
        values = {}
        for word, position in zip_longest(words, names[: len(words)], fillvalue=""):
            key, equals, value = word.rpartition("=")
            key = key.strip() if equals else position
            if key not in names:
                raise ValueError(f"{word!r} means nothing here, {name} takes {' and '.join(names)}")
            if key in values:
                raise ValueError(f"{key} is given twice")
            values[key] = number(key, value)
        if missing := [key for key in names if key not in values]:
            raise ValueError(f"{' and '.join(missing)} is missing")
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"arrivals {spec!r}: {error}; e.g. {EXAMPLES[cls]}") from None


def number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{key} must be a number, not {text.strip()!r}") from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadgen.arrivals", description="Look at a schedule.")
    parser.add_argument("spec", help="e.g. " + ", ".join(EXAMPLES.values()))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        schedule = parse(options.spec).schedule(options.seconds, options.seed)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    gaps = np.diff(schedule.times, prepend=0)
    cv = gaps.std() / gaps.mean() if len(gaps) else float("nan")
    print(f"{schedule.spec}  seed {schedule.seed}  schedule {schedule.digest}")
    print(f"{len(schedule)} arrivals in {schedule.seconds:g} s: {schedule.rate:.4g}/s, cv of gaps {cv:.3g}")


if __name__ == "__main__":
    main()
