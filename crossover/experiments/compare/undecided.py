"""Whether a comparison is undecided, and the command that may decide it: `crossover compare --continue DIR`."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path

from common.figures import significant
from crossover.analysis.bootstrap import minimum_rounds
from crossover.analysis.recommendation import LONGEST, UNDECIDED
from crossover.experiments.compare.load import OVERHEAD, UNLOADED


def is_undecided(workload: Mapping) -> bool:
    """Tell whether the sentence of a workload of summary.json is that nothing is decided."""
    found = workload["answer"]
    if found["loaded"] and found["loaded"]["overloaded"]:
        return False
    return not found["recommendation"] or found["recommendation"]["kind"] == UNDECIDED


def advise(result: Mapping, directory: Path) -> list[str]:
    """Return the command that goes on where a workload is undecided, with what its time is for; none where none is.

    `result` is the content of summary.json. There always is a time: where none up to LONGEST times the measuring so far
    decides half of such cases, it is that, and the line says so.
    """
    undecided = {name: each for name, each in result["workloads"].items() if is_undecided(each)}
    if not undecided:
        return []
    planned = [plan_more(result, each) for each in undecided.values()]
    seconds, what = max(planned)
    about = f"{significant(seconds / 60, 2)} more minutes {what} ({', '.join(undecided)})"
    return [f"{about}: crossover compare --continue {directory} --seconds {seconds:g}"]


def plan_more(result: Mapping, workload: Mapping) -> tuple[float, str]:
    """Return the --seconds of --continue for one workload of summary.json, and what they do, in words."""
    if workload["more_seconds"]:
        return workload["more_seconds"], "decide about half of such cases"
    found, trial = workload["answer"], workload["seconds"] + OVERHEAD
    arms = len(workload["arms"])
    if not found["recommendation"] or not found["recommendation"]["high"]:
        rounds, what = 2 * minimum_rounds(found["confidence"]), "give rounds enough for an interval"
    else:
        measured = (found["looks"] or [2 * workload["rounds"] * workload["seconds"]])[-1]
        rounds = (LONGEST - 1) * measured / (2 * workload["seconds"])  # it is of both arms
        what = "may decide it, though in fewer than half of such cases"
    shares = [each.get("share", 1.0) for each in result["workloads"].values()]
    seconds = rounds * arms * trial / (1 - UNLOADED) * sum(shares) / workload.get("share", 1.0)
    return float(30 * ceil(seconds / 30)), what
