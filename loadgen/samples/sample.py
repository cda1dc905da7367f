"""What happened: exactly one sample per due time, whatever became of the request.

Instants are monotonic nanoseconds from the start of the run. Latency is counted from the *due* time,
as MLPerf LoadGen and wrk2 do, so a late dispatch or a full queue is charged to the system and not
forgotten; the service time, counted from when a worker took the request up, is shown beside it.

Samples lie above `arrivals` and `transport`, whose outcomes they keep, and below `client`, which makes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transport.message import COMPLETED, FAILED, REJECTED, TIMED_OUT

DROPPED = "dropped"  # never sent: the cap on requests in flight was reached
UNFINISHED = "unfinished"  # still waiting or in flight when the run ended
STATUSES = (COMPLETED, FAILED, REJECTED, TIMED_OUT, DROPPED, UNFINISHED)
CLIENT, SERVER = "client", "server"
PREPARERS = ("", CLIENT, SERVER)
"""Who prepares an arrival of a placement that splits them; empty: the placement splits none, or nobody was chosen."""
FORMAT = 3
"""The version of the files that a run leaves: samples, summary.json, run.json. Before 3, an instant that never came was
0 in the samples' file, whose rows were in no order, and the rates went by two clocks; a comparison had a client and a
server, not a baseline and a candidate."""


@dataclass(slots=True)
class Sample:
    """One arrival. An instant that never came is 0."""

    index: int  # in the schedule of the whole run, however many processes share it
    payload: int  # which of the run's payloads
    due: int
    fired: int = 0  # the pacer handed it over
    began: int = 0  # a worker took it up
    prepared: int = 0  # preprocessed
    sent: int = 0  # about to be written to the socket
    done: int = 0  # the whole answer is here, or none will come
    status: str = UNFINISHED
    bytes_up: int = 0
    bytes_down: int = 0
    reason: str = ""
    preparer: str = ""  # of PREPARERS

    @property
    def latency(self) -> float:
        """Seconds from the due time to the outcome."""
        return (self.done - self.due) / 1e9


INSTANTS = ("due", "fired", "began", "prepared", "sent", "done")
RECORD = np.dtype(
    [("index", "<i8"), ("payload", "<u4"), ("reason", "<u4")]
    + [(name, "<i8") for name in (*INSTANTS, "bytes_up", "bytes_down")]
    + [("status", "u1"), ("preparer", "u1")]
)
"""A sample in numbers: `status` counts in STATUSES, `preparer` in PREPARERS, `reason` in a list of texts whose first is
empty."""
WORDS = ("status", "preparer", "reason")
"""The fields that are texts of a sample, and numbers of a record."""


def tabulate(samples: Sequence[Sample]) -> tuple[np.ndarray, list[str]]:
    """Return samples that are in memory as (records, texts of their reasons)."""
    reasons = list(dict.fromkeys(["", *(sample.reason for sample in samples)]))
    records = np.zeros(len(samples), RECORD)
    for name in RECORD.names or ():
        records[name] = [getattr(sample, name) for sample in samples] if name not in WORDS else 0
    records["status"] = [STATUSES.index(sample.status) for sample in samples]
    records["preparer"] = [PREPARERS.index(sample.preparer) for sample in samples]
    records["reason"] = [reasons.index(sample.reason) for sample in samples]
    return records, reasons


def count_outcomes(records: np.ndarray) -> dict[str, int]:
    """Count the arrivals that ended in each status, and all of them as `scheduled`; a status without any is 0."""
    counts = np.bincount(records["status"], minlength=len(STATUSES)).tolist()
    return {"scheduled": len(records), **dict(zip(STATUSES, counts, strict=True))}


def format_counts(counts: Mapping[str, int]) -> str:
    """Write what `count_outcomes` returns as one line, a sum."""
    return f"scheduled {counts['scheduled']} = " + " + ".join(f"{s} {counts[s]}" for s in STATUSES)
