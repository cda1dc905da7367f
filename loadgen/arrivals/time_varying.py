"""Poisson processes whose rate is a function of time, by exact inversion."""

from dataclasses import dataclass

import numpy as np

from loadgen.arrivals import inversion
from loadgen.arrivals.checks import between, bounded, check_some, not_negative, positive
from loadgen.arrivals.schedule import Arrivals, accumulate


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
        check_some(**{"from": self.from_, "to": self.to})

    def when(self, totals):
        return inversion.PiecewiseLinear([0, self.over], [self.from_, self.to], [self.to, self.to]).when(totals)


@dataclass(frozen=True)
class Step(Varying):
    """Poisson; each of the rates in turn for `every` seconds, and the last one from then on."""

    rates: tuple[float, ...]
    every: float

    def __post_init__(self):
        positive(every=self.every)
        check_some(rates=self.rates)

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
        check_some(rate=self.rate, peak=self.peak)

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
