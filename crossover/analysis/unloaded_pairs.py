"""The unloaded comparison: one request at a time, the placements in turns on the same payload, in an order drawn anew.

Nothing queues, so nothing amplifies the machine's noise, and both requests of a pair meet nearly the same speed: on one
machine this design was 16 to 200 times as quick as blocks under load. It answers another question, namely what a lone
user feels; crossover.analysis.loaded_pairs answers the one at the load offered.

What remains are two kinds of noise. Some is drawn anew in every pair. Some is slow: the cores' speeds wander apart, for
about CORRELATION seconds, and pull all pairs of that time the same way. Time batches show both (batch means: Law 2015,
Simulation Modeling and Analysis, section 9.5.3), but batches that are long against the correlation are so few in 40 s
that Student's t makes the interval useless, and short ones take neighbours for independent: 12 batches of 20 s hold the
truth in 68 of 100 comparisons. Here the batches are short, and what their means vary *beyond* the scatter of the pairs
within them is taken for slow noise, whose correlation is known: an Ornstein-Uhlenbeck process.
docs/statistics.md has the coverage, `python -m tests.simulations.coverage unloaded` measures it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from crossover.analysis.estimate import Estimate

CORRELATION = 6.0
"""Seconds within which the speed of a core forgets what it was (to 1/e): measured on shared machines, autocorrelation
of log speed 0.34 to 0.4 after 5 s."""
BATCH = 4.0
"""Seconds of a time batch: below the correlation, so that enough of them fit into half a minute."""
LEAST_BATCHES, LEAST_PAIRS = 5, 10
WIDENING = 1.1
"""For the slow noise's variance being estimated from few independent stretches, beyond what Student's t charges."""


@dataclass(frozen=True)
class UnloadedPairs:
    """What pairs of unloaded requests say."""

    ratio: Estimate
    """The logarithm of candidate / baseline."""
    milliseconds: Estimate
    """candidate - baseline, mean over pairs."""
    baseline_ms: float
    candidate_ms: float
    """Means over pairs."""
    pairs: int
    batches: int
    seconds: float
    """From the first pair's instant to the last one's."""
    unanswered: int
    """Pairs left out, as one of their requests had no good answer."""

    def as_dict(self) -> dict:
        return {**asdict(self), "ratio": self.ratio.as_dict(), "milliseconds": self.milliseconds.as_dict()}


def compare_unloaded(
    baseline_ms: Sequence[float],
    candidate_ms: Sequence[float],
    instants: Sequence[float],
    correlation: float = CORRELATION,
) -> UnloadedPairs:
    """Compare the service times of pairs of requests.

    All three have one entry per pair, in any order: ms from taking the request up to the answer (nan where it had no
    good one), and seconds at which the pair began, on any clock. `correlation` is that of the machine's speed, in
    seconds. With fewer than LEAST_PAIRS answered pairs the estimates have an infinite error.
    Raises ValueError where the lengths differ, an answered time is not positive, or no pair was answered.
    """
    first, second, when = (np.asarray(each, float) for each in (baseline_ms, candidate_ms, instants))
    if not (first.ndim == 1 and first.shape == second.shape == when.shape):
        shapes = first.shape, second.shape, when.shape
        raise ValueError(f"pairs need as many baseline and candidate times and instants, not {shapes}")
    answered = np.isfinite(first) & np.isfinite(second)
    order = np.argsort(when[answered], kind="stable")
    first, second, when = (each[answered][order] for each in (first, second, when))
    if not len(first):
        raise ValueError("no pair was answered by both placements")
    if min(first.min(), second.min()) <= 0:
        raise ValueError("a service time is not positive")
    seconds = float(when[-1] - when[0])
    ratio, batches = mean_over_time(np.log(second / first), seconds, correlation)
    milliseconds, _ = mean_over_time(second - first, seconds, correlation)
    means, left_out = (float(first.mean()), float(second.mean())), int((~answered).sum())
    return UnloadedPairs(ratio, milliseconds, *means, len(first), batches, seconds, left_out)


def mean_over_time(values: np.ndarray, seconds: float, correlation: float = CORRELATION) -> tuple[Estimate, int]:
    """The mean of values that were taken one after the other within `seconds`, and the number of batches used.

    With n values in k batches of m, a fresh noise of variance f and a slow one of variance s with the correlation
    matrix R of batch means, the scatter within batches is expected to be f + s (1 - R_11), that of the batch means
    f / m + s (tr R - 1'R1 / k) / (k - 1). Both equations are solved for f and s >= 0; the mean's variance is
    f / n + s 1'R1 / k^2, and never taken to be smaller than the batch means' own. Student's t has k - 1 degrees.
    """
    n = len(values)
    k = min(max(LEAST_BATCHES, int(seconds / BATCH)), n // 2)
    mean = float(np.mean(values))
    if n < LEAST_PAIRS:
        return Estimate(mean, np.inf, max(1, n - 1)), max(1, k)
    batches = np.array_split(values, k)
    means, m = np.array([batch.mean() for batch in batches]), n / k
    within = sum(((batch - batch.mean()) ** 2).sum() for batch in batches) / (n - k)
    between = means.var(ddof=1)
    r = correlation_of_batch_means(k, seconds / k, correlation)
    # Slow noise within a batch looks like fresh noise, and what all batches share does not show at all.
    lost, seen = 1 - r[0, 0], (np.trace(r) - r.sum() / k) / (k - 1)
    slow = max(0.0, (between - within / m) / (seen - lost / m)) if seen > lost / m else 0.0
    fresh = max(0.0, within - lost * slow)
    variance = max(fresh / n + slow * r.mean(), between / k)
    return Estimate(mean, float(WIDENING * np.sqrt(variance)), k - 1), k


def correlation_of_batch_means(batches: int, length: float, correlation: float) -> np.ndarray:
    """(batches, batches): covariance of the means, over adjoining stretches of `length` seconds, of an
    Ornstein-Uhlenbeck process of variance 1 that forgets within `correlation` seconds: the integral of its
    autocovariance exp(-|t| / correlation) over both stretches."""
    a = max(length / correlation, 1e-6)
    lag = np.abs(np.subtract.outer(np.arange(batches), np.arange(batches)))
    apart = np.exp(-a * np.maximum(lag - 1, 0)) * (np.expm1(-a) / a) ** 2
    return np.where(lag == 0, 2 * (a + np.expm1(-a)) / a**2, apart)
