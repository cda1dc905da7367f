"""Was the system in a steady state? Tests of the latencies of one run or of several, for `validity`."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau, theilslopes

WINDOWS, PER_WINDOW = 20, 10  # the trend's windows, and the fewest requests in each
MIN_PER_HALF = 3  # completed requests in each half of a run that the backlog's growth can be estimated from
BUSY = 0.9  # the server's load up to which its arrivals explain that latency grows

Run = tuple[np.ndarray, np.ndarray, np.ndarray, float]
"""(dues, done, latencies, seconds): the arguments of `estimate_backlog`."""


def find_trend(in_due_order: np.ndarray) -> dict[str, float] | None:
    """Test whether latency rises: the one-sided Mann-Kendall test on the medians of 20 windows of equal count.

    `in_due_order` are latencies in any unit. They are taken in windows because neighbours in a queue are alike and the
    test takes its values for independent. Return Kendall's `tau`, the test's `p`, and `growth`, the Theil-Sen slope
    over the whole run as a share of the median: 2 where latency rises evenly from nothing, as under overload. Return
    None for fewer than 200 requests.
    """
    if len(in_due_order) < WINDOWS * PER_WINDOW:
        return None
    medians = np.array([np.median(window) for window in np.array_split(in_due_order, WINDOWS)])
    tau, p = kendalltau(range(WINDOWS), medians, alternative="greater")
    if np.isnan(tau):  # all medians are equal
        tau, p = 0, 1
    growth = theilslopes(medians).slope * WINDOWS / np.median(in_due_order)
    return {"tau": float(tau), "p": float(p), "growth": float(growth)}


def estimate_backlog(
    dues: np.ndarray, done: np.ndarray, latencies: np.ndarray, seconds: float
) -> dict[str, float] | None:
    """Estimate by how much the queue grew from the first half of the schedule to the second, from latency's growth.

    By Little's law (1961) the mean number of requests under way is their rate times their mean latency, whatever the
    server does with them. `dues` are the due times of all arrivals in seconds, `done` is the mask of those that
    completed, `latencies` are theirs in seconds, and `seconds` is the schedule's length. Return

    - `requests`: by how many requests under way the second half exceeds the first;
    - `share`: the growth of latency per second of the schedule, 0.5 where 1.5 times as many arrive as are answered;
    - `errors`: that growth in standard errors, as if requests were independent;
    - `variability`: the squared coefficient of variation of the gaps between arrivals.

    Return None for fewer than MIN_PER_HALF completed requests in either half.
    """
    late = dues[done] >= seconds / 2
    halves = latencies[~late], latencies[late]
    if min(map(len, halves)) < MIN_PER_HALF:
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


def pool_backlogs(runs: Sequence[Run]) -> dict[str, float] | None:
    """Estimate by how much more latency grew, on average over `runs`, than their arrivals explain.

    A queue grows by chance in one short run and shrinks in the next; under overload it grows in all of them. The
    growth that arrivals explain is that of a server which is BUSY with them and takes equally long for each: it starts
    empty, and bursts make it wait (Lindley's recursion, 1952). `requests` is the rest of the growth in requests,
    `share` that of latency per second of the schedule. `variability` is what Kingman (1961) scales a queue by: the
    squared coefficient of variation of services, and half that of the arrivals' gaps, as the most of what arrivals do
    is explained. Services are read from the times between answers. Return None for fewer than two runs with answers in
    both halves.
    """
    rate = sum(len(dues) for dues, *_ in runs) / sum(seconds for *_, seconds in runs)
    runs = [run for run in map(sort_by_due, runs) if has_both_halves(run)]
    if len(runs) < 2:
        return None
    measured = np.mean([compute_growth(dues[done], latencies, seconds) for dues, done, latencies, seconds in runs])
    waits = [simulate_waits(dues, BUSY / rate) for dues, *_ in runs]
    explained = np.mean([compute_growth(run[0], wait, run[-1]) for run, wait in zip(runs, waits, strict=True)])
    excess = float(measured) - max(0.0, float(explained))
    between = [measure_times_between_answers(dues[done], latencies) for dues, done, latencies, _ in runs]
    services = np.concatenate(between)
    gaps = np.concatenate([np.diff(dues) for dues, *_ in runs])
    return {
        "runs": len(runs),
        "requests": excess * rate,
        "share": 2 * excess / float(np.mean([seconds for *_, seconds in runs])),
        "variability": compute_squared_cv(services) + compute_squared_cv(gaps) / 2,
    }


def sort_by_due(run: Run) -> Run:
    """Return the run with its arrivals, and their latencies, in the order in which they were due."""
    dues, done, latencies, seconds = run
    order = np.argsort(dues, kind="stable")
    return dues[order], done[order], latencies[np.argsort(dues[done], kind="stable")], seconds


def has_both_halves(run: Run) -> bool:
    """Return whether requests of both halves of the schedule completed."""
    dues, done, _, seconds = run
    late = dues[done] >= seconds / 2
    return bool(late.any() and not late.all())


def compute_growth(dues: np.ndarray, latencies: np.ndarray, seconds: float) -> float:
    """Return the mean latency of the second half of the schedule less that of the first, in the latencies' unit."""
    late = dues >= seconds / 2
    return float(latencies[late].mean() - latencies[~late].mean())


def simulate_waits(dues: np.ndarray, service: float) -> np.ndarray:
    """Simulate how long each arrival waits, in seconds, for one server that takes `service` seconds for each."""
    behind = service * np.arange(len(dues)) - dues
    return behind - np.minimum.accumulate(behind)


def measure_times_between_answers(dues: np.ndarray, latencies: np.ndarray) -> np.ndarray:
    """Return each answer's time since the one before, or since its due time if that is later, in seconds.

    Of a server that does one request at a time it is how long each took.
    """
    answers = np.sort(dues + latencies)
    return answers - np.maximum(dues, np.concatenate([[-np.inf], answers[:-1]]))


def compute_squared_cv(values: np.ndarray) -> float:
    """Return the squared coefficient of variation; 0 if there are no values but 0."""
    return float(values.var() / values.mean() ** 2) if values.any() else 0.0
