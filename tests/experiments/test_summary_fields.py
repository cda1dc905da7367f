"""Every field of summary.json is documented, and no other."""

import json
import re

from loadgen.samples.summary import SPANS
from tests import cards
from tests.commands import only
from tests.conftest import ROOT

NAMES = ["options", "asked.payloads", "asked.arms", "asked.files", "workloads.*.placements"]
NAMES += ["looks", "unloaded_looks", "machine.versions", "workloads", "workloads.*.back_to_back_seconds"]
NAMES += ["server.models", "server.models.*.parameters", "server.models.*.provenance"]
NAMES += [f"workloads.*.arms[].{each}" for each in ("books", "reasons", "stages", "steps", "steps.*.ms", *SPANS)]
NAMES += [f"workloads.*.arms[].{each}" for each in ("dispatch_lag", "early_stopping")]
AS_COMPARISONS = "workloads.*.other_modes"


def written(value, path: str = "") -> set[str]:
    """The paths of all that is not itself made of parts."""
    if isinstance(value, dict) and path != AS_COMPARISONS:
        keys = {key: "*" if path in NAMES else key for key in value}
        return {each for key in value for each in written(value[key], f"{path}.{keys[key]}".lstrip("."))}
    if isinstance(value, list | tuple):
        return {f"{path}[]"}.union(*(written(each, f"{path}[]") for each in value)) if value else set()
    return {path}


def documented() -> set[str]:
    found, prefix = set(), ""
    for line in (ROOT / "docs" / "summary.md").read_text().splitlines():
        if line.startswith("## "):
            prefix = (re.findall("`(.*)`", line) or [""])[0]
        elif line.startswith("| `"):
            found |= {f"{prefix}.{each}".lstrip(".") for each in re.findall("`(.*?)`", line.split("|")[1])}
    return found


def test_every_field_of_the_summary_is_documented_and_no_other(world, conduct, monkeypatch):
    cards.install(monkeypatch)
    world.troubles = [None] * 3 + ["reset"] * 3
    conduct("--rounds", 8)
    summary = json.loads((only(conduct.reports) / "summary.json").read_text())
    lists = {path for path in written(summary) if path.endswith("[]")}
    inner = {path for path in lists if any(other.startswith(f"{path}.") for other in written(summary))}
    assert written(summary) - inner == documented()
