"""What the samples come to. Reports are folds over samples: nothing else computes a percentile."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from loadgen.samples.early_stopping import PERCENTILES, lowest_passing_limit
from loadgen.samples.sample import COMPLETED, PREPARERS, STATUSES, count_outcomes
from loadgen.samples.steady_state import estimate_backlog, find_trend

SPANS = {
    "latency": ("due", "done"),
    "service": ("began", "done"),
    "prepare": ("began", "prepared"),
    "wait": ("due", "began"),
    "wire": ("sent", "done"),
}


def summarise(records: np.ndarray, seconds: float, reasons: Sequence[str] = ("",)) -> dict:
    """Return the figures of one run or arm, from an array of `sample.RECORD` in any order.

    `seconds` is the length of the schedule, `reasons` are the texts that the records count in. Times are in
    milliseconds over completed requests (dispatch_lag: over all that were fired), None where there are none. For the
    three rates see `rates`.
    """
    done = records["status"] == STATUSES.index(COMPLETED)
    fired = records["fired"] > 0
    counts = count_outcomes(records)
    per_reason = np.bincount(records["reason"], minlength=len(reasons)).tolist()
    frequent = Counter({text: n for text, n in zip(reasons, per_reason, strict=True) if text and n}).most_common(5)
    result = {
        "books": counts,
        **compute_rates([(records, seconds)]),
        "errors": len(records) - counts[COMPLETED],
        "reasons": dict(frequent),
    }
    for name, (begin, end) in SPANS.items():
        times = milliseconds(records, begin, end, done)
        if name == "latency":
            result["trend"] = find_trend(times[np.argsort(records["due"][done], kind="stable")])
            result["backlog"] = estimate_backlog(records["due"] / 1e9, done, times / 1e3, seconds)
            times.sort()
            result["early_stopping"] = {f"p{q:g}": lowest_passing_limit(times, q) for q in PERCENTILES}
        result[name] = spread(times)
    result["dispatch_lag"] = spread(milliseconds(records, "due", "fired", fired))
    for name in ("bytes_up", "bytes_down"):
        result[name] = float(records[name][done].mean()) if done.any() else None
    result["shares"] = summarise_shares(records)
    return result


def summarise_shares(records: np.ndarray) -> dict | None:
    """Return preparer -> `books` and `latency` (ms) of its share of the arrivals; None where nobody was chosen.

    Arrivals that nobody was chosen for, as they were never sent, are in no share.
    """
    shares = {}
    for number, preparer in enumerate(PREPARERS):
        if preparer:
            share = records[records["preparer"] == number]
            done = share["status"] == STATUSES.index(COMPLETED)
            shares[preparer] = {
                "books": count_outcomes(share),
                "latency": spread(milliseconds(share, "due", "done", done)),
            }
    return shares if records["preparer"].any() else None


def compute_rates(runs: Sequence[tuple[np.ndarray, float]]) -> dict[str, float]:
    """Return requests per second over one run or several, each given as (records, seconds of its schedule).

    `offered` counts the arrivals, `sent_rate` those that were fired and `achieved` those that completed. All go by one
    clock: the run's, which starts with the schedule and stops at its end, or with the last of what is counted if that
    comes later. So a pacer that lags, a process that died or a server that does not keep up lower their rate; a run
    that went well is off by its last milliseconds only. Several runs are added up, each with its own time.
    """
    offered = fired = completed = 0
    scheduled = firing = answering = 0.0
    for records, seconds in runs:
        was_fired, was_completed = records["fired"] > 0, records["status"] == STATUSES.index(COMPLETED)
        offered, scheduled = offered + len(records), scheduled + seconds
        fired, firing = fired + int(was_fired.sum()), firing + max(seconds, last(records["fired"], was_fired))
        completed += int(was_completed.sum())
        answering += max(seconds, last(records["done"], was_completed))
    return {"offered": offered / scheduled, "sent_rate": fired / firing, "achieved": completed / answering}


def last(instants: np.ndarray, among: np.ndarray | Literal[True] = True) -> float:
    """Return the latest of the instants where the mask `among` is true, in seconds; 0 if it nowhere is."""
    return int(instants.max(initial=0, where=among)) / 1e9


def milliseconds(records: np.ndarray, begin: str, end: str, among: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Return the time from one instant to another in ms, of the records where `among` is true, by default all."""
    return (records[end][among] - records[begin][among]) / 1e6


def spread(values: np.ndarray) -> dict[str, float | None]:
    """Return mean, percentiles (by linear interpolation) and maximum; each is None if there are no values."""
    names = [f"p{q:g}" for q in PERCENTILES]
    if not len(values):
        return dict.fromkeys(("mean", *names, "max"))
    points = np.percentile(values, PERCENTILES).tolist()
    return {"mean": float(values.mean()), **dict(zip(names, points, strict=True)), "max": float(values.max())}
