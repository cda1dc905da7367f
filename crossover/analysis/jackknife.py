"""The jackknife over rounds that follow each other quickly, and the least-squares line of a covariate.

A machine's speed wanders slowly, so that neighbouring rounds say less than as many rounds far apart: the standard error
is widened by as much as the neighbours' pseudo-values are alike. docs/statistics.md has its coverage.
"""

from collections.abc import Callable

import numpy as np

from crossover.analysis.estimate import Estimate
from crossover.analysis.unloaded_pairs import CORRELATION

LEAST_ROUNDS = 6
"""For any interval; the comparison's design asks for 20 or more."""
WIDENING = 1.05


def jackknife(
    statistic: Callable,
    values: np.ndarray,
    instants: np.ndarray,
    covariate: np.ndarray | None = None,
    correlation: float = CORRELATION,
) -> Estimate:
    """Estimate a statistic of rounds that follow each other quickly, with the jackknife's standard error (Tukey 1958).

    `statistic` takes the values (rounds,) and, if there is one, the covariate. Pseudo-values of neighbouring rounds
    are related as far as the cores' speeds wander slowly and apart: the share of their variance that does so is
    estimated from neighbours, and charged for all pairs of rounds with exp(-distance / correlation), by `instants` in
    seconds. Student's t has a degree for every round but one, and another one less with a covariate.
    """
    n, data = len(values), (values,) if covariate is None else (values, covariate)
    estimate = float(statistic(*data))
    if n < LEAST_ROUNDS:
        return Estimate(estimate, np.inf, max(1, n - 1))
    rest = ~np.eye(n, dtype=bool)  # each row without one round
    without = np.array([statistic(*(each[row] for each in data)) for row in rest])
    off = (n - 1) * (without.mean() - without)
    variance = (off**2).sum() / (n - 1)
    # Rounds of a continued run lie far from the others, and are unrelated to them.
    alike = np.exp(-np.abs(np.subtract.outer(instants, instants)) / correlation)
    neighbours = np.diagonal(alike, 1)
    # Around their own mean, neighbours seem less alike than they are, by variance / n.
    together = (off[1:] * off[:-1]).sum() / (n - 1) + variance / n
    expected = variance * neighbours.sum() / (n - 1)
    slow = float(np.clip(together / expected, 0, 1)) if expected > 0 else 0.0
    inflation = 1 + slow * (alike.sum() - n) / n
    return Estimate(estimate, float(WIDENING * np.sqrt(variance * inflation / n)), n - len(data))


def predict(values: np.ndarray, covariate: np.ndarray, at: float) -> float:
    """Return where the least-squares line through (covariate, value) of each round passes the covariate `at`."""
    return float(values.mean() + find_slope(values, covariate) * (at - covariate.mean()))


def find_slope(values: np.ndarray, covariate: np.ndarray) -> float:
    """Return the slope of the least-squares line through (covariate, value) of each round; 0 where nothing varies."""
    apart = covariate - covariate.mean()
    return float(apart @ values / max(apart @ apart, np.finfo(float).tiny))


def correlate(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return Pearson's correlation; None where one of them does not vary."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])
