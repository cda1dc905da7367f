"""How sure is a ratio of two arms? Intervals by bootstrap over rounds.

Requests of a block wait in the same queue, so they are alike, and resampling them would make any interval far too
narrow. Blocks start with an empty queue, and every round has a schedule of its own: rounds are what is independent,
and both arms of a round are drawn together, since they shared its schedule and its hour (Davison & Hinkley 1997,
Bootstrap Methods and their Application, section 3.8 on hierarchical data; Kalibera & Jones, ISMM'13, for
intervals on ratios).

A statistic is a function of weights, an array (resamples, rounds) that says how often a resample holds each round;
it gives a value per resample.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import t as student

RESAMPLES = 2000
BOUND = 1.5

Statistic = Callable[[np.ndarray], np.ndarray]


def least(confidence: float = 0.95) -> int:
    """The fewest rounds of which an interval is made: 6 for 95 %.

    With n pairs the most that can happen is that all of them go one way. Without a difference that has, both ways
    counted, the probability 2 / 2^n (the sign test's): where it is above 1 - confidence, only an assumption about
    the distribution could decide, and so few rounds cannot bear one out.
    """
    return int(np.ceil(1 - np.log2(1 - confidence) - 1e-9))


def resamples(rounds: int, seed: int) -> np.ndarray:
    """Weights of RESAMPLES draws of that many rounds with replacement."""
    return np.random.default_rng([seed, rounds]).multinomial(rounds, np.full(rounds, 1 / rounds), RESAMPLES)


def interval(first: Statistic, second: Statistic, rounds: int, confidence: float, seed: int) -> tuple[float, float]:
    """Of second / first; nan where there is no such ratio, as when all answers are one round's.

    A symmetric bootstrap-t (Hall 1988, JRSS B 50:35) of the logarithm of the ratio, over the jackknife's pseudo-values,
    which say what each round contributes (Tukey 1958): the estimate -+ q times the jackknife's standard error, where
    q is what |t| stays below in `confidence` of the resamples. Queues make skewed ratios, and that is what widens q
    above Student's quantile. It is kept between that quantile and BOUND times it: further out, as a single odd round
    among equal ones would have it, it makes intervals wider and cover no more.

    Percentile, BCa and plain t intervals of 6 to 12 rounds hold the truth too seldom: `python -m tests.test_bootstrap`
    measures them all on simulated queues.
    """
    weights = np.vstack([np.ones((1, rounds), int), 1 - np.eye(rounds, dtype=int)])
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate, *without = np.log(second(weights) / first(weights))
    values = rounds * estimate - (rounds - 1) * np.array(without)
    if not np.isfinite(values).all():
        return np.nan, np.nan
    half = quantile(values, confidence, seed) * values.std(ddof=1) / np.sqrt(rounds)
    return float(np.exp(estimate - half)), float(np.exp(estimate + half))


def quantile(values: np.ndarray, confidence: float, seed: int) -> float:
    """Of |t| in resamples of the values; those in which all are equal have none."""
    n, drawn = len(values), resamples(len(values), seed)
    values = values - values.mean()
    means = drawn @ values / n
    errors = np.sqrt(np.maximum(drawn @ values**2 / n - means**2, 0) / (n - 1))
    lowest = student.ppf((1 + confidence) / 2, n - 1)
    spread = errors > 1e-9 * np.abs(values).max()
    if not spread.any():
        return lowest
    return float(np.clip(np.quantile(np.abs(means[spread]) / errors[spread], confidence), lowest, BOUND * lowest))


def width(rounds: int, confidence: float) -> float:
    """How the half width of an interval shrinks with the number of rounds, about: as Student's does."""
    return float(student.ppf((1 + confidence) / 2, rounds - 1) / np.sqrt(rounds))


def more(rounds: int, half: float, wanted: float, confidence: float, limit: int = 10_000) -> int:
    """About how many more rounds bring a half width down to the one wanted."""
    scale = half / width(rounds, confidence)
    low, high = rounds, limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if scale * width(middle, confidence) <= wanted else (middle + 1, high)
    return max(1, low - rounds)


def quotient(numerators: Sequence[float], denominators: Sequence[float]) -> Statistic:
    """Of sums over rounds, as CPU seconds over requests."""
    above, below = np.asarray(numerators, float), np.asarray(denominators, float)

    def value(weights: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (weights @ above) / (weights @ below)

    return value


class Pool:
    """Percentiles of what rounds hold together, equal to numpy's of the samples repeated as the weights say.

    Sorted once, with the number of each round's samples below every place; the rank of a resample is then found by
    bisection in all resamples at a time.
    """

    def __init__(self, rounds: Sequence[np.ndarray]):
        values, sizes = np.concatenate(rounds), [len(each) for each in rounds]
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        self.below = np.zeros((len(values) + 1, len(rounds)), np.int32)
        self.below[np.arange(1, len(values) + 1), np.repeat(np.arange(len(rounds)), sizes)[order]] = 1
        np.cumsum(self.below, axis=0, out=self.below)

    def percentile(self, percentile: float) -> Statistic:
        def value(weights: np.ndarray) -> np.ndarray:
            last = weights @ self.below[-1] - 1
            rank = np.maximum(last, 0) * (percentile / 100)
            whole = np.floor(rank).astype(int)
            low, high = self.ranked(weights, whole), self.ranked(weights, np.minimum(whole + 1, np.maximum(last, 0)))
            return np.where(last < 0, np.nan, low + (rank - whole) * (high - low))

        return value

    def ranked(self, weights: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """The value with that many before it."""
        low, high = np.zeros(len(weights), int), np.full(len(weights), len(self.values) - 1)
        for _ in range(len(self.values).bit_length()):
            middle = (low + high) // 2
            enough = np.einsum("ij,ij->i", self.below[middle + 1], weights) > rank
            low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
        return self.values[high]
