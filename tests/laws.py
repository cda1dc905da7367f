"""Checks of due times against a law, and the laws themselves, independent of how the schedules are made.

A check takes due times, in seconds, and gives a p-value under the intended law: small means "this is another
process". Where the law is a rule without chance, it gives 1 or 0.
"""

import math

import numpy as np
from scipy import linalg, stats


def gaps_are(law):
    """KS of the gaps against a continuous law."""
    return lambda times: stats.kstest(np.diff(times), law.cdf).pvalue


def rescaled(cumulative):
    """KS after time-rescaling: the gaps of cumulative(times) are unit exponential (Brown et al. 2002)."""
    return lambda times: stats.kstest(np.diff(cumulative(times), prepend=0), stats.expon.cdf).pvalue


def placed(cumulative, seconds: float):
    """KS of the times: given their number, Poisson arrivals are independent draws of density rate(t)."""
    return lambda times: stats.kstest(cumulative(times) / cumulative(seconds), stats.uniform.cdf).pvalue


def independent(times):
    """Spearman's rank correlation of a gap with the next (ranks: a Pareto gap may have no variance)."""
    gaps = np.diff(times)
    return stats.spearmanr(gaps[:-1], gaps[1:]).pvalue


def dispersed(index: float, rate: float, window: float, seconds: float):
    """t test, over 100 batches, that (count - mean)^2 / mean is `index` on average; counts per `window` seconds."""

    def check(times):
        n, mean = int(seconds / window), rate * window
        counts = np.histogram(times, n, (0, n * window))[0]
        batches = [batch.mean() for batch in np.array_split((counts - mean) ** 2 / mean, 100)]
        return 0.0 if np.std(batches) == 0 else stats.ttest_1samp(batches, index).pvalue

    return check


def spaced(times_within):
    """KS of the spacings of n uniform times, each of which has the cdf 1 - (1 - x)^n: neither clumped nor even."""

    def check(times):
        within = np.sort(times_within(times))
        return stats.kstest(np.diff(within), lambda x: 1 - (1 - np.clip(x, 0, 1)) ** len(within)).pvalue

    return check


def uniform(times_within):
    return lambda times: stats.kstest(times_within(times), stats.uniform.cdf).pvalue


def exactly(ideal):
    """No law but a rule: 1 if every arrival is within a nanosecond of where it has to be, else 0."""

    def check(times):
        expected = ideal(len(times))
        return float(np.allclose(times, expected, rtol=0, atol=1e-9))

    return check


def periodic(period: float):
    """1 if each arrival but the first period's has one a period before it, within a nanosecond, else 0."""

    def check(times):
        per_period = np.searchsorted(times, period)
        return float(np.allclose(times[per_period:], times[:-per_period] + period, rtol=0, atol=1e-9))

    return check


def hyperexponential(on_rate: float, on: float, off: float):
    """Gaps of an on-off process that is silent when off: a renewal process (Kuczura 1973)."""
    a, b = on_rate + 1 / on + 1 / off, on_rate / off
    fast, slow = (a + math.sqrt(a * a - 4 * b)) / 2, (a - math.sqrt(a * a - 4 * b)) / 2
    share = (on_rate - slow) / (fast - slow)

    class Law:
        @staticmethod
        def cdf(x):
            return 1 - share * np.exp(-fast * x) - (1 - share) * np.exp(-slow * x)

    return Law


def mmpp_dispersion(rates, durations, window: float) -> float:
    """1 + 2 / (mean * window) * integral of (window - s) * covariance(s): exact, the integral by Simpson's rule."""
    rates, durations = np.array(rates, float), np.array(durations, float)
    generator = np.diag(1 / durations) @ (np.roll(np.eye(len(rates)), 1, axis=1) - np.eye(len(rates)))
    share = durations / durations.sum()
    mean, steps = share @ rates, np.linspace(0, window, 2001)
    step, state, covariance = linalg.expm(generator * steps[1]), np.eye(len(rates)), []
    for _ in steps:
        covariance.append((share * rates) @ state @ rates - mean**2)
        state = state @ step
    weights = np.r_[1, np.tile([4, 2], 999), 4, 1] * steps[1] / 3
    return 1 + 2 / (mean * window) * (weights * (window - steps) * covariance).sum()


def ramp(start: float, end: float, over: float):
    def cumulative(t):
        inside = np.minimum(t, over)
        return start * inside + (end - start) * inside**2 / (2 * over) + end * np.maximum(t - over, 0)

    return cumulative


def steps(edges, rates):
    """The cumulative rate of a rate that jumps at `edges` (the first is 0) and keeps its last value."""

    def cumulative(t):
        edges_, totals = [*edges, 1e6], [0]
        for i, rate in enumerate(rates):
            totals.append(totals[-1] + rate * (edges_[i + 1] - edges_[i]))
        return np.interp(t, edges_, totals)

    return cumulative


def sine(rate: float, amplitude: float, period: float):
    return lambda t: rate * (t + amplitude * period / (2 * np.pi) * (1 - np.cos(2 * np.pi * t / period)))


def poisson_laws(cumulative, seconds: float) -> dict:
    return {"KS rescaled gaps": rescaled(cumulative), "KS times": placed(cumulative, seconds)}
