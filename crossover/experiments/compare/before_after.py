"""Two runs beside each other, before and after a change: what is printed, the page and the exit code.

`run_pair.compare_directories` compares them. For --fail-if-worse there are `parse_share` and `judge_changes`.
"""

from pathlib import Path

from markupsafe import Markup

from common import atomic_write
from crossover.analysis.before_after import Change
from crossover.experiments.compare import page, tables
from crossover.experiments.compare.run_pair import Compared
from crossover.measurement.pooled_rules import list_pooled_rules
from crossover.report import html, locust_pair, provenance
from crossover.report.format import label_arms
from crossover.report.html import Section, render
from crossover.report.kind import BROKEN, GOOD, WORSE
from crossover.report.terminal import colour

NAME = "before-after.html"
TEMPLATE = Path(__file__).with_name("before_after.html.j2")


def judge_changes(found: Compared, share: float) -> tuple[int, str]:
    """Return the exit code of --fail-if-worse, and the line that says why; empty if nothing is worse by that share.

    WORSE if an arm is. Else BROKEN where something that was measured before cannot be judged: an arm without a round or
    an interval in common, or a run after the change that is not complete. What is not judged has not passed.
    """
    if failed := [change.arm for change in found.changes if change.is_worse(share)]:
        return WORSE, f"worse by {share * 100:g} % or more: {', '.join(found.labels[each] for each in failed)}"
    compared = {arm for each in found.changes for arm in (each.arm, *each.arms)}
    missing = sorted({trial.arm for trial in found.before.trials} - compared)
    unknown = [f"{arm} has no round in both runs" for arm in missing]
    unknown += [f"{each.arm} has too few rounds for an interval" for each in found.changes if not each.is_judged]
    unknown += [] if found.after.is_complete else [f"{found.after.directory} was interrupted"]
    if unknown:
        return BROKEN, f"not known to be worse by less than {share * 100:g} %: {'; '.join(unknown)}"
    return GOOD, ""


def text(found: Compared, explain: bool = False) -> str:
    """Return what is printed: a table and a sentence for each arm, what is missing, and what the rows mean if asked."""
    parts, (before, after) = [], (found.before.directory, found.after.directory)
    for change in found.changes:
        table = tables.comparison_table(change.comparisons)
        parts.append(f"{found.labels[change.arm]}: {before} against {after}\n{table}\n\n{write_sentence(change)}")
    if found.gaps:
        parts.append("\n".join(f"{each}." for each in found.gaps))
    return colour("\n\n".join([*parts, tables.EXPLANATION if explain else tables.LEGEND]))


def write_sentence(change: Change) -> str:
    """Return what happened to the arm; its name stands above."""
    sentence = change.sentence.removeprefix(f"{change.arm}: ")
    return sentence[0].upper() + sentence[1:]


def document(found: Compared) -> dict:
    """Return what is printed as JSON can hold it: the two runs, what differs, and each arm's rows and sentence."""
    arms = {
        change.arm: {"sentence": change.sentence, "comparisons": [row.as_dict() for row in change.comparisons]}
        for change in found.changes
    }
    runs = {"before": str(found.before.directory), "after": str(found.after.directory)}
    return {**runs, "differences": list(found.differing), "arms": arms}


def write_page(found: Compared, into: Path) -> Path:
    """Write NAME into a directory, which is made where it is missing, and return its path. Raises OSError."""
    into.mkdir(parents=True, exist_ok=True)
    atomic_write.write(into / NAME, make_page(found))
    return into / NAME


def make_page(found: Compared, home: str = "") -> Markup:
    """Return the page of two runs; `home` is the address of the list of runs, for a link to it at the top."""
    before, after = found.before, found.after
    shown = {
        found.labels[change.arm]: {
            "sentence": write_sentence(change),
            "compared": page.forest(found.labels[change.arm], [row.as_dict() for row in change.comparisons]),
        }
        for change in found.changes
    }
    banners = [("The runs are not of one setting.", f"{each}.") for each in found.differing]
    lacking = "A run is INVALID." if before.is_of_locust else "The comparison is not whole."
    banners += [(lacking, f"{each}.") for each in found.gaps]
    body = render(TEMPLATE, changes=shown, of_locust=before.is_of_locust)
    question = f"What changed from {before.directory} to {after.directory}?"
    if before.is_of_locust:
        return locust_pair.make_page(question, banners, body, (before.trials[0], after.trials[0]), home)
    named = label_arms((trial.arm for trial in after.trials), workload=True)
    return html.make(
        html.Page(
            run=after.run,
            question=question,
            subject="before and after",
            banners=provenance.list_banners(after.run, banners, wants_stand_ins=False, sources={}),
            sections=[Section(body)],
            trials=[(trial, named[trial.arm]) for trial in after.trials],
            by_folder=False,
            pooled=list_pooled_rules(after.trials),
            note=Markup("The trials after the change; those before it are listed in the other run's report."),
            schedules={},
        ),
        home,
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
