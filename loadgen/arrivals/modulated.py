"""Poisson processes whose rate jumps between states: bursts."""

from dataclasses import dataclass

import numpy as np

from loadgen.arrivals import inversion
from loadgen.arrivals.checks import check_some, positive
from loadgen.arrivals.schedule import Arrivals, accumulate


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
        check_some(rates=self.rates)
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
        check_some(on_rate=self.on_rate, off_rate=self.off_rate)

    def times(self, rng, seconds):
        return MMPP((self.on_rate, self.off_rate), (self.on, self.off)).times(rng, seconds)
