"""How many requests a percentile needs, and what a number of requests can vouch for: MLPerf LoadGen's early stopping.

Source: early_stopping.cc and results.cc of MLPerf Inference's LoadGen.
"""

import numpy as np
from scipy.stats import binom, nbinom

CONFIDENCE = 0.99  # LoadGen's, in results.cc
PERCENTILES = (50, 90, 95, 99, 99.9)
"""The percentiles that summaries report, lowest first."""


def required_requests(percentile: float, over: int = 0) -> int:
    """Return how many requests show that the percentile is no higher than a limit, when `over` of them were.

    The smallest n with P[Bin(n, 1 - p) <= over] <= 1 - CONFIDENCE: what LoadGen's MinPassingQueriesFinder returns, plus
    `over`, as it counts the others. Here it comes from the negative binomial distribution: n draws hold no more than
    `over` if and only if the next one above takes more than n.
    """
    return over + 1 + int(nbinom.ppf(CONFIDENCE, over + 1, 1 - percentile / 100))


def highest_percentile(requests: int) -> float:
    """Return the highest of PERCENTILES that so many requests can vouch for; the lowest of all if there is none."""
    return max((q for q in PERCENTILES if required_requests(q) <= requests), default=PERCENTILES[0])


def lowest_passing_limit(ascending: np.ndarray, percentile: float) -> float | None:
    """Return the lowest latency limit at which LoadGen's Server scenario passes these requests; None if none does.

    `ascending` are latencies in any unit, sorted. With n requests and t the most that may be over, the limit is the
    (t+1)-th largest latency: the percentile is not above it, with 99 % confidence if requests were independent.
    (LoadGen's estimate for SingleStream counts that request among those over, so it takes the t-th largest and needs
    662 requests for p99, not 459.)
    """
    rank = int(binom.ppf(1 - CONFIDENCE, len(ascending), 1 - percentile / 100)) if len(ascending) else 0
    return float(ascending[-rank]) if rank else None
