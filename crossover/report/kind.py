"""What the report needs to know of an experiment, and how it makes the figures and the page of a run from its trials.

A report is a fold over what lies in a run's directory, so it can be made again from there at any time.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from common import atomic_write
from crossover.analysis.wording import join
from crossover.measurement.pooled_rules import list_own_findings, list_pooled_rules
from crossover.measurement.run_directory import read_run, read_run_trials
from crossover.measurement.trial import Trial
from crossover.report import gpu, html, provenance, shares
from crossover.report.format import label_arms
from crossover.report.html import Section
from crossover.report.terminal import colour

GOOD, BROKEN, USAGE, MEASUREMENT, WORSE = 0, 1, 2, 3, 4
"""Exit codes of every experiment, beside INTERRUPTED (130): good; arrivals unanswered, or something broke; wrong usage;
only the measurement is at fault, as on a machine that was too busy; worse than --fail-if-worse allows."""

Trials = Sequence[Trial]


Banners = list[tuple[str, str]]
"""(what is wrong, what it means), shown loudly at the top of a page."""


def do_not_rely(arms: Collection[str]) -> str:
    """Return the meaning of INVALID trials of these arms where nothing else is known."""
    return f"Do not rely on the figures of {', '.join(arms)}; the report's table of trials says what to change."


def warn_of_invalid(
    trials: Trials,
    meaning: Callable[[Collection[str]], str] = do_not_rely,
    pooled: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Banners:
    """Return one banner for the INVALID trials, with the rules that they break; none without any.

    What a single trial breaks of `pooled`, as `list_pooled_rules` returns it, is no fault. `meaning` takes the labels
    of the arms whose trials are INVALID.
    """
    own = [(trial, list_own_findings(trial, pooled)) for trial in trials]
    invalid = [trial for trial, findings in own if findings]
    if not invalid:
        return []
    rules = ", ".join(dict.fromkeys(finding["rule"] for _, findings in own for finding in findings))
    count = f"{len(invalid)} of {len(trials)} trials {'is' if len(invalid) == 1 else 'are'} INVALID ({rules})."
    labels = label_arms((trial.arm for trial in trials), workload=True)
    return [(count, meaning(list(dict.fromkeys(labels[trial.arm] for trial in invalid))))]


def warn_of_arms(arms: Sequence[tuple[str, Sequence[Mapping]]]) -> Banners:
    """Return one banner for the arms that broke a rule over all their rounds; none without any.

    `arms` holds (name, findings as `pooled_rules.find_faults` gives them), the names as `Trial.arm` has them.
    """
    labels = label_arms((name for name, _ in arms), workload=True)
    faults = [
        (labels[name], f"{fault['rule']}: {fault['measured']} ({fault['limit']}); {fault['change']}.")
        for name, findings in arms
        for fault in findings
        if fault["round"] is None
    ]
    if not faults:
        return []
    names = list(dict.fromkeys(name for name, _ in faults))
    texts = [f"{text[0].upper()}{text[1:]}" if len(faults) == 1 else f"{name}: {text}" for name, text in faults]
    return [(f"{join(names)} {'is' if len(names) == 1 else 'are'} INVALID.", " ".join(texts))]


WIDER = "Intervals may be too narrow: stop the other programs and measure again."


def warn_of_noise(names: Sequence[str], meaning: str = WIDER) -> Banners:
    """Return one banner that the machine was not quiet while it measured these workloads; none without any."""
    if not names:
        return []
    what = f"The machine was not quiet while it measured {' and '.join(names)}."
    return [(what, meaning)]


def worst(result: Any, trials: Trials) -> int:
    """Return the exit code where all trials should be VALID: BROKEN for unanswered arrivals, else MEASUREMENT."""
    if any(trial.unanswered for trial in trials):
        return BROKEN
    return GOOD if all(trial.valid for trial in trials) else MEASUREMENT


@dataclass(frozen=True)
class Kind:
    """One kind of experiment, as its report sees it: each has one, in its result.py, and the catalogue lists them.

    `result` below is the content of its JSON file, `trials` are the run's trials.
    """

    name: str
    """As in run.json, and in its directory's name."""
    title: str
    """The heading of its section."""
    question: str
    """The heading of its page."""
    file: str
    """Its result, in its directory."""
    leaves: str
    """What a run leaves in its directory, in words."""
    fold: Callable[[Path, dict, Trials], Any]
    """(directory, run.json, its trials) -> result; it writes nothing."""
    text: Callable[..., str]
    """(result, explain=False) -> the result as it is printed, with the long legend if it is to be explained."""
    verdicts: Callable[[Any], list[str]]
    """The sentences that say what was found: all that --quiet prints, beside warnings."""
    sections: Callable[[dict, Any, Trials], list[Section]]
    """(run.json, result, trials) -> its sections; other experiments on its page stand after the first."""
    ask: Callable[[Any], str] | None = None
    """result -> the heading of its page, where that depends on what was measured; None: `question`."""
    exit_code: Callable[[Any, Trials], int] = worst
    banners: Callable[[Any, Trials], Banners] = lambda result, trials: warn_of_invalid(trials)
    """(result, trials) -> what of them must not be overlooked."""
    note: Callable[[Trials], Markup] = lambda trials: Markup("Its folder says what was measured.")
    """What one must know to read the table of trials."""
    advise: Callable[[Any, Path], list[str]] = lambda result, directory: []
    """(result, directory) -> lines with the command that would decide what is undecided."""
    by_folder: bool = True
    """Whether the table of trials names their folders; else their arms, which all have the same schedules."""
    judges_arms: bool = False
    """Whether rules that take more than a trial's few arrivals are judged over all rounds of an arm."""
    has_loads: bool = False
    """Whether an arm's trials have loads of their own, which no figure may mix."""
    has_trials: bool = True
    """Whether its figures come from trials: then there is no page without one."""
    shows_gpu: bool = False
    """Whether its own tables have what requests cost the GPU; else a table of that is added where there is one."""
    wants_stand_ins: bool = False
    """Whether stand-in weights are part of the experiment; else a banner warns of them."""
    draw: Callable[[Any, Path], None] = lambda result, into: None
    """(result, directory) -> nothing: saves its plots as files of their own in that directory."""

    def warnings(self, result: Any, trials: Trials) -> list[str]:
        """Return the banners as lines of a terminal, which --quiet prints, too."""
        return [f"{what} {meaning}" for what, meaning in self.banners(result, trials)]

    def write_output(self, result: Any, trials: Trials, explain: bool = False) -> str:
        """Return what a terminal shows: the warnings, then figures and verdict. It never says less than --quiet."""
        warnings = [colour("\n".join(found))] if (found := self.warnings(result, trials)) else []
        split = shares.text(shares.list_shares(trials, self.has_loads))
        tables = [table for table in (split, gpu.text(self.list_gpu_use(trials))) if table]
        return "\n\n".join([*warnings, *tables, self.text(result, explain=explain)])

    def list_gpu_use(self, trials: Trials) -> list[tuple[str, dict]]:
        """Return what each arm cost the GPU, as far as this experiment's own tables do not say it."""
        return [] if self.shows_gpu else gpu.list_use(trials, self.has_loads)

    def has_figures(self, result: Any, trials: Trials) -> bool:
        """Return whether anything was measured."""
        return bool(trials or (result and not self.has_trials))


def write_report(
    kind: Kind, directory: Path, others: Sequence[tuple[Kind, Path]] = (), into: Path | None = None
) -> tuple[Any, Trials]:
    """Make figures, plots and report.html of the run in a directory; returns the result and the trials.

    `others` are runs of other experiments that the page shows, too. All is written into `into`, by default into the
    run's own directory: another one is made as soon as there is something to write. Without anything measured nothing
    is written, and the result is None where it comes from trials. Raises ValueError if a directory is no report,
    OSError.
    """
    run = read_run(directory)
    result, trials = fold(kind, directory, run)
    # A page without figures would only look like a result.
    if not kind.has_figures(result, trials):
        return result, trials
    into = into or directory
    into.mkdir(parents=True, exist_ok=True)
    write_result(kind, result, into)
    shown = {other.name: list_sections(other, place, run, into) for other, place in others}
    write_page(kind, directory, run, result, trials, shown, into)
    return result, trials


def fold(kind: Kind, directory: Path, run: dict) -> tuple[Any, Trials]:
    """Return the result of a run and its trials; None and none where it comes from trials and there are none.

    `run` is the content of run.json. Raises ValueError if the directory is no report, OSError.
    """
    trials = read_run_trials(directory, run)
    if kind.has_trials and not (trials and run.get("workloads", True)):
        return None, ()
    return kind.fold(directory, run, trials), trials


def write_result(kind: Kind, result: Any, into: Path) -> None:
    """Write a result as JSON, and its plots, into a directory. Raises OSError."""
    atomic_write.write_json(into / kind.file, result)
    kind.draw(result, into)


def write_page(
    kind: Kind,
    directory: Path,
    run: dict,
    result: Any,
    trials: Trials,
    shown: Mapping[str, Sequence[Section]],
    into: Path | None = None,
) -> None:
    """Write report.html of a run. Raises OSError.

    Args:
        kind: What kind of experiment it is.
        directory: Where the run lies.
        run: The content of run.json.
        result: The content of its JSON file; without any the page has only trials and provenance.
        trials: Those that its table lists.
        shown: The sections of other runs, by experiment, to stand after its first section.
        into: The directory of the page, by default the run's own.
    """
    first, *further = kind.sections(run, result, trials) if result else [Section(Markup())]
    labels = label_arms((trial.arm for trial in trials), workload=True)
    page = html.Page(
        run=run,
        question=kind.ask(result) if kind.ask and result else kind.question,
        subject=kind.name if kind.by_folder else ", ".join(dict.fromkeys(trial.workload for trial in trials)),
        banners=provenance.list_banners(
            run,
            kind.banners(result, trials),
            wants_stand_ins=kind.wants_stand_ins,
            sources={name: found for name, sections in shown.items() if sections and (found := sections[0].source)},
        ),
        sections=[
            first,
            *shares.list_sections(shares.list_shares(trials, kind.has_loads)),
            *gpu.list_sections(kind.list_gpu_use(trials)),
            *(section for sections in shown.values() for section in sections),
            *further,
        ],
        trials=[
            (trial, folder(trial, directory) if kind.by_folder else labels[trial.arm])
            for trial in sort_as_shown(trials, run)
        ],
        by_folder=kind.by_folder,
        pooled=list_pooled_rules(trials) if kind.judges_arms else {},
        note=kind.note(trials),
        schedules={} if kind.by_folder else list_schedules(trials),
    )
    html.write(into or directory, page)


def sort_as_shown(trials: Trials, run: dict) -> Trials:
    """Return the trials with their workloads in the order of run.json, which is that of the sections."""
    names = list(run.get("workloads", ()))
    return sorted(trials, key=lambda trial: names.index(trial.workload) if trial.workload in names else len(names))


def list_sections(kind: Kind, directory: Path, shown_in: dict, into: Path) -> list[Section]:
    """Return the sections of a run that is shown on the page of another, and write its result into `into`.

    `shown_in` is the other's run.json. Empty if nothing was measured. Raises ValueError if it is no report, OSError.
    """
    run = read_run(directory)
    result, trials = fold(kind, directory, run)
    if not result or not kind.has_figures(result, trials):
        return []
    write_result(kind, result, into)
    source = provenance.source(directory, shown_in, run)
    return [replace(section, source=source) for section in kind.sections(run, result, ())]


def describe_interruption(directory: Path) -> list[str]:
    """Return a line for the terminal if the run was interrupted. Raises ValueError if the directory is no report."""
    if read_run(directory)["complete"]:
        return []
    return [f"{directory} was interrupted: what follows is what was measured until then."]


def folder(trial: Trial, directory: Path) -> str:
    """Return where a trial lies in its run's directory: `image/image-client-async1`."""
    return str(trial.path.parent.relative_to(directory))


def list_schedules(trials: Trials) -> dict[str, list[Trial]]:
    """Return workload -> one trial of each schedule that it was offered."""
    # All arms of a round have the same schedule, unless something went wrong: one trial stands for all.
    distinct = {(trial.workload, trial.round, trial.schedule): trial for trial in trials}
    names = dict.fromkeys(trial.workload for trial in trials)
    return {name: [trial for (workload, *_), trial in distinct.items() if workload == name] for name in names}
