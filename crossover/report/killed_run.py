"""What a run of Locust's has left whose master, or only process, was killed: journals, and arrivals that none has.

A master that was killed had not got all that its workers had finished. Each worker's own journal has the rest: it lies
in the run's folder, or on the worker's machine, from where it can be given beside the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import arrivals
from arrivals import Schedule
from loadgen.samples import journal
from loadgen.samples.early_stopping import highest_percentile
from loadgen.samples.sample import RECORD, STATUSES, UNFINISHED
from loadgen.samples.summary import last, summarise
from loadgen.samples.validity import judge
from loadgen.samples.verdict import Facts
from workloads import payloads

JOURNAL = "samples.journal"
NO_VERDICT = "its process ended before it had written a verdict"
LOST = "no journal has its outcome"


@dataclass(frozen=True)
class Remains:
    """What is known of a run that was killed."""

    records: np.ndarray
    """One record per arrival, of dtype RECORD; of those that no journal has, too, as far as they are known."""
    reasons: list[str]
    """The texts that the records count in."""
    cause: str
    """Why there is no verdict, and what is missing, in words."""


def read_remains(directory: Path, described: dict, more: Sequence[Path] = ()) -> Remains:
    """Read the journals in a run's folder, and `more` from other machines, as the samples of one run, each once.

    `described` is the content of run.json. An arrival that was due while the run went on, and that no journal has,
    counts as unfinished. Raises ValueError if there is no journal, a file is none, or it is another run's.
    """
    paths = [directory / JOURNAL, *sorted(directory.glob("worker-*.journal"))]
    if not paths[0].exists():
        raise ValueError(f"{directory} has no samples: neither samples.parquet nor {JOURNAL}")
    here = {each.resolve() for each in paths}
    paths += [each for each in more if each.resolve() not in here]
    schedule = make_schedule(described)
    for path in paths:
        journal.check(path)
        if schedule is not None:
            check_schedule(path, schedule)
    records, reasons = journal.merge(paths)
    missing = list_missing(described, {each.name for each in paths})
    cause = describe_cause(len(records), len(paths), missing)
    if schedule is not None:
        lost = make_lost(records, schedule, described, len(reasons))
        cause = describe_cause(len(records), len(paths), missing, len(records) + len(lost))
        records, reasons = np.concatenate([records, lost]), [*reasons, LOST]
    return Remains(records, reasons, cause)


def summarise_remains(described: dict, remains: Remains) -> dict:
    """Return summary.json of a run that has left none, from run.json and its samples: INVALID, as it was cut short.

    Its rates go by the time until the last sample. Where no percentile was asked for, it is the highest that so many
    arrivals allow, as in a run that ends well.
    """
    records = remains.records
    result = summarise(records, cut_short(records, described["seconds"]), remains.reasons)
    percentile = described["percentile"] or highest_percentile(len(records))
    verdict = judge(result, Facts(None, 0.0, complete=False, cause=remains.cause), percentile)
    return {**described, "percentile": percentile, **result, **verdict.as_dict()}


def cut_short(records: np.ndarray, seconds: float) -> float:
    """Return how many of the schedule's seconds an interrupted run lasted: until the last thing that a sample saw."""
    return min(max(last(records[each]) for each in ("due", "fired", "done")), seconds) or seconds


def describe_cause(known: int, journals: int, missing: Sequence[str], due: int | None = None) -> str:
    """Say why there is no verdict, and how many samples the journals have, of how many that were `due` if known."""
    where = f"in {journals} journals" if journals > 1 else "in its journal"
    count = f"{known} requests are" if due is None else f"of {due} arrivals that were due until then {known} are"
    hint = f", and {', '.join(missing)} of other machines can be given beside the run" if missing else ""
    return f"{NO_VERDICT}; {count} {where}{hint}"


def list_missing(described: dict, names: set[str]) -> list[str]:
    """Return the names of workers' journals that are not among `names`, where run.json tells how many there were."""
    return [name for name in map("worker-{}.journal".format, range(described.get("processes", 0))) if name not in names]


def make_schedule(described: dict) -> Schedule | None:
    """Make the schedule of a run again; None for a closed loop, or if it cannot be had, as without its trace's file."""
    try:
        process = arrivals.parse(described["arrivals"])
        if isinstance(process, arrivals.Closed):
            return None
        schedule = process.schedule(described["seconds"], described["seed"])
    except (ValueError, OSError):
        return None
    return schedule if schedule.digest == described["schedule"] else None


def check_schedule(path: Path, schedule: Schedule) -> None:
    """Raise ValueError if a journal has an arrival that the schedule has not, or has at another time."""
    records, _ = journal.read(path)
    dues = (schedule.times * 1e9).round().astype("i8")
    within = records["index"] < len(dues)
    if not within.all() or (dues[records["index"]] != records["due"]).any():
        ours = f"{schedule.spec} for {schedule.seconds:g} s, seed {schedule.seed}"
        raise ValueError(f"{path} is of another run: its arrivals are not those of {ours}")


def make_lost(records: np.ndarray, schedule: Schedule, described: dict, reason: int) -> np.ndarray:
    """Return records of the arrivals that were due until the last thing that the samples saw, and have none.

    They are unfinished, for the reason of that number.
    """
    dues = (schedule.times * 1e9).round().astype("i8")
    lost = dues <= cut_short(records, described["seconds"]) * 1e9 if len(records) else np.zeros(len(dues), bool)
    lost[records["index"]] = False
    made = np.zeros(int(lost.sum()), RECORD)
    made["index"], made["due"], made["reason"] = np.flatnonzero(lost), dues[lost], reason
    made["payload"] = payloads.order(len(described["payloads"]), len(dues), described["seed"])[lost]
    made["status"] = STATUSES.index(UNFINISHED)
    return made
