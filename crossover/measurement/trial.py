"""A block: one arm, offered one schedule once. What a comparison is made of, and how it lies on the disk.

A block is two files: `round-NN.parquet` with its samples, `round-NN.json` with everything else that is known of it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from common import atomic_write
from loadgen.samples import parquet
from loadgen.samples.sample import COMPLETED, STATUSES
from loadgen.samples.steady_state import Run
from loadgen.samples.validity import UNANSWERED


@dataclass
class Block:
    workload: str
    arm: str
    placement: str
    mode: str
    round: int
    seed: int
    arrivals: str
    schedule: str
    """The digest of its due times: the same for every arm of a round."""
    seconds: float
    client_cpu: float
    """CPU seconds of the client's process."""
    server_cpu: float | None
    """CPU seconds of the server with its backends; None where they cannot be counted."""
    facts: dict
    steps: dict
    """Model -> what the server says it did: requests, mean batch, mean ms per request in queue and compute."""
    summary: dict
    valid: bool
    findings: list
    attempt: int = 1
    control: str = ""
    """What the second of two equal arms is called, where that is what is compared."""
    gpu: dict | None = None
    path: Path = field(default=Path(), compare=False)

    @cached_property
    def told(self) -> tuple[np.ndarray, list[str], list[str]]:
        """(records, texts of their reasons, names of payloads)."""
        return parquet.load(self.path.with_suffix(".parquet"))

    @property
    def records(self) -> np.ndarray:
        return self.told[0]

    @property
    def scheduled(self) -> int:
        return self.summary["books"]["scheduled"]

    @property
    def completed(self) -> int:
        return self.summary["books"][COMPLETED]

    @property
    def wrong(self) -> list[str]:
        """The rules by which not every arrival has a good answer, so its data tell nothing; noise breaks others."""
        return [finding["rule"] for finding in self.findings if finding["rule"] in UNANSWERED]

    @property
    def sound(self) -> bool:
        return self.facts["complete"] and not self.wrong

    @cached_property
    def latency(self) -> np.ndarray:
        """ms from the due time to the answer, of the completed requests."""
        records = self.records[self.records["status"] == STATUSES.index(COMPLETED)]
        return (records["done"] - records["due"]) / 1e6

    @property
    def run(self) -> Run:
        """What `steady` judges: due times, which of them completed, the latencies of those, the schedule's length."""
        done = self.records["status"] == STATUSES.index(COMPLETED)
        return self.records["due"] / 1e9, done, self.latency / 1e3, self.seconds

    def write(self) -> None:
        kept = {key: value for key, value in asdict(self).items() if key != "path"}
        atomic_write.write_json(self.path.with_suffix(".json"), kept)


def pooled(blocks: Sequence[Block]) -> tuple[np.ndarray, list[str]]:
    """(records, texts of their reasons) of several blocks."""
    reasons = list(dict.fromkeys(["", *(text for block in blocks for text in block.told[1])]))
    records = np.concatenate([block.records for block in blocks])
    numbers = [np.array([reasons.index(text) for text in block.told[1]]) for block in blocks]
    own = [number[block.records["reason"]] for number, block in zip(numbers, blocks, strict=True)]
    records["reason"] = np.concatenate(own)
    return records, reasons


def read(directory: Path) -> list[Block]:
    """Every block under a directory, by workload, round and arm. Raises ValueError for a file that is not one's."""
    blocks = map(at, sorted(directory.glob("*/*/round-*.json")))
    return sorted(blocks, key=lambda block: (block.workload, block.round, block.arm))


def at(path: Path) -> Block:
    """The block of that JSON file. Raises ValueError for a file that is not one's."""
    try:
        return Block(**json.loads(path.read_text()), path=path)
    except (ValueError, TypeError) as error:
        names = ", ".join(each.name for each in fields(Block))
        raise ValueError(f"{path} is no block: {error}; one has {names}") from None
