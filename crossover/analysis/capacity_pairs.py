"""How many times the load does one arm carry that the other does? An interval, from probes that alternate.

A search by bisection ends at one rate and says nothing about how sure it is: repeated, it found equal arms 1.1 times
apart or more in 10 to 58 % of cases. Here both arms go up and down about their capacity in turns: each probe offers
one rate, the next is STEP higher if the percentile kept the limit and STEP lower if not (Dixon & Mood 1948, JASA
43:109). No probe is final, lucky ones are tried again, and the machine's hour is the same for both arms.

What the probes say is more than pass or fail: the logarithm of (percentile / limit) rises with the logarithm of the
rate, near the limit about along a line. The line has one slope for both arms and an intercept for each, and an arm's
capacity is where its line is 0 (inverse regression: Krutchkoff 1967, Technometrics 9:425). The interval is the
jackknife's over turns, in which each arm is probed once.

It is the capacity of probes as long as these, which begin with an empty queue: `python -m tests.simulations.capacity`
shows its coverage and how it compares to other definitions.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from crossover.analysis.estimate import Estimate

STEP, FIRST_STEP, FIRST = 0.1, 0.25, 4
"""From probe to probe, after the first FIRST ones, which look for the neighbourhood."""
WINDOW = 1.0
"""Logarithm of (percentile / limit) within which a line will do: from 0.37 to 2.7 times the limit."""
LEAST_TURNS, LEAST_PROBES = 11, 3
"""Turns behind the first one; plan TURNS."""
TURNS = 20
"""With 12, equal arms were told apart in up to 8 % of simulated comparisons, with 20 in 3 to 5 %."""
STEEPEST, FLATTEST = 100.0, 1.0
"""Limits of the slope: near its limit a queue's percentile rises at least in proportion to the rate."""
WIDENING, ARM_WIDENING = 1.2, 1.35
"""Of the ratio's interval, and of either arm's: a wandering speed moves both arms' rates together, and their lines."""


@dataclass(frozen=True)
class CapacityTurn:
    """One probe of each arm, one right after the other, in drawn order, with arrivals of the same seed."""

    baseline_rate: float
    """Requests per second that were offered."""
    candidate_rate: float
    baseline_ms: float
    """The probe's latency percentile that the limit is for; infinite if so many requests had no good answer."""
    candidate_ms: float


@dataclass(frozen=True)
class CapacityPairs:
    """The capacities of both arms and how they compare. All are logarithms; `ratio` is of candidate / baseline."""

    baseline: Estimate
    candidate: Estimate
    ratio: Estimate
    turns: int

    def as_dict(self) -> dict:
        """Return the fields as JSON holds them, each estimate as a dict."""
        estimates = {name: getattr(self, name).as_dict() for name in ("baseline", "candidate", "ratio")}
        return {**asdict(self), **estimates}


def choose_rate(rate: float, percentile_ms: float, limit_ms: float, turn: int) -> float:
    """Return the rate of an arm's next probe, after one at `rate` in the turn of that number, which counts from 0."""
    step = 1 + (FIRST_STEP if turn < FIRST else STEP)
    return rate * step if percentile_ms <= limit_ms else rate / step


def compare_capacities(turns: Sequence[CapacityTurn], limit_ms: float) -> CapacityPairs:
    """Compare the rates at which the percentile of either arm reaches the limit.

    The first turn is not used, as its rates were not chosen by these probes. With fewer than LEAST_TURNS others, or
    fewer than LEAST_PROBES of an arm near the limit, the estimates have an infinite error.
    Raises ValueError without two turns, for a rate or latency that is not above 0, or such a limit.
    """
    if len(turns) < 2:
        raise ValueError("capacities are compared from two turns on")
    rates = np.array([(each.baseline_rate, each.candidate_rate) for each in turns[1:]], float)
    values = np.array([(each.baseline_ms, each.candidate_ms) for each in turns[1:]], float)
    if not (limit_ms > 0 and (rates > 0).all() and (values > 0).all()):
        raise ValueError("rates, latencies and the limit must be above 0")
    x, y, n = np.log(rates), np.log(values / limit_ms), len(rates)
    found = find_capacities(x, y)
    if found is None:
        middle = np.log(rates).mean(0)
        first, second, ratio = (Estimate(float(each), np.inf, 1) for each in (*middle, middle[1] - middle[0]))
        return CapacityPairs(first, second, ratio, n)
    rest = ~np.eye(n, dtype=bool)
    without = [find_capacities(x[row], y[row]) for row in rest]
    each = np.array([found, *(found if one is None else one for one in without)])
    each = np.column_stack([each, each[:, 1] - each[:, 0]])
    # The jackknife's variance is (n - 1) times that of the estimates without one turn.
    errors = np.array([ARM_WIDENING, ARM_WIDENING, WIDENING]) * np.sqrt((n - 1) * each[1:].var(0))
    if n < LEAST_TURNS or None in without:
        errors[:] = np.inf
    first, second, ratio = (Estimate(float(v), float(e), n - 2) for v, e in zip(each[0], errors, strict=True))
    return CapacityPairs(first, second, ratio, n)


def find_capacities(x: np.ndarray, y: np.ndarray) -> tuple[float, float] | None:
    """Return where each arm's line is 0, from log rates and log (percentile / limit), both of shape (turns, 2 arms).

    None if an arm has too few probes within WINDOW of the limit.
    """
    near = np.abs(y) <= WINDOW  # also leaves out what is infinite
    counts = near.sum(0)
    if counts.min() < LEAST_PROBES:
        return None
    y = np.where(near, y, 0.0)
    middle, level = (np.where(near, each, 0).sum(0) / counts for each in (x, y))
    apart, above = np.where(near, x - middle, 0), np.where(near, y - level, 0)
    slope = float((apart * above).sum() / max((apart**2).sum(), np.finfo(float).tiny))
    first, second = middle - level / np.clip(slope, FLATTEST, STEEPEST)
    return float(first), float(second)


def find_larger(pairs: CapacityPairs, confidence: float = 0.95) -> str:
    """Return 'candidate', 'baseline' or '': the arm that carries more, if the whole interval says so."""
    low, high = pairs.ratio.interval(confidence)
    return "candidate" if low > 0 else "baseline" if high < 0 else ""
