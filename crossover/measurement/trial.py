"""A trial: one arm, offered one schedule once. What a comparison is made of, and how it lies on the disk.

A trial is two files: `round-NN.parquet` with its samples, `round-NN.json` with everything else that is known of it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from common import atomic_write, plain_file
from crossover.measurement.samples_file import load_samples
from loadgen.samples.sample import COMPLETED, STATUSES
from loadgen.samples.steady_state import Run
from loadgen.samples.verdict import UNANSWERED


@dataclass
class Trial:
    """What is known of a trial, as its JSON file holds it; its samples are read from the other file when needed."""

    workload: str
    arm: str
    """As `loadgen.arm.Arm` writes itself: `image client async:1`."""
    placement: str
    mode: str
    round: int
    """From 1."""
    seed: int
    arrivals: str
    """The process, as one writes it after --arrivals."""
    schedule: str
    """The digest of its due times: the same for every arm of a round."""
    seconds: float
    """The length of the schedule."""
    client_cpu: float
    """CPU seconds of the client's process."""
    server_cpu: float | None
    """CPU seconds of the server with its backends, and of a gateway; None where they cannot be counted."""
    facts: dict
    """What the validity goes by beside the summary: `loadgen.samples.verdict.Facts`."""
    steps: dict
    """Model -> what the server says it did: requests, mean batch, mean ms per request in queue and compute."""
    summary: dict
    """Latency, rates and counts: `loadgen.samples.summary`."""
    valid: bool
    findings: list
    """The rules that it breaks, with what was measured, what is allowed and what to change."""
    attempt: int = 1
    """Above 1: those before were INVALID and lie beside it."""
    earlier: list = field(default_factory=list)
    """Of each attempt before: [arrivals, how many of them had no good answer]."""
    control: str = ""
    """What the second of two equal arms is called, where that is what is compared."""
    gpu: dict | None = None
    """Joules, mean utilisation (0 to 1) and MB in use of the server's GPUs (`Server.gpu`); None without any."""
    began: float = 0.0
    """Seconds since the epoch when its schedule began, a clock that goes on between runs; 0: not known."""
    step_cpu: dict = field(default_factory=dict)
    """Model -> CPU seconds of its own processes per inference (`step_cpu.per_inference`), as far as they are known."""
    others: float | None = None
    """Share of the server's cores, 0 to 1, that other programs used; None where it is not known."""
    client_others: float | None = None
    """The same of the client's cores."""
    loop_ms: dict = field(default_factory=dict)
    """Side -> ms of a fixed loop on one of its cores, before the trial (`conditions.time_loop`); null: not known."""
    gateway_cpu: float | None = None
    """The gateway's part of `server_cpu`; None without one, or where it has died."""
    shares: dict = field(default_factory=dict)
    """Of a placement that splits its arrivals: preparer -> CPU seconds of the client's process for its share, and for
    `both` together (`OpenLoop.split_cpu`); empty where it cannot be split."""
    path: Path = field(default=Path(), compare=False)

    @cached_property
    def samples(self) -> tuple[np.ndarray, list[str], list[str]]:
        """(records, texts of their reasons, names of payloads), read from the disk once.

        Raises ValueError, in one line, for a file that is missing or damaged, or has another trial's samples.
        """
        return load_samples(self.path, self.scheduled, {"arm": self.arm, "seed": self.seed})

    @property
    def records(self) -> np.ndarray:
        """One record per arrival, of dtype `loadgen.samples.sample.RECORD`: instants in ns, status, bytes."""
        return self.samples[0]

    @property
    def scheduled(self) -> int:
        """How many arrivals the schedule has."""
        return self.summary["books"]["scheduled"]

    @property
    def completed(self) -> int:
        """How many of them have a good answer."""
        return self.summary["books"][COMPLETED]

    @property
    def unanswered(self) -> list[str]:
        """The broken rules that say that not every arrival has a good answer; noise of the machine breaks others."""
        return [finding["rule"] for finding in self.findings if finding["rule"] in UNANSWERED]

    @property
    def sound(self) -> bool:
        """Whether its data may be compared: it was measured to its end, and every arrival has an answer."""
        return self.facts["complete"] and not self.unanswered

    @cached_property
    def latency(self) -> np.ndarray:
        """Latencies in ms from the due time to the answer, of the completed requests: shape (completed,)."""
        records = self.records[self.records["status"] == STATUSES.index(COMPLETED)]
        return (records["done"] - records["due"]) / 1e6

    @property
    def twins(self) -> np.ndarray:
        """Latencies in ms in the order of the schedule, nan without a good answer: shape (scheduled,).

        So those of two arms of a round stand beside each other: same due time, same payload.
        """
        records = self.records[np.argsort(self.records["index"], kind="stable")]
        answered = records["status"] == STATUSES.index(COMPLETED)
        return np.where(answered, (records["done"] - records["due"]) / 1e6, np.nan)

    @property
    def run(self) -> Run:
        """What `steady_state` judges: due times, which of them completed, their latencies, the schedule's length."""
        done = self.records["status"] == STATUSES.index(COMPLETED)
        return self.records["due"] / 1e9, done, self.latency / 1e3, self.seconds

    def write(self) -> None:
        """Write its JSON file, whole or not at all. Raises OSError."""
        # Where it lies is not part of it: directories are moved and copied.
        content = {key: value for key, value in asdict(self).items() if key != "path"}
        atomic_write.write_json(self.path.with_suffix(".json"), content)


def pool_records(trials: Sequence[Trial]) -> tuple[np.ndarray, list[str]]:
    """Return (records, texts of their reasons) of several trials; the records' reasons are numbered anew."""
    reasons = list(dict.fromkeys(["", *(text for trial in trials for text in trial.samples[1])]))
    records = np.concatenate([trial.records for trial in trials])
    # Each file numbers only the reasons that occur in it.
    numbers = [np.array([reasons.index(text) for text in trial.samples[1]]) for trial in trials]
    own = [number[trial.records["reason"]] for number, trial in zip(numbers, trials, strict=True)]
    records["reason"] = np.concatenate(own)
    return records, reasons


def read_trials(directory: Path) -> list[Trial]:
    """Read every trial under a directory, by workload, round and arm. Raises ValueError for a file that is none."""
    trials = map(read_trial, sorted(directory.glob("*/*/round-*.json")))
    return sorted(trials, key=lambda trial: (trial.workload, trial.round, trial.arm))


def list_orphans(directory: Path) -> list[Path]:
    """List the samples under a directory whose trial's JSON file is gone, or was never written."""
    return [path for path in sorted(directory.glob("*/*/round-*.parquet")) if not path.with_suffix(".json").exists()]


def read_trial(path: Path) -> Trial:
    """Read the trial of that JSON file. Raises ValueError for a file that is not one's."""
    try:
        return Trial(**json.loads(plain_file.read_written(path)), path=path)
    # TypeError: fields are missing, or there are others.
    except (ValueError, TypeError) as error:
        names = ", ".join(each.name for each in fields(Trial))
        raise ValueError(f"{path} is no trial: {error}; one has {names}") from None
