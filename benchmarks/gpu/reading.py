"""Reading what runs of the script left in a folder."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from benchmarks.gpu.arms import NAMES
from benchmarks.gpu.record import FILE

FIELDS = {
    "run": ("command", "machine", "cards", "client_cores", "server_cores", "quick"),
    "figure": ("stage", "size", "arm", "figure", "value", "unit", "low", "high"),
    "note": ("stage", "text"),
    "failed": ("stage", "point", "reason"),
    "did not fit": ("stage", "point", "needed", "left"),
}
"""Kind -> what a line of it has at least."""

SIZE = re.compile(r"\d+(x\d+( tensors)?| s)\b")
"""What a point begins with if it is of one size."""
Entry = dict
"""A line of the file, as `record.py` describes it."""


@dataclass(frozen=True)
class Left:
    """The lines of all runs into one folder, in their order."""

    entries: Sequence[Entry]

    @classmethod
    def read(cls, directory: Path) -> "Left":
        """Read the folder; a last line that was cut off is left out. Raises OSError, ValueError."""
        lines = (directory / FILE).read_text().splitlines()
        found = []
        for number, line in enumerate(lines):
            try:
                entry = json.loads(line)
            except ValueError:
                if number == len(lines) - 1:
                    break
                entry = None
            if not isinstance(entry, dict):
                raise ValueError(f"{directory / FILE}, line {number + 1} is no JSON object")
            if missing := [field for field in ("kind", *FIELDS.get(str(entry.get("kind")), ())) if field not in entry]:
                raise ValueError(f"{directory / FILE}, line {number + 1} has no {missing[0]!r}")
            found.append(entry)
        return cls(found)

    def of(self, kind: str) -> list[Entry]:
        """Return the lines of a kind."""
        return [entry for entry in self.entries if entry["kind"] == kind]

    def visits(self) -> list["Left"]:
        """Return the lines of each visit apart, in order: runs with the same `visit`, and the same cards.

        Runs of the time before visits had names belong to one without a name.
        """
        found: dict[tuple, list[Entry]] = {}
        key: tuple = ("", ())
        for entry in self.entries:
            if entry["kind"] == "run":
                key = (entry.get("visit", ""), tuple(str(card.get("name")) for card in entry["cards"]))
            found.setdefault(key, []).append(entry)
        return [Left(entries) for entries in found.values()]

    @property
    def decodes_on_gpu(self) -> bool:
        """Whether the server decoded photographs on the GPU."""
        servers = self.of("server")
        return bool(servers) and "gpu" in servers[-1].get("plan", {}).get("image_preprocess", {})

    def arm_names(self) -> dict[str, str]:
        """Return the arms of photographs, with names that say who decoded."""
        return NAMES if self.decodes_on_gpu else {**NAMES, "server": "server, `image`, on the CPU"}

    def figures(self, stage: str, size: str, arm: str, figure: str) -> list[Entry]:
        """Return all lines of a figure, oldest first."""
        wanted = {"stage": stage, "size": size, "arm": arm, "figure": figure}
        return [entry for entry in self.of("figure") if all(entry[key] == value for key, value in wanted.items())]

    def last(self, stage: str, size: str, arm: str, figure: str) -> Entry | None:
        """Return the last line of a figure: turns and runs that come later know more. None if there is none."""
        return next(reversed(self.figures(stage, size, arm, figure)), None)

    def missing(self, kind: str) -> list[Entry]:
        """Return the lines of a kind, "did not fit" or "failed", of the last run that measured or tried their size.

        What names no size goes by its stage.
        """
        numbered = list(zip(accumulate(entry["kind"] == "run" for entry in self.entries), self.entries, strict=True))
        tried: dict[tuple[str, str], int] = {}
        measured: dict[tuple[str, str], int] = {}
        for run, entry in numbered:
            if "stage" in entry:
                found = measured if entry["kind"] == "figure" else tried
                found |= {(entry["stage"], ""): run, (entry["stage"], find_size(entry)): run}
        last = {**tried, **measured}
        return [
            entry for run, entry in numbered if entry["kind"] == kind and last[entry["stage"], find_size(entry)] == run
        ]

    def names(self, stage: str, field: str) -> list[str]:
        """Return the sizes or arms of a stage, in the order in which they occur."""
        return list(dict.fromkeys(entry[field] for entry in self.of("figure") if entry["stage"] == stage))


def find_size(entry: Entry) -> str:
    """Return the size that a line is about; empty if it is of none, or of the whole stage."""
    begin = SIZE.match(entry.get("size") or entry.get("point") or "")
    return begin[0] if begin else ""
