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

    def runs(self) -> list["Left"]:
        """Return the lines of each run apart, in order."""
        numbers = accumulate(entry["kind"] == "run" for entry in self.entries)
        found: dict[int, list[Entry]] = {}
        for number, entry in zip(numbers, self.entries, strict=True):
            found.setdefault(number, []).append(entry)
        return [Left(entries) for entries in found.values()]

    def settle(self) -> "Left":
        """Return the lines with those figures of each stage and size only that are of one run, with the most arms.

        Rates of one machine differed by a fifth between runs, so no row stands beside one of another run. Arms with a
        capacity count first; of equals the later run is taken.
        """
        runs, chosen = self.runs(), self.choose_runs()
        return Left(
            [
                entry
                for number, run in enumerate(runs)
                for entry in run.entries
                if entry["kind"] != "figure" or chosen[entry["stage"], entry["size"]] == number
            ]
        )

    def choose_runs(self) -> dict[tuple[str, str], int]:
        """Return (stage, size) -> the number of the run whose figures of it are shown."""
        worth: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
        for number, run in enumerate(self.runs()):
            arms: dict[tuple[str, str], tuple[set, set]] = {}
            for entry in run.of("figure"):
                searched, measured = arms.setdefault((entry["stage"], entry["size"]), (set(), set()))
                measured.add(entry["arm"])
                if entry["figure"] == "capacity":
                    searched.add(entry["arm"])
            for place, (searched, measured) in arms.items():
                worth.setdefault(place, []).append((len(searched), len(measured), number))
        return {place: max(each)[-1] for place, each in worth.items()}

    def run_of(self, stage: str, size: str | None = None) -> "Left":
        """Return the lines of the one run that `settle` takes for a stage, at a size or (None) at its last one."""
        chosen = self.choose_runs()
        numbers = [number for (its, at), number in chosen.items() if its == stage and size in (None, at)]
        return self.runs()[max(numbers)] if numbers else Left([])

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
        """Return the lines of a kind, "did not fit" or "failed", that still hold, of all visits.

        They are of the run whose figures of their size are shown or, without any, of the last that tried. What names no
        size goes by its stage. What a later visit measured is not missing.
        """
        visits = self.visits()
        later = [{place for visit in visits[at:] for place in visit.places()} for at in range(1, len(visits) + 1)]
        return [
            entry
            for visit, measured in zip(visits, later, strict=True)
            for entry in visit.missing_here(kind)
            if (entry["stage"], find_size(entry)) not in measured
        ]

    def places(self) -> set[tuple[str, str]]:
        """Return each (stage, size) with figures, and each stage with an empty size."""
        return {(entry["stage"], size) for entry in self.of("figure") for size in ("", find_size(entry))}

    def missing_here(self, kind: str) -> list[Entry]:
        """Return the lines that `missing` returns of one visit."""
        numbered = [(number, entry) for number, run in enumerate(self.runs()) for entry in run.entries]
        tried: dict[tuple[str, str], int] = {}
        measured: dict[tuple[str, str], int] = {}
        for run, entry in numbered:
            if "stage" in entry:
                found = measured if entry["kind"] == "figure" else tried
                found |= {(entry["stage"], ""): run, (entry["stage"], find_size(entry)): run}
        last = {**tried, **measured, **self.choose_runs()}
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
