"""Two comparisons beside each other, before and after a change: what is printed, the page and the exit code.

A command that compares two runs calls `check_distinct`, `list_differences`, `find_changes`, `text`, `write_page` and,
for --fail-if-worse, `parse_share` and `judge_changes`.
"""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from crossover.analysis.before_after import Change, compare_runs
from crossover.experiments.compare import page, tables
from crossover.measurement import compatibility, conditions
from crossover.measurement.pairs import read_pairs
from crossover.measurement.run_directory import read_run
from crossover.measurement.trial import Trial, read_trials
from crossover.report import html, provenance
from crossover.report.format import label_arms
from crossover.report.html import Section, render
from crossover.report.kind import BROKEN, GOOD, WORSE
from crossover.report.terminal import colour

NAME = "before-after.html"
TEMPLATE = Path(__file__).with_name("before_after.html.j2")


def check_distinct(directories: Sequence[Path]) -> None:
    """Raise ValueError, in one line, where two of these are the same directory."""
    known: dict[Path, Path] = {}
    for directory in directories:
        if (resolved := directory.resolve()) in known:
            raise ValueError(f"{known[resolved]} is given twice; a run is compared with another one")
        known[resolved] = directory


def list_differences(before: Path, after: Path) -> list[str]:
    """Return what differs between two runs beside what was changed on purpose: settings, load and conditions.

    Raises ValueError if one of them is no report.
    """
    settings = compatibility.list_differences(read_run(before), read_run(after))
    return settings + conditions.list_changes(read_trials(before), read_trials(after))


def find_changes(before: Path, after: Path) -> list[Change]:
    """Return what happened to each arm that both runs have measured. Raises ValueError for a damaged file."""
    run, pairs = read_run(before), []
    for directory in (before, after):
        pairs.append({name: read_pairs(directory, name) for name in run["workloads"]})
    return compare_runs(read_trials(before), read_trials(after), run["workloads"], (pairs[0], pairs[1]))


def list_gaps(before: Path, after: Path) -> list[str]:
    """Return what the comparison of two runs lacks, one message each: runs that were cut short, arms of one run only.

    Raises ValueError if one of them is no report.
    """
    found = [
        f"{each} was interrupted, and has a part of its rounds" for each in (before, after) if not is_complete(each)
    ]
    arms = [{trial.arm for trial in read_trials(each) if trial.facts["complete"]} for each in (before, after)]
    found += [f"{arm} was measured in {before}, and is missing in {after}" for arm in sorted(arms[0] - arms[1])]
    return found + [f"{arm} is in {after} only, and is not compared" for arm in sorted(arms[1] - arms[0])]


def judge_changes(before: Path, after: Path, changes: Sequence[Change], share: float) -> tuple[int, str]:
    """Return the exit code of --fail-if-worse, and the line that says why; empty if nothing is worse by that share.

    WORSE if an arm is. Else BROKEN where something that was measured before cannot be judged: an arm without a round or
    an interval in common, or a run after the change that is not complete. What is not judged has not passed.
    """
    if failed := [change.arm for change in changes if change.is_worse(share)]:
        return WORSE, f"worse by {share * 100:g} % or more: {', '.join(label(changes)[each] for each in failed)}"
    missing = sorted({trial.arm for trial in read_trials(before)} - {each.arm for each in changes})
    unknown = [f"{arm} has no round in both runs" for arm in missing]
    unknown += [f"{each.arm} has too few rounds for an interval" for each in changes if not each.is_judged]
    unknown += [] if is_complete(after) else [f"{after} was interrupted"]
    if unknown:
        return BROKEN, f"not known to be worse by less than {share * 100:g} %: {'; '.join(unknown)}"
    return GOOD, ""


def is_complete(directory: Path) -> bool:
    """Return whether a run was measured to its end."""
    return bool(read_run(directory).get("complete", True))


def text(before: Path, after: Path, changes: Sequence[Change], explain: bool = False) -> str:
    """Return what is printed: a table and a sentence for each arm, what is missing, and what the rows mean if asked."""
    parts, labels = [], label(changes)
    for change in changes:
        table = tables.comparison_table(change.comparisons)
        parts.append(f"{labels[change.arm]}: {before} against {after}\n{table}\n\n{write_sentence(change)}")
    if gaps := list_gaps(before, after):
        parts.append("\n".join(f"{each}." for each in gaps))
    return colour("\n\n".join([*parts, tables.EXPLANATION if explain else tables.LEGEND]))


def label(changes: Sequence[Change]) -> dict[str, str]:
    """Return what the arms are called: with their workload, and with the client's mode where there are several."""
    return label_arms((change.arm for change in changes), workload=True)


def write_sentence(change: Change) -> str:
    """Return what happened to the arm; its name stands above."""
    sentence = change.sentence.removeprefix(f"{change.arm}: ")
    return sentence[0].upper() + sentence[1:]


def document(before: Path, after: Path, changes: Sequence[Change], differing: Sequence[str]) -> dict:
    """Return what is printed as JSON can hold it: the two runs, what differs, and each arm's rows and sentence."""
    arms = {
        change.arm: {"sentence": change.sentence, "comparisons": [row.as_dict() for row in change.comparisons]}
        for change in changes
    }
    return {"before": str(before), "after": str(after), "differences": list(differing), "arms": arms}


def write_page(before: Path, after: Path, changes: Sequence[Change], differing: Sequence[str], into: Path) -> Path:
    """Write NAME into a directory, which is made where it is missing, and return its path. Raises OSError."""
    into.mkdir(parents=True, exist_ok=True)
    run, trials = read_run(after), read_trials(after)
    named = label_arms((trial.arm for trial in trials), workload=True)
    labels = label(changes)
    shown = {
        labels[change.arm]: {
            "sentence": write_sentence(change),
            "compared": page.forest(labels[change.arm], [row.as_dict() for row in change.comparisons]),
        }
        for change in changes
    }
    banners = [("The runs are not of one setting.", f"{each}.") for each in differing]
    banners += [("The comparison is not whole.", f"{each}.") for each in list_gaps(before, after)]
    return html.write(
        into,
        html.Page(
            run=run,
            question=f"What changed from {before} to {after}?",
            subject="before and after",
            banners=provenance.list_banners(run, banners, wants_stand_ins=False, sources={}),
            sections=[Section(render(TEMPLATE, changes=shown))],
            trials=[(trial, named[trial.arm]) for trial in trials],
            by_folder=False,
            note=Markup("The trials after the change; those before it are listed in the other run's report."),
            schedules={},
        ),
        NAME,
    )


def parse_share(value: str) -> float:
    """Read `10%` or `0.1` as a share.

    Raises ValueError, in one line, for what is none above 0, and for a number of 1 or more without a per cent sign.
    """
    number, percent = value.removesuffix("%"), value.endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 100:
        raise ValueError(f"--fail-if-worse takes a share above 0, as 10% or 0.1, not {value!r}")
    if share >= 1 and not percent:
        raise ValueError(f"--fail-if-worse={value} would be {share * 100:g} %: write {value}% or {share / 100:g}")
    return share


def list_arms(trials: Sequence[Trial]) -> str:
    """List the arms of these trials, with commas; `none` without any."""
    return ", ".join(sorted({trial.arm for trial in trials})) or "none"
