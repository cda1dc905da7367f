"""Whether a comparison is undecided, and the command that may decide it: `crossover compare --continue DIR`."""

import shlex
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

from common.figures import significant
from common.messages import name_program
from crossover.analysis.bootstrap import minimum_rounds
from crossover.analysis.recommendation import LONGEST, UNDECIDED
from crossover.experiments.compare.load import OVERHEAD, UNLOADED
from loadgen.samples.verdict import UNANSWERED

SPARSE = "too few samples"
"""The rule that more time mends."""


def is_undecided(workload: Mapping) -> bool:
    """Tell whether the sentence of a workload of summary.json is that nothing is decided."""
    found = workload["answer"]
    if found["loaded"] and found["loaded"]["overloaded"]:
        return False
    return not found["recommendation"] or found["recommendation"]["kind"] == UNDECIDED


def advise(result: Mapping, directory: Path) -> list[str]:
    """Return the command that goes on where a workload is undecided, with what its time is for; none where none is.

    Where a workload is INVALID, a line says what must change instead: more time does not mend it. `result` is the
    content of summary.json. There always is a time: where none up to LONGEST times the measuring so far decides half of
    such cases, it is that, and the line says so.
    """
    undecided = {name: each for name, each in result["workloads"].items() if is_undecided(each)}
    changes = {name: list_changes(each) for name, each in undecided.items()}
    lines = [describe_change(name, found) for name, found in changes.items() if found]
    return [*lines, *advise_more_time(result, directory, [name for name, found in changes.items() if not found])]


def list_changes(workload: Mapping) -> list[str]:
    """Return what must change before a workload of summary.json is measured again; empty where no arm is INVALID.

    Unanswered arrivals are left out, as their rounds are not compared, and what more time mends; but for a workload of
    which no round is left.
    """
    loaded = workload["answer"]["loaded"]
    if loaded and not loaded["rounds"] and loaded["left_out"]:
        return [f"mend what leaves requests unanswered, in {'each' if loaded['left_out'] > 1 else 'the only'} round"]
    found = [fault for arm in workload["arms"] if workload["mode"] in (None, arm["mode"]) for fault in arm["findings"]]
    rules = {*UNANSWERED, SPARSE}
    return list(dict.fromkeys(fault["change"] for fault in found if fault["rule"] not in rules))


def describe_change(name: str, changes: Sequence[str]) -> str:
    """Write what must change first for a workload that is INVALID."""
    return f"{name}: first {', and '.join(changes)}; more time alone does not mend what is INVALID"


def advise_more_time(result: Mapping, directory: Path, names: Sequence[str]) -> list[str]:
    """Return the command that goes on with these workloads of summary.json, which are undecided; none without any."""
    if not names:
        return []
    planned = [plan_more(result, result["workloads"][name]) for name in names]
    seconds, what = max(planned)
    quiet = all(is_quiet(result["workloads"][name]) for name in names)
    about = describe_time(seconds, f"{what} ({', '.join(names)})", quiet)
    return [f"{about}: {name_program()} {write_command(shlex.quote(str(directory)), seconds)}"]


def advise_on_page(result: Mapping, name: str) -> tuple[str, str]:
    """Return what to do about a workload of summary.json on its page, and the command for it.

    Both are empty where it is decided; the command is, where something else must change first.
    """
    workload = result["workloads"][name]
    if not is_undecided(workload):
        return "", ""
    if changes := list_changes(workload):
        return describe_change(name, changes), ""
    seconds, what = plan_more(result, workload)
    return describe_time(seconds, what, is_quiet(workload)), f"crossover {write_command('DIR', seconds)}"


def is_quiet(workload: Mapping) -> bool:
    """Tell whether no other programs disturbed a workload of summary.json, as far as it is known."""
    loaded = workload["answer"]["loaded"]
    return not loaded or loaded["quiet"]


def describe_time(seconds: float, what: str, quiet: bool) -> str:
    """Write how much longer to measure and what that does; and first to stop what disturbs, unless it was `quiet`."""
    text = f"{describe_minutes(seconds)} {what}"
    return text if quiet else f"stop the other programs first; then {text}"


def write_command(directory: str, seconds: float) -> str:
    """Write what follows the program's name in the command that goes on."""
    return f"compare --continue {directory} --seconds {seconds:g}"


def describe_minutes(seconds: float) -> str:
    """Write how much longer to measure: "1 more minute", "4.5 more minutes"."""
    minutes = significant(seconds / 60, 2)
    return f"{minutes} more minute{'s' * (minutes != '1')}"


def plan_more(result: Mapping, workload: Mapping) -> tuple[float, str]:
    """Return the --seconds of --continue for one workload of summary.json, and what they do, in words."""
    if workload["more_seconds"]:
        return workload["more_seconds"], "would decide it in about half of such cases"
    found, trial = workload["answer"], workload["seconds"] + OVERHEAD
    arms = len(workload["arms"])
    if not found["recommendation"] or not found["recommendation"]["high"]:
        rounds, what = 2 * minimum_rounds(found["confidence"]), "would give rounds enough for an interval"
    else:
        measured = (found["looks"] or [2 * workload["rounds"] * workload["seconds"]])[-1]
        rounds = (LONGEST - 1) * measured / (2 * workload["seconds"])  # it is of both arms
        what = "would decide it in fewer than half of such cases"
    shares = [each.get("share", 1.0) for each in result["workloads"].values()]
    seconds = rounds * arms * trial / (1 - UNLOADED) * sum(shares) / workload.get("share", 1.0)
    return float(30 * ceil(seconds / 30)), what
