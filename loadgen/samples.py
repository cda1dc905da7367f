"""What happened: exactly one sample per due time, whatever became of the request.

Instants are monotonic nanoseconds from the start of the run. Latency is counted from the *due* time,
as MLPerf LoadGen and wrk2 do, so a late dispatch or a full queue is charged to the system and not
forgotten; the service time, counted from when a worker took the request up, is shown beside it.
"""

import csv
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COMPLETED, FAILED, REJECTED, TIMED_OUT, DROPPED, UNFINISHED = STATUSES = (
    "completed",  # answered, and the answer holds the outputs that were asked for
    "failed",  # refused, broken, or answered with something else
    "rejected",  # the server said 503: its queue was full
    "timed out",  # no answer within the deadline
    "dropped",  # never sent: the cap on requests in flight was reached
    "unfinished",  # still waiting or in flight when the run ended
)


@dataclass(slots=True)
class Sample:
    """One arrival. An instant that was never reached is 0."""

    index: int
    payload: str
    due: int
    fired: int = 0  # the pacer handed it over
    began: int = 0  # a worker took it up
    prepared: int = 0  # preprocessed and serialised
    sent: int = 0  # about to be written to the socket
    done: int = 0  # the whole answer is here
    status: str = UNFINISHED
    bytes_up: int = 0
    bytes_down: int = 0
    reason: str = ""

    @property
    def latency(self) -> float:
        """Seconds from the due time to the answer."""
        return (self.done - self.due) / 1e9

    @property
    def service(self) -> float:
        """Seconds from when a worker took it up to the answer: preprocessing, network and server."""
        return (self.done - self.began) / 1e9


FIELDS = [field.name for field in dataclasses.fields(Sample)]
INTEGERS = {field.name for field in dataclasses.fields(Sample) if field.type is int}


class Writer:
    """Appends samples to a CSV file as they finish, so that what had finished survives a crash."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(FIELDS)

    def write(self, sample: Sample) -> None:
        self._csv.writerow([getattr(sample, name) for name in FIELDS])
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Sample]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield Sample(**{key: int(value) if key in INTEGERS else value for key, value in row.items()})


def books(samples: Iterable[Sample]) -> dict[str, int]:
    """How many arrivals ended in each status, plus `scheduled`; every status is named, also at zero."""
    counts = Counter(sample.status for sample in samples)
    return {"scheduled": counts.total(), **{status: counts[status] for status in STATUSES}}


def sentence(balance: dict[str, int]) -> str:
    return f"scheduled {balance['scheduled']} = " + " + ".join(f"{s} {balance[s]}" for s in STATUSES)


def summary(samples: list[Sample], seconds: float) -> dict:
    """One arm's figures: a fold over its samples, the only place where a percentile is computed.

    `seconds` is the length of the schedule. Latencies are in milliseconds over completed requests, by
    numpy's linear interpolation; None where nothing completed. `achieved` counts completions per second
    from the first due time to the last answer or the end of the schedule, whichever is later.
    """
    completed = [sample for sample in samples if sample.status == COMPLETED]
    balance = books(samples)
    end = max([seconds, *(sample.done / 1e9 for sample in completed)])
    result = {
        "books": balance,
        "offered": balance["scheduled"] / seconds,
        "achieved": len(completed) / end,
        "errors": balance["scheduled"] - len(completed),
        "reasons": dict(Counter(s.reason for s in samples if s.reason).most_common(5)),
    }
    milliseconds = {
        "latency": [s.done - s.due for s in completed],
        "service": [s.done - s.began for s in completed],
        "prepare": [s.prepared - s.began for s in completed],
        "wait": [s.began - s.due for s in completed],
        "wire": [s.done - s.sent for s in completed],
        "dispatch_lag": [s.fired - s.due for s in samples if s.fired],
    }
    for name, values in milliseconds.items():
        result[name] = percentiles(np.array(values) / 1e6)
    for name in ("bytes_up", "bytes_down"):
        result[name] = float(np.mean([getattr(s, name) for s in completed])) if completed else None
    return result


def percentiles(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(("mean", "p50", "p95", "p99"))
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"mean": float(values.mean()), "p50": float(p50), "p95": float(p95), "p99": float(p99)}
