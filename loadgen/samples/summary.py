"""What the samples come to. Reports are folds over samples: nothing else computes a percentile."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.stats import binom, nbinom

from loadgen.samples.sample import COMPLETED, STATUSES, books
from loadgen.samples.steady_state import backlog, trend

PERCENTILES = (50, 90, 95, 99, 99.9)
CONFIDENCE = 0.99  # MLPerf LoadGen's, in results.cc

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
    over all that were fired), None where there are none. For the three rates see `rates`.
    """
    done = records["status"] == STATUSES.index(COMPLETED)
    fired = records["fired"] > 0
    balance = books(records)
    counts = np.bincount(records["reason"], minlength=len(reasons)).tolist()
    given = {text: n for text, n in zip(reasons, counts, strict=True) if text and n}
    result = {
        "books": balance,
        **rates([(records, seconds)]),
        "errors": len(records) - balance[COMPLETED],
        "reasons": dict(Counter(given).most_common(5)),
    }
    for name, (begin, end) in SPANS.items():
        times = milliseconds(records, begin, end, done)
        if name == "latency":
            result["trend"] = trend(times[np.argsort(records["due"][done], kind="stable")])
            result["backlog"] = backlog(records["due"] / 1e9, done, times / 1e3, seconds)
            times.sort()
            result["early_stopping"] = {f"p{q:g}": early_stopping(times, q) for q in PERCENTILES}
        result[name] = spread(times)
    result["dispatch_lag"] = spread(milliseconds(records, "due", "fired", fired))
    for name in ("bytes_up", "bytes_down"):
        result[name] = float(records[name][done].mean()) if done.any() else None
    return result


def rates(runs: Sequence[tuple[np.ndarray, float]]) -> dict[str, float]:
    """Requests per second over one run or several, each (records, seconds of its schedule).

    `offered` counts the arrivals, `sent_rate` those that were fired and `achieved` those that completed. A schedule is
    charged with being longer where it was, each run by itself: `sent_rate` by how late its last arrival was fired,
    `achieved` by how long after its end the last answer came. A pacer that lags, a process that died or a server that
    does not keep up lowers them; a run that went well is off by its last milliseconds only.
    """
    offered = sent = completed = 0
    scheduled = sending = answering = 0.0
    for records, seconds in runs:
        done, fired = records["status"] == STATUSES.index(COMPLETED), records["fired"] > 0
        late = max(0, last(records, "fired", fired) - last(records, "due", fired)) / 1e9
        offered, sent, completed = offered + len(records), sent + int(fired.sum()), completed + int(done.sum())
        scheduled, sending = scheduled + seconds, sending + seconds + late
        answering += max(seconds, last(records, "done", done) / 1e9)
    return {"offered": offered / scheduled, "sent_rate": sent / sending, "achieved": completed / answering}


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
