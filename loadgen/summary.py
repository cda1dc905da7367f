"""What the samples come to. Reports are folds over samples: nothing else computes a percentile."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.stats import binom, kendalltau, nbinom, theilslopes

from loadgen.samples import COMPLETED, STATUSES, books

PERCENTILES = (50, 90, 95, 99, 99.9)
CONFIDENCE = 0.99  # MLPerf LoadGen's, in results.cc
WINDOWS, PER_WINDOW = 20, 10  # of the trend: so many windows, none of fewer requests

SPANS = {
    "latency": ("due", "done"),
    "service": ("began", "done"),
    "prepare": ("began", "prepared"),
    "wait": ("due", "began"),
    "wire": ("sent", "done"),
}


def summary(records: np.ndarray, seconds: float, reasons: Sequence[str] = ("",)) -> dict:
    """The figures of one run or arm, from an array of samples.RECORD in any order.

    `seconds` is the length of the schedule. Times are in milliseconds over completed requests (dispatch_lag:
    over all that were fired), None where there are none. Per second of the schedule: `offered` counts its
    arrivals, `sent_rate` those that were fired and `achieved` those that completed. The schedule is charged
    with being longer where it was: `sent_rate` by how late the last arrival was fired, `achieved` by how long
    after its end the last answer came. A pacer that lags or a process that died lowers both, a run that went
    well is off by its last milliseconds only.
    """
    done = records["status"] == STATUSES.index(COMPLETED)
    fired = records["fired"] > 0
    balance = books(records)
    counts = np.bincount(records["reason"], minlength=len(reasons)).tolist()
    given = {text: n for text, n in zip(reasons, counts, strict=True) if text and n}
    late = max(0, last(records, "fired", fired) - last(records, "due", fired)) / 1e9
    result = {
        "books": balance,
        "offered": len(records) / seconds,
        "sent_rate": int(fired.sum()) / (seconds + late),
        "achieved": balance[COMPLETED] / max(seconds, last(records, "done", done) / 1e9),
        "errors": len(records) - balance[COMPLETED],
        "reasons": dict(Counter(given).most_common(5)),
    }
    for name, (begin, end) in SPANS.items():
        times = milliseconds(records, begin, end, done)
        if name == "latency":
            result["trend"] = trend(times[np.argsort(records["due"][done], kind="stable")])
            times.sort()
            result["early_stopping"] = {f"p{q:g}": early_stopping(times, q) for q in PERCENTILES}
        result[name] = spread(times)
    result["dispatch_lag"] = spread(milliseconds(records, "due", "fired", fired))
    for name in ("bytes_up", "bytes_down"):
        result[name] = float(records[name][done].mean()) if done.any() else None
    return result


def last(records: np.ndarray, instant: str, among: np.ndarray) -> int:
    return int(records[instant].max(initial=0, where=among))


def milliseconds(records: np.ndarray, begin: str, end: str, among: np.ndarray) -> np.ndarray:
    return (records[end][among] - records[begin][among]) / 1e6


def spread(values: np.ndarray) -> dict[str, float | None]:
    """Mean, percentiles by linear interpolation, and the largest."""
    names = [f"p{q:g}" for q in PERCENTILES]
    if not len(values):
        return dict.fromkeys(("mean", *names, "max"))
    points = np.percentile(values, PERCENTILES).tolist()
    return {"mean": float(values.mean()), **dict(zip(names, points, strict=True)), "max": float(values.max())}


def needed(percentile: float, over: int = 0) -> int:
    """How many requests bear out that the percentile is no higher than a limit, when `over` of them were.

    The smallest n with P[Bin(n, 1 - p) <= over] <= 1 - confidence: what MLPerf LoadGen's
    MinPassingQueriesFinder (early_stopping.cc) returns, plus `over`, as it counts the others. Here by the
    negative binomial: n draws hold no more than `over` if and only if the next one above takes more than n.
    """
    return over + 1 + int(nbinom.ppf(CONFIDENCE, over + 1, 1 - percentile / 100))


def early_stopping(ascending: np.ndarray, percentile: float) -> float | None:
    """The lowest latency limit at which MLPerf's Server scenario passes these requests; None if none does.

    With n requests and t the most that may be over, it is the (t+1)-th largest latency: the percentile is not
    above it, with 99 % confidence if requests were independent. (LoadGen's estimate for SingleStream counts
    that request among those over, so it takes the t-th largest and needs 662 requests for p99, not 459.)
    """
    rank = int(binom.ppf(1 - CONFIDENCE, len(ascending), 1 - percentile / 100)) if len(ascending) else 0
    return float(ascending[-rank]) if rank else None


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
