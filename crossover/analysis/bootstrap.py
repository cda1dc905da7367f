"""Confidence intervals for a ratio of two arms: a symmetric bootstrap-t over rounds, on jackknife pseudo-values.

Requests of one trial wait in the same queue and are therefore correlated; resampling single requests would give
intervals that are far too narrow. A trial starts with an empty queue and every round has a schedule of its own, so
rounds are independent. Both arms of a round are drawn together, because they shared its schedule and the state of the
machine (Davison & Hinkley 1997, Bootstrap Methods and their Application, section 3.8 on hierarchical data;
Kalibera & Jones, ISMM'13, for intervals of ratios).

A statistic is a function of weights, an array of shape (resamples, rounds) that says how often each resample holds
each round; it returns one value per resample.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import stdtrit

RESAMPLES = 2000
MAX_WIDENING = 1.5
"""The bootstrap's quantile of |t| is at most this multiple of Student's."""

Statistic = Callable[[np.ndarray], np.ndarray]


def minimum_rounds(confidence: float = 0.95) -> int:
    """Return the fewest rounds from which an interval is computed: 6 for 95 %.

    With n pairs the strongest possible evidence is that all of them go one way. Without any difference this happens
    with probability 2 / 2^n (the two-sided sign test). Where that is above 1 - confidence, only an assumption about
    the distribution could decide, and so few rounds cannot support one.
    """
    return int(np.ceil(1 - np.log2(1 - confidence) - 1e-9))


def draw_weights(rounds: int, seed: int) -> np.ndarray:
    """Draw that many rounds with replacement, RESAMPLES times; int64 of shape (RESAMPLES, rounds)."""
    return np.random.default_rng([seed, rounds]).multinomial(rounds, np.full(rounds, 1 / rounds), RESAMPLES)


def ratio_interval(
    first: Statistic, second: Statistic, rounds: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Compute the interval of second / first; (nan, nan) where a leave-one-out ratio is not finite or is zero.

    A symmetric bootstrap-t (Hall 1988, JRSS B 50:35) of the logarithm of the ratio, over the jackknife's pseudo-values,
    which say what each round contributes (Tukey 1958): the estimate -+ q times the jackknife's standard error, where
    |t| stays below q in `confidence` of the resamples. Queues make skewed ratios, which widens q beyond Student's
    quantile. q is clipped to that quantile and MAX_WIDENING times it: further out, as with a single odd round
    among equal ones, intervals become wider without covering more.

    Percentile, BCa and plain t intervals of 6 to 12 rounds contain the truth too seldom: `python -m
    tests.analysis.test_bootstrap` measures them all on simulated queues.
    """
    # The first row holds every round once, each further row leaves one round out: the jackknife.
    weights = np.vstack([np.ones((1, rounds), int), 1 - np.eye(rounds, dtype=int)])
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate, *leave_one_out = np.log(second(weights) / first(weights))
    values = rounds * estimate - (rounds - 1) * np.array(leave_one_out)
    if not np.isfinite(values).all():
        return np.nan, np.nan
    half = t_quantile(values, confidence, seed) * values.std(ddof=1) / np.sqrt(rounds)
    return float(np.exp(estimate - half)), float(np.exp(estimate + half))


def t_quantile(values: np.ndarray, confidence: float, seed: int) -> float:
    """Compute the `confidence` quantile of |t| over resamples of the values.

    Resamples in which all values are equal have no t and are skipped; if there is no other, Student's quantile holds.
    """
    n, drawn = len(values), draw_weights(len(values), seed)
    values = values - values.mean()
    means = drawn @ values / n
    errors = np.sqrt(np.maximum(drawn @ values**2 / n - means**2, 0) / (n - 1))
    lowest = float(stdtrit(n - 1, (1 + confidence) / 2))
    # Rounding leaves errors of about 1e-16 times the values where all of a resample are equal.
    spread = errors > 1e-9 * np.abs(values).max()
    if not spread.any():
        return lowest
    bootstrapped = np.quantile(np.abs(means[spread]) / errors[spread], confidence)
    return float(np.clip(bootstrapped, lowest, MAX_WIDENING * lowest))


def relative_half_width(rounds: int, confidence: float) -> float:
    """Return Student's half width in standard deviations: how an interval shrinks, roughly, with more rounds."""
    return float(stdtrit(rounds - 1, (1 + confidence) / 2) / np.sqrt(rounds))


def quotient(numerators: Sequence[float], denominators: Sequence[float]) -> Statistic:
    """Make the statistic sum / sum over rounds, such as CPU seconds per request, from one value each per round."""
    above, below = np.asarray(numerators, float), np.asarray(denominators, float)

    def value(weights: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (weights @ above) / (weights @ below)

    return value


class PooledSamples:
    """Percentiles of the samples of several rounds together.

    They equal numpy's percentiles of the samples repeated as the weights say. The samples are sorted once, with the
    number of each round's samples below every position; the rank in a resample is then found by bisection, in all
    resamples at a time.
    """

    def __init__(self, rounds: Sequence[np.ndarray]):
        """Sort the samples; `rounds` holds one array of any length per round."""
        values, sizes = np.concatenate(rounds), [len(each) for each in rounds]
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        self.below = np.zeros((len(values) + 1, len(rounds)), np.int32)
        self.below[np.arange(1, len(values) + 1), np.repeat(np.arange(len(rounds)), sizes)[order]] = 1
        np.cumsum(self.below, axis=0, out=self.below)

    def percentile(self, percentile: float) -> Statistic:
        """Make the statistic of this percentile (0 to 100); nan for a resample without samples."""

        def value(weights: np.ndarray) -> np.ndarray:
            """Return the percentile of each resample; `weights`: how often it has each round, (resamples, rounds)."""
            last = weights @ self.below[-1] - 1
            rank = np.maximum(last, 0) * (percentile / 100)
            whole = np.floor(rank).astype(int)
            low = self.at_rank(weights, whole)
            high = self.at_rank(weights, np.minimum(whole + 1, np.maximum(last, 0)))
            return np.where(last < 0, np.nan, low + (rank - whole) * (high - low))

        return value

    def at_rank(self, weights: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """Return, per resample, the value that has `rank` values before it."""
        low, high = np.zeros(len(weights), int), np.full(len(weights), len(self.values) - 1)
        # Invariant in every resample: the wanted value lies between the positions low and high.
        for _ in range(len(self.values).bit_length()):
            middle = (low + high) // 2
            enough = np.einsum("ij,ij->i", self.below[middle + 1], weights) > rank
            low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
        return self.values[high]
