"""How many times the load does one arm carry that the other does? An interval, from probes that alternate.

A search by bisection ends at one rate and says nothing about how sure it is: repeated, it found equal arms 1.1 times
apart or more in 10 to 58 % of cases. Here all arms go up and down about their capacity in turns: each probe offers
one rate, the next is STEP higher if the percentile kept the limit and STEP lower if not (Dixon & Mood 1948, JASA
43:109). No probe is final, lucky ones are tried again, and the machine's hour is the same for all arms.

What the probes say is more than pass or fail: the logarithm of (percentile / limit) rises with the logarithm of the
rate, near the limit about along a line. The line has one slope for all arms and an intercept for each, and an arm's
capacity is where its line is 0 (inverse regression: Krutchkoff 1967, Technometrics 9:425). The interval is the
jackknife's over turns, in which each arm is probed once.

It is the capacity of probes as long as these, which begin with an empty queue: `python -m tests.simulations.capacity`
shows its coverage and how it compares to other definitions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossover.analysis.estimate import Estimate

STEP, FIRST_STEP, FIRST = 0.1, 0.25, 4
"""From probe to probe, after the first FIRST ones, which look for the neighbourhood."""
WINDOW = 1.0
"""Logarithm of (percentile / limit) within which a line will do: from 0.37 to 2.7 times the limit."""
LEAST_TURNS, LEAST_PROBES = 15, 3
"""Turns behind the first one, and an arm's probes near the limit, without which there is no interval; plan TURNS."""
TURNS = 20
"""With 12, equal arms were told apart in up to 8 % of simulated comparisons, with 16 and 20 in 3 to 5 %."""
STEEPEST, FLATTEST = 100.0, 1.0
"""Limits of the slope: near its limit a queue's percentile rises at least in proportion to the rate."""
WIDENING, ARM_WIDENING = 1.35, 1.4
"""Of a ratio's interval, and of an arm's: a wandering speed moves the rates of all arms together, and their lines."""
CONFIDENCE = 0.95
"""Of each arm's interval, and of all ratios together."""


@dataclass(frozen=True)
class CapacityTurn:
    """One probe of each arm, one right after the other, in drawn order, with arrivals of the same seed."""

    rates: tuple[float, ...]
    """Requests per second that were offered to each arm, the baseline first."""
    percentiles_ms: tuple[float, ...]
    """Each probe's latency percentile that the limit is for; infinite if so many requests had no good answer."""


@dataclass(frozen=True)
class CapacityComparison:
    """The capacities of arms and how they compare. All estimates are logarithms."""

    capacities: tuple[Estimate | None, ...]
    """Of each arm, the baseline first; None where its probes do not tell, as all of them were on one side of the limit,
    or hardly one near it."""
    ratios: tuple[Estimate | None, ...]
    """Of each arm behind the first, to the first; None unless both have a capacity."""
    turns: int
    """How many were used: not the first one, as its rates were not chosen by these probes."""

    @property
    def confidence(self) -> float:
        """The confidence of each ratio's interval, so that all of them together have CONFIDENCE (Bonferroni)."""
        return 1 - (1 - CONFIDENCE) / max(1, len(self.ratios))

    def find_larger(self, arm: int = 1) -> int | None:
        """Return which carries more, this arm or the first (0), if the whole interval says so; else None."""
        if (ratio := self.ratios[arm - 1]) is None:
            return None
        low, high = ratio.interval(self.confidence)
        return arm if low > 0 else 0 if high < 0 else None


def choose_rate(rate: float, percentile_ms: float, limit_ms: float, turn: int) -> float:
    """Return the rate of an arm's next probe, after one at `rate` in the turn of that number, which counts from 0."""
    step = 1 + (FIRST_STEP if turn < FIRST else STEP)
    return rate * step if percentile_ms <= limit_ms else rate / step


def compare_capacities(turns: Sequence[CapacityTurn], limit_ms: float) -> CapacityComparison:
    """Compare the rates at which the percentile of each arm reaches the limit.

    With fewer than LEAST_TURNS behind the first, or an arm that would have no capacity without one of the turns, the
    estimates have an infinite error. Raises ValueError without two turns, for a rate or latency that is not above 0, or
    such a limit.
    """
    if len(turns) < 2:
        raise ValueError("capacities are compared from two turns on")
    rates = np.array([each.rates for each in turns[1:]], float)
    values = np.array([each.percentiles_ms for each in turns[1:]], float)
    if not (limit_ms > 0 and (rates > 0).all() and (values > 0).all()):
        raise ValueError("rates, latencies and the limit must be above 0")
    x, y, n = np.log(rates), np.log(values / limit_ms), len(rates)
    rest = ~np.eye(n, dtype=bool)
    found, without = find_capacities(x, y), np.array([find_capacities(x[row], y[row]) for row in rest])

    def estimate(value: np.ndarray, others: np.ndarray, widening: float) -> Estimate | None:
        """Return a value with its jackknife error, from the values without each turn; None for nan."""
        if np.isnan(value):
            return None
        enough = n >= LEAST_TURNS and not np.isnan(others).any()
        # The jackknife's variance is (n - 1) times that of the estimates without one turn.
        return Estimate(float(value), float(widening * np.sqrt((n - 1) * others.var())) if enough else np.inf, n - 2)

    arms = range(len(found))
    return CapacityComparison(
        tuple(estimate(found[i], without[:, i], ARM_WIDENING) for i in arms),
        tuple(estimate(found[i] - found[0], without[:, i] - without[:, 0], WIDENING) for i in arms[1:]),
        n,
    )


def find_capacities(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return where each arm's line is 0, from log rates and log (percentile / limit), both of shape (turns, arms).

    nan for an arm with fewer than LEAST_PROBES within WINDOW of the limit, or without any on one of its sides.
    """
    near = np.abs(y) <= WINDOW  # also leaves out what is infinite
    enough = (near.sum(0) >= LEAST_PROBES) & (y <= 0).any(0) & (y > 0).any(0)
    near &= enough
    counts, y = np.maximum(near.sum(0), 1), np.where(near, y, 0.0)
    middle, level = (np.where(near, each, 0).sum(0) / counts for each in (x, y))
    apart, above = np.where(near, x - middle, 0), np.where(near, y - level, 0)
    slope = float((apart * above).sum() / max((apart**2).sum(), np.finfo(float).tiny))
    return np.where(enough, middle - level / np.clip(slope, FLATTEST, STEEPEST), np.nan)
