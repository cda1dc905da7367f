"""Was the system in a steady state? Tests of the latencies of one run or of several, for `validity`."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau, theilslopes

WINDOWS, PER_WINDOW = 20, 10  # of the trend: so many windows, none of fewer requests
LEAST = 3  # completed requests in each half of a run, for the backlog
BUSY = 0.9  # the load up to which arrivals explain that latency grows

Run = tuple[np.ndarray, np.ndarray, np.ndarray, float]
"""dues, done, latencies, seconds: the arguments of `backlog`"""


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


def pooled_backlog(runs: Sequence[Run]) -> dict[str, float] | None:
    """How much longer latency grew, on average over `runs`, than their arrivals explain.

    A queue grows by chance in one short run and shrinks in the next; under overload it grows in all of them. The
    growth that arrivals explain is that of a server which is BUSY with them and takes equally long for each: it starts
    empty, and bursts make it wait (Lindley's recursion, 1952). `requests` is the rest of the growth in requests,
    `share` that of latency per second of the schedule. `variability` is what Kingman (1961) scales a queue by: the
    squared coefficient of variation of services, and half that of the arrivals' gaps, as the most of what arrivals do
    is explained. Services are read from the times between answers. None for fewer than two runs with answers in both
    halves.
    """
    rate = sum(len(dues) for dues, *_ in runs) / sum(seconds for *_, seconds in runs)
    runs = [run for run in map(sort_by_due, runs) if has_both_halves(run)]
    if len(runs) < 2:
        return None
    measured = np.mean([growth(dues[done], latencies, seconds) for dues, done, latencies, seconds in runs])
    explained = np.mean([growth(dues, waits(dues, BUSY / rate), seconds) for dues, *_, seconds in runs])
    excess = float(measured - max(0, explained))
    services = np.concatenate([times_between_answers(dues[done], latencies) for dues, done, latencies, _ in runs])
    gaps = np.concatenate([np.diff(dues) for dues, *_ in runs])
    return {
        "runs": len(runs),
        "requests": excess * rate,
        "share": 2 * excess / float(np.mean([seconds for *_, seconds in runs])),
        "variability": squared_variation(services) + squared_variation(gaps) / 2,
    }


def sort_by_due(run: Run) -> Run:
    dues, done, latencies, seconds = run
    order = np.argsort(dues, kind="stable")
    return dues[order], done[order], latencies[np.argsort(dues[done], kind="stable")], seconds


def has_both_halves(run: Run) -> bool:
    dues, done, _, seconds = run
    late = dues[done] >= seconds / 2
    return bool(late.any() and not late.all())


def growth(dues: np.ndarray, latencies: np.ndarray, seconds: float) -> float:
    """The mean latency of the second half of the schedule less that of the first."""
    late = dues >= seconds / 2
    return float(latencies[late].mean() - latencies[~late].mean())


def waits(dues: np.ndarray, service: float) -> np.ndarray:
    """How long each arrival waits for one server that takes `service` seconds for every request."""
    behind = service * np.arange(len(dues)) - dues
    return behind - np.minimum.accumulate(behind)


def times_between_answers(dues: np.ndarray, latencies: np.ndarray) -> np.ndarray:
    """From the answer before, or from its due time if that is later: of one server, how long each request took."""
    answers = np.sort(dues + latencies)
    return answers - np.maximum(dues, np.concatenate([[-np.inf], answers[:-1]]))


def squared_variation(values: np.ndarray) -> float:
    return float(values.var() / values.mean() ** 2) if values.any() else 0.0
