"""Bursts: Poisson processes whose rate jumps between states."""

from dataclasses import dataclass

import numpy as np

from arrivals import inversion
from arrivals.checks import check_positive, check_rates
from arrivals.schedule import Arrivals, accumulate


@dataclass(frozen=True)
class MMPP(Arrivals):
    """Markov-modulated Poisson process: state i has rates[i] and lasts exponentially, durations[i] on average.

    The states follow each other in the order given, again and again; the first is drawn by its share of the time, so
    that the process is stationary (Fischer & Meier-Hellstern 1993). Rates are in arrivals per second, durations in
    seconds; the mean rate is sum(rates * durations) / sum(durations).
    """

    rates: tuple[float, ...]
    durations: tuple[float, ...]

    def __post_init__(self):
        check_rates(rates=self.rates)
        for duration in self.durations:
            check_positive(durations=duration)
        if len(self.rates) != len(self.durations) or len(self.rates) < 2:
            raise ValueError("rates and durations must be equally many, two or more")

    def draw_times(self, rng: np.random.Generator, seconds: float) -> np.ndarray:
        """Draw the states first, then arrivals by inversion of the rate that results."""
        states, arrivals = rng.spawn(2)
        durations = np.array(self.durations)
        # A stream each, so that the states do not depend on the number of arrivals.
        first = states.choice(len(durations), p=durations / durations.sum())
        durations, levels = np.roll(durations, -first), np.roll(np.array(self.rates), -first)

        def draw_stays(n: int) -> np.ndarray:
            return states.exponential(durations, (n // len(durations) + 1, len(durations))).ravel()

        ends = accumulate(draw_stays, seconds)
        levels = np.resize(levels, len(ends) + 1)
        rate = inversion.PiecewiseLinear([0, *ends], levels, levels)
        return accumulate(arrivals.standard_exponential, seconds, rate.invert)


@dataclass(frozen=True)
class OnOff(Arrivals):
    """Bursts: the MMPP of two states, on_rate for `on` seconds on average, then off_rate for `off` seconds."""

    on_rate: float
    on: float
    off: float
    off_rate: float = 0.0

    def __post_init__(self):
        check_positive(on=self.on, off=self.off)
        check_rates(on_rate=self.on_rate, off_rate=self.off_rate)

    def draw_times(self, rng: np.random.Generator, seconds: float) -> np.ndarray:
        """Draw the due times of the MMPP."""
        return MMPP((self.on_rate, self.off_rate), (self.on, self.off)).draw_times(rng, seconds)
