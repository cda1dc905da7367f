"""The unloaded comparison: one request at a time, the placements in turns on the same payload, in an order drawn anew.

Nothing queues, so nothing amplifies the machine's noise, and both requests of a pair meet nearly the same speed: on one
machine this design was 16 to 200 times as quick as blocks under load. It answers another question, namely what a lone
user feels; crossover.analysis.loaded_pairs answers the one at the load offered.

What remains are two kinds of noise. Some is drawn anew in every pair. Some is slow: the cores' speeds wander apart, for
about CORRELATION seconds, and pull all pairs of that time the same way. Time batches show both (batch means: Law 2015,
Simulation Modeling and Analysis, section 9.5.3), but batches that are long against the correlation are so few in 40 s
that Student's t makes the interval useless, and short ones take neighbours for independent: 12 batches of 20 s hold the
truth in 63 of 100 comparisons. So the two kinds are told apart, and the slow one is charged with the correlation of an
Ornstein-Uhlenbeck process.

How large the slow one is, is hard to see in the ratios, but it follows from the cause. It pulls only the part of a
request that one placement does on another core, whose share is known from the requests' stages (`apart`), and as far
as speeds wander, which the service times themselves show. Without that share it is taken to be what the batches' means
vary beyond the scatter of the pairs within them, which is less sure: intervals are wider by a quarter to a half.
docs/statistics.md has the coverage, `python -m tests.simulations.coverage unloaded` measures it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import chi2

from crossover.analysis.estimate import Estimate

CORRELATION = 6.0
"""Seconds within which the speed of a core forgets what it was (to 1/e): measured on shared machines, autocorrelation
of log speed 0.34 to 0.4 after 5 s."""
BATCH = 4.0
"""Seconds of a time batch: below the correlation, so that enough of them fit into half a minute."""
LEAST_BATCHES, LEAST_PAIRS = 5, 10
WIDENING = 1.1
"""For the slow noise's variance being estimated from few independent stretches, beyond what Student's t charges."""
SURPRISE = 0.999
"""Confidence beyond which the batches vary more than the known causes of noise explain."""


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
        """Return the fields as JSON holds them, both estimates as dicts."""
        return {**asdict(self), "ratio": self.ratio.as_dict(), "milliseconds": self.milliseconds.as_dict()}


@dataclass(frozen=True)
class Noise:
    """What `split_noise` finds in a series of values."""

    batches: int
    fresh: float
    """Variance of what is drawn anew in each value."""
    slow: float
    """Variance of what lasts for the correlation time; 0 or more."""
    between: float
    """Variance of the batch means, as it is."""
    within: float
    """Variance within batches, as it is."""
    related: np.ndarray
    """(batches, batches): what `correlation_of_batch_means` says."""


def compare_unloaded(
    baseline_ms: Sequence[float],
    candidate_ms: Sequence[float],
    instants: Sequence[float],
    apart: float | None = None,
    correlation: float = CORRELATION,
) -> UnloadedPairs:
    """Compare the service times of pairs of requests.

    All three have one entry per pair, in any order: ms from taking the request up to the answer (nan where it had no
    good one), and seconds at which the pair began, on any clock. `apart` is the share of a request's time, 0 to 1, that
    the placements spend on different cores: what the client's stages take of a request in one placement, less what they
    take in the other; None where it is not known. `correlation` is that of the machine's speed, in seconds. With fewer
    than LEAST_PAIRS answered pairs the estimates have an infinite error.
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
    seconds, slow = float(when[-1] - when[0]), None
    if apart is not None and len(first) >= LEAST_PAIRS:
        # Two cores that wander independently: the logarithm of their ratio has twice the variance of either.
        speed = split_noise(np.log(first * second) / 2, seconds, correlation).slow
        slow = 2 * apart**2 * speed
    means = float(first.mean()), float(second.mean())
    ratio, batches = mean_over_time(np.log(second / first), seconds, correlation, slow)
    slow_ms = None if slow is None else slow * means[0] * means[1]
    milliseconds, _ = mean_over_time(second - first, seconds, correlation, slow_ms)
    return UnloadedPairs(ratio, milliseconds, *means, len(first), batches, seconds, int((~answered).sum()))


def mean_over_time(
    values: np.ndarray, seconds: float, correlation: float = CORRELATION, slow: float | None = None
) -> tuple[Estimate, int]:
    """Return the mean of values that were taken one after the other within `seconds`, and the number of batches used.

    `slow` is the variance of the slow noise, if that is known. Then the mean's variance is f / n + s 1'R1 / k^2, with f
    and s those of fresh and slow noise and R the correlation of k batch means; Student's t has the degrees of
    Satterthwaite (1946, Biometrics 2:110), in which slow noise has one for every correlation time. Where it is not
    known, or the batches vary too much for it, s is what `split_noise` says, the variance is not taken to be smaller
    than the batch means' own, and Student's t has k - 1 degrees.
    """
    n, mean = len(values), float(np.mean(values))
    if n < LEAST_PAIRS:
        return Estimate(mean, np.inf, max(1, n - 1)), 1
    noise = split_noise(values, seconds, correlation)
    k, shared = noise.batches, float(noise.related.mean())
    if slow is not None:
        lost, seen = visible(noise.related)
        fresh = max(noise.within - lost * slow, noise.within / 2)
        parts = np.array([fresh / n, slow * shared])
        # Else something wanders that nobody knew of: the batches themselves have to say how much.
        if noise.between <= chi2.ppf(SURPRISE, k - 1) / (k - 1) * (fresh * k / n + slow * seen):
            shares = parts / max(parts.sum(), np.finfo(float).tiny)
            freedom = 1 / max((shares**2 / [n - k, max(2.0, seconds / correlation)]).sum(), 1e-9)
            return Estimate(mean, float(WIDENING * np.sqrt(parts.sum())), float(freedom)), k
    variance = max(noise.fresh / n + noise.slow * shared, noise.between / k)
    return Estimate(mean, float(WIDENING * np.sqrt(variance)), k - 1), k


def split_noise(values: np.ndarray, seconds: float, correlation: float = CORRELATION) -> Noise:
    """Tell fresh noise from slow noise in 10 values or more, taken one after the other within `seconds`.

    With n values in k batches of m, the variance within batches is expected to be f + s lost, that of the batch means
    f / m + s seen (see `visible`). Both equations are solved for f and s, neither below 0.
    """
    n = len(values)
    k = min(max(LEAST_BATCHES, int(seconds / BATCH)), n // 2)
    batches = np.array_split(values, k)
    means, m = np.array([batch.mean() for batch in batches]), n / k
    within = float(sum(((batch - batch.mean()) ** 2).sum() for batch in batches) / (n - k))
    between = float(means.var(ddof=1))
    related = correlation_of_batch_means(k, seconds / k, correlation)
    lost, seen = visible(related)
    # Negative solutions are chance: then there is no slow noise to be seen.
    slow = max(0.0, (between - within / m) / (seen - lost / m)) if seen > lost / m else 0.0
    return Noise(k, max(0.0, within - lost * slow), slow, between, within, related)


def visible(related: np.ndarray) -> tuple[float, float]:
    """Return the shares of slow noise's variance that (lie within batches, show between them).

    `related` is what `correlation_of_batch_means` returns. What all batches have in common shows nowhere.
    """
    k = len(related)
    return float(1 - related[0, 0]), float((np.trace(related) - related.sum() / k) / (k - 1))


def correlation_of_batch_means(batches: int, length: float, correlation: float) -> np.ndarray:
    """Return the covariance of means over adjoining stretches of `length` seconds: shape (batches, batches).

    The means are of an Ornstein-Uhlenbeck process of variance 1 that forgets within `correlation` seconds: the
    covariance is the integral of its autocovariance exp(-|t| / correlation) over both stretches.
    """
    a = max(length / correlation, 1e-6)
    lag = np.abs(np.subtract.outer(np.arange(batches), np.arange(batches)))
    apart = np.exp(-a * np.maximum(lag - 1, 0)) * (np.expm1(-a) / a) ** 2
    return np.where(lag == 0, 2 * (a + np.expm1(-a)) / a**2, apart)
