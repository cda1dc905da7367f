"""Renewal processes, whose gaps are independent: constant, uniform, Poisson, gamma, Pareto."""

from dataclasses import dataclass

import numpy as np

from arrivals.checks import check_between, check_count, check_positive
from arrivals.schedule import Arrivals


@dataclass(frozen=True)
class Constant(Arrivals):
    """One arrival every 1/rate seconds, the first at the start."""

    rate: float

    def __post_init__(self):
        check_positive(rate=self.rate)

    def draw_times(self, rng: np.random.Generator, seconds: float) -> np.ndarray:
        """Return the evenly spaced due times; nothing is drawn."""
        check_count(seconds * self.rate)
        # Rounded, because 1.1 * 10 is a little more than 11 in floating point.
        return np.arange(max(1, np.ceil(round(seconds * self.rate, 6)))) / self.rate


@dataclass(frozen=True)
class Uniform(Arrivals):
    """Gaps drawn uniformly from [min, max) seconds."""

    min: float
    max: float

    def __post_init__(self):
        check_positive(max=self.max)
        check_between(0, self.max, min=self.min)

    def draw_gaps(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n uniform gaps, in seconds."""
        return rng.uniform(self.min, self.max, n)


@dataclass(frozen=True)
class Poisson(Arrivals):
    """A Poisson process: exponential gaps of mean 1/rate seconds (Cox & Lewis 1966)."""

    rate: float

    def __post_init__(self):
        check_positive(rate=self.rate)

    def draw_gaps(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n exponential gaps, in seconds."""
        return rng.exponential(1 / self.rate, n)


@dataclass(frozen=True)
class Gamma(Arrivals):
    """Gamma gaps of mean 1/rate and coefficient of variation cv: shape 1/cv^2, scale cv^2/rate (AlpaServe, OSDI '23).

    cv = 1 is Poisson; below 1e-6 the spacing is constant, with the first arrival one gap after the start. `burstiness`
    (vLLM) and `smoothness` (AIPerf) are other spellings, of the shape: cv = 1/sqrt(shape).
    """

    rate: float
    cv: float

    also = dict.fromkeys(("burstiness", "smoothness"), ("cv", lambda shape: shape**-0.5 if shape > 0 else -1))

    def __post_init__(self):
        check_positive(rate=self.rate)
        if not 0 <= self.cv <= 1000:
            raise ValueError("cv must lie between 0 and 1000 (a shape between 1e-6 and infinity)")

    def draw_gaps(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n gamma gaps, in seconds; equal ones for a cv below 1e-6."""
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
        check_positive(rate=self.rate, alpha=self.alpha)
        if self.alpha <= 1:
            raise ValueError(f"alpha must be above 1, or the mean gap is infinite, not {self.alpha:g}")

    def draw_gaps(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n Pareto gaps, in seconds."""
        return (1 + rng.pareto(self.alpha, n)) * (self.alpha - 1) / (self.alpha * self.rate)
