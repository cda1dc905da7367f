"""A block: one arm, offered one schedule once. What a comparison is made of, and how it lies on the disk.

A block is two files: `round-NN.parquet` with its samples, `round-NN.json` with everything else that is known of it.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from loadgen import journal
from loadgen.samples import COMPLETED, STATUSES


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
    gpu: dict | None = None
    path: Path = field(default=Path(), compare=False)

    @cached_property
    def records(self) -> np.ndarray:
        return journal.load(self.path.with_suffix(".parquet"))[0]

    @property
    def scheduled(self) -> int:
        return self.summary["books"]["scheduled"]

    @property
    def completed(self) -> int:
        return self.summary["books"][COMPLETED]

    @cached_property
    def latency(self) -> np.ndarray:
        """ms from the due time to the answer, of the completed requests."""
        records = self.records[self.records["status"] == STATUSES.index(COMPLETED)]
        return (records["done"] - records["due"]) / 1e6

    def write(self) -> None:
        kept = {key: value for key, value in asdict(self).items() if key != "path"}
        self.path.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")


def read(directory: Path) -> list[Block]:
    """Every block under a directory, by workload, round and arm. Raises ValueError for a file that is not one's."""
    blocks = []
    for path in sorted(directory.glob("*/*/round-*.json")):
        try:
            values = json.loads(path.read_text())
            blocks.append(Block(**values, path=path))
        except (ValueError, TypeError) as error:
            names = ", ".join(each.name for each in fields(Block))
            raise ValueError(f"{path} is no block: {error}; one has {names}") from None
    return sorted(blocks, key=lambda block: (block.workload, block.round, block.arm))
