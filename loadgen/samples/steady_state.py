"""Was the system in a steady state? Two tests on the latencies of one run, for `validity.RULES`."""

import numpy as np
from scipy.stats import kendalltau, theilslopes

WINDOWS, PER_WINDOW = 20, 10  # of the trend: so many windows, none of fewer requests
LEAST = 3  # completed requests in each half of a run, for the backlog


def trend(in_due_order: np.ndarray) -> dict[str, float] | None:
    """Does latency rise? The Mann-Kendall test on the medians of 20 windows of equal count, one-sided.

    Windows, because neighbours in a queue are alike and the test takes its values for independent. `growth`
    is the Theil-Sen slope over the whole run as a share of the median: 2 where latency rises evenly from
    nothing, as under overload. None for fewer than 200 requests.
    """
    if len(in_due_order) < WINDOWS * PER_WINDOW:
        return None
    medians = np.array([np.median(window) for window in np.array_split(in_due_order, WINDOWS)])
    tau, p = kendalltau(range(WINDOWS), medians, alternative="greater")
    if np.isnan(tau):  # all medians are equal
        tau, p = 0, 1
    growth = theilslopes(medians).slope * WINDOWS / np.median(in_due_order)
    return {"tau": float(tau), "p": float(p), "growth": float(growth)}


def backlog(dues: np.ndarray, done: np.ndarray, latencies: np.ndarray, seconds: float) -> dict[str, float] | None:
    """By how much the queue grew from the first half of the schedule to the second, from how latency did.

    Little's law (1961): the mean number of requests under way is their rate times their mean latency, whatever the
    server does with them. `dues` are all arrivals in seconds, `done` which of them completed, `latencies` those in
    seconds. `requests` is the growth of that number, `share` the growth of latency per second of the schedule (0.5
    where 1.5 times as many arrive as are answered), `errors` that growth in standard errors as if requests were
    independent, `variability` the squared coefficient of variation of the arrivals' gaps. None for fewer than LEAST
    completed in either half.
    """
    late = dues[done] >= seconds / 2
    halves = latencies[~late], latencies[late]
    if min(map(len, halves)) < LEAST:
        return None
    growth = float(halves[1].mean() - halves[0].mean())
    error = sum(half.var(ddof=1) / len(half) for half in halves) ** 0.5
    gaps = np.diff(np.sort(dues))
    return {
        "requests": growth * len(dues) / seconds,
        "share": 2 * growth / seconds,
        "errors": growth / float(error) if error else 0.0,
        "variability": float(gaps.var() / gaps.mean() ** 2) if gaps.any() else 0.0,
    }
