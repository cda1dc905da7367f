"""What happened: exactly one sample per due time, whatever became of the request.

Instants are monotonic nanoseconds from the start of the run. Latency is counted from the *due* time,
as MLPerf LoadGen and wrk2 do, so a late dispatch or a full queue is charged to the system and not
forgotten; the service time, counted from when a worker took the request up, is shown beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

    index: int  # in the schedule of the whole run, however many processes share it
    payload: int  # which of the run's payloads
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


INSTANTS = ("due", "fired", "began", "prepared", "sent", "done")
RECORD = np.dtype(
    [("index", "<i8"), ("payload", "<u4"), ("reason", "<u4")]
    + [(name, "<i8") for name in (*INSTANTS, "bytes_up", "bytes_down")]
    + [("status", "u1")]
)
"""A sample in numbers: `status` counts in STATUSES, `reason` in a list of texts whose first is empty."""


def tabulated(samples: Sequence[Sample]) -> tuple[np.ndarray, list[str]]:
    """(records, texts of their reasons) of samples in memory."""
    reasons = list(dict.fromkeys(["", *(sample.reason for sample in samples)]))
    records = np.zeros(len(samples), RECORD)
    for name in RECORD.names:
        records[name] = [getattr(sample, name) for sample in samples] if name not in ("status", "reason") else 0
    records["status"] = [STATUSES.index(sample.status) for sample in samples]
    records["reason"] = [reasons.index(sample.reason) for sample in samples]
    return records, reasons


def books(records: np.ndarray) -> dict[str, int]:
    """How many arrivals ended in each status, plus `scheduled`; every status is named, also at zero."""
    counts = np.bincount(records["status"], minlength=len(STATUSES)).tolist()
    return {"scheduled": len(records), **dict(zip(STATUSES, counts, strict=True))}


def sentence(balance: Mapping[str, int]) -> str:
    return f"scheduled {balance['scheduled']} = " + " + ".join(f"{s} {balance[s]}" for s in STATUSES)
