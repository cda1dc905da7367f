"""Poisson processes whose rate is a function of time, by exact inversion."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from arrivals import inversion
from arrivals.checks import check_between, check_count, check_not_negative, check_positive, check_rates
from arrivals.schedule import Arrivals, accumulate


class Varying(Arrivals, ABC):
    """A Poisson process whose rate is a given function of time; subclasses override `invert`."""

    steady = False

    def draw_times(self, rng: np.random.Generator, seconds: float) -> np.ndarray:
        """Draw unit-exponential gaps and map their totals through `invert`."""
        return accumulate(rng.standard_exponential, seconds, self.invert)

    @abstractmethod
    def invert(self, totals: np.ndarray) -> np.ndarray:
        """Return the times in seconds at which the cumulative rate reaches `totals`; same shape."""


@dataclass(frozen=True)
class Ramp(Varying):
    """Poisson; the rate changes linearly from `from` to `to` over the first `over` seconds, then stays."""

    from_: float
    to: float
    over: float

    def __post_init__(self):
        check_positive(over=self.over)
        check_rates(**{"from": self.from_, "to": self.to})

    def invert(self, totals: np.ndarray) -> np.ndarray:
        """Invert the ramp's cumulative rate."""
        return inversion.PiecewiseLinear([0, self.over], [self.from_, self.to], [self.to, self.to]).invert(totals)


@dataclass(frozen=True)
class Step(Varying):
    """Poisson; each of the rates for `every` seconds, one after the other, and the last one without end."""

    rates: tuple[float, ...]
    every: float

    def __post_init__(self):
        check_positive(every=self.every)
        check_rates(rates=self.rates)

    def invert(self, totals: np.ndarray) -> np.ndarray:
        """Invert the steps' cumulative rate."""
        return inversion.PiecewiseLinear(np.arange(len(self.rates)) * self.every, self.rates, self.rates).invert(totals)


@dataclass(frozen=True)
class Spike(Varying):
    """Poisson at `rate`, but at `peak` from `at` seconds on for `lasts` seconds."""

    rate: float
    peak: float
    at: float
    lasts: float

    def __post_init__(self):
        check_positive(lasts=self.lasts)
        check_not_negative(at=self.at)
        check_rates(rate=self.rate, peak=self.peak)

    def invert(self, totals: np.ndarray) -> np.ndarray:
        """Invert the spike's cumulative rate."""
        levels = [self.rate, self.peak, self.rate]
        return inversion.PiecewiseLinear([0, self.at, self.at + self.lasts], levels, levels).invert(totals)


@dataclass(frozen=True)
class Sine(Varying):
    """Poisson; the rate at t is rate * (1 + amplitude * sin(2 pi t / period)), amplitude from 0 to 1."""

    rate: float
    amplitude: float
    period: float

    def __post_init__(self):
        check_positive(rate=self.rate, period=self.period)
        check_between(0, 1, amplitude=self.amplitude)

    def draw_times(self, rng: np.random.Generator, seconds: float) -> np.ndarray:
        """Draw due times, after a check of their number: bisection costs more than drawing."""
        check_count(self.rate * seconds)
        return super().draw_times(rng, seconds)

    def invert(self, totals: np.ndarray) -> np.ndarray:
        """Invert the sine's cumulative rate."""
        return inversion.invert_sine(totals, self.rate, self.amplitude, self.period)
