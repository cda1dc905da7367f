"""The shapes of an overload: multiples of the capacity and a spike, with calm around them, and what became of each."""

from dataclasses import dataclass

import numpy as np

import arrivals
from loadgen.samples.sample import COMPLETED, REJECTED, STATUSES, TIMED_OUT
from loadgen.samples.summary import milliseconds

FACTORS = (1, 2, 5)
CALM, AROUND = 0.3, 10.0  # of the capacity, for so many seconds before and after
NORMAL = 1.5  # times the worst latency before: what counts as back
SPELL = 2.0  # seconds without a slower one: then it is


@dataclass(frozen=True)
class Overload:
    """Arrivals of an overload, with calm before and after it."""

    name: str
    times: np.ndarray
    """Due times of all arrivals, in seconds."""
    begin: float
    """When the overload itself begins, in seconds."""
    end: float


def make_overloads(capacity: float, seconds: float, seed: int) -> list[Overload]:
    """Return an overload of so many seconds for each factor of the capacity (per second), and a spike.

    Calm arrivals, CALM of the capacity, come for AROUND seconds before and after each.
    """
    middle = seconds / 2
    lasts = min(2.0, middle)
    spike = f"spike:rate={0.5 * capacity},peak={10 * capacity},at={middle},lasts={lasts}"
    specs = {f"{factor}x": f"poisson:rate={factor * capacity}" for factor in FACTORS} | {"spike": spike}
    calm = arrivals.parse(f"poisson:rate={CALM * capacity}")
    made = []
    for name, spec in specs.items():
        before, during = calm.schedule(AROUND, seed + 1).times, arrivals.parse(spec).schedule(seconds, seed).times
        after = calm.schedule(AROUND, seed + 2).times
        times = np.concatenate([before, AROUND + during, AROUND + seconds + after])
        begin, end = (middle, middle + lasts) if name == "spike" else (0, seconds)
        made.append(Overload(name, times, AROUND + begin, AROUND + end))
    return made


def summarise(records: np.ndarray, overload: Overload, slo: float) -> dict:
    """Return the figures of one overload from its records; `slo` in ms.

    Rates are per second of the overload, whose arrivals alone count; `answered` is charged with the time until their
    last answer, where that is longer. `recovery`: seconds after the overload's end until, for SPELL seconds, all that
    come, one at least, are answered as fast as before; None if that never was.
    """
    due = records["due"] / 1e9
    during = records[(due >= overload.begin) & (due < overload.end)]
    status = {name: during[during["status"] == STATUSES.index(name)] for name in STATUSES}
    latency, refusal = milliseconds(status[COMPLETED], "due", "done"), milliseconds(status[REJECTED], "sent", "done")
    seconds = overload.end - overload.begin
    before = records[(due < overload.begin) & (records["status"] == STATUSES.index(COMPLETED))]
    normal = NORMAL * milliseconds(before, "due", "done").max(initial=0)
    after = np.sort(records[due >= overload.end], order="due")
    slow = (after["status"] != STATUSES.index(COMPLETED)) | (milliseconds(after, "due", "done") > normal)
    dues = after["due"] / 1e9 - overload.end
    # Move the end of the recovery to each slow request, until SPELL seconds with an answer in time lie before the next.
    recovery = 0.0
    for late in dues[slow]:
        if late > recovery + SPELL and len(dues[~slow & (dues > recovery) & (dues < late)]):
            break
        recovery = late
    return {
        "offered": len(during) / seconds,
        "answered": len(latency) / max(seconds, status[COMPLETED]["done"].max(initial=0) / 1e9 - overload.begin),
        "goodput": float((latency <= slo).sum()) / seconds,
        "refused": len(refusal) / seconds,
        "refusal": float(np.percentile(refusal, 99)) if len(refusal) else None,
        "lost": len(status[TIMED_OUT]) + len(status["dropped"]),
        "p99": float(np.percentile(latency, 99)) if len(latency) else None,
        "recovery": recovery
        if dues.max(initial=0) > recovery + SPELL and dues[~slow].max(initial=0) > recovery
        else None,
    }
