"""Read two runs and compare them: two comparisons arm by arm, or two runs of Locust's with the same arrivals."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossover.analysis.before_after import Change, compare_runs
from crossover.measurement import compatibility, conditions
from crossover.measurement.pairs import Pairs, read_pairs
from crossover.measurement.run_directory import BENCH, describe_kind, read_locust_run, read_run
from crossover.measurement.trial import Trial, read_trials
from crossover.report import locust_pair
from crossover.report.format import label_arms


def check_distinct(directories: Sequence[Path]) -> None:
    """Raise ValueError, in one line, where two of these are the same directory."""
    known: dict[Path, Path] = {}
    for directory in directories:
        if (resolved := directory.resolve()) in known:
            raise ValueError(f"{known[resolved]} is given twice; a run is compared with another one")
        known[resolved] = directory


class NothingToCompare(Exception):
    """Two runs that may not be compared, or have nothing in common, in one line."""

    def __init__(self, text: str, can_be_forced: bool = False):
        """Take the line, and whether the two can be compared with `anyway`."""
        super().__init__(text)
        self.can_be_forced = can_be_forced


@dataclass(frozen=True)
class Side:
    """One of two runs, as it was read."""

    directory: Path
    run: dict
    """The content of run.json."""
    trials: Sequence[Trial]
    pairs: Mapping[str, Sequence[Pairs]]
    """Unloaded pairs by workload."""
    is_complete: bool
    """Whether it was measured to its end."""
    is_of_locust: bool = False

    @property
    def arms(self) -> set[str]:
        """The arms that have a trial which was measured to its end."""
        return {trial.arm for trial in self.trials if trial.facts["complete"]}


@dataclass(frozen=True)
class Compared:
    """Two runs and what happened to each arm that both have measured."""

    before: Side
    after: Side
    changes: Sequence[Change]
    differing: Sequence[str]
    """What differs beside what was changed on purpose, one message each."""

    @property
    def gaps(self) -> list[str]:
        """What the comparison lacks, one message each: runs that were cut short, arms of one run only, INVALID runs."""
        before, after = self.before, self.after
        if before.is_of_locust:
            return locust_pair.list_faults([*before.trials, *after.trials])
        found = [
            f"{each.directory} was interrupted, and has a part of its rounds"
            for each in (before, after)
            if not each.is_complete
        ]
        gone, new = sorted(before.arms - after.arms), sorted(after.arms - before.arms)
        found += [f"{arm} was measured in {before.directory}, and is missing in {after.directory}" for arm in gone]
        return found + [f"{arm} is in {after.directory} only, and is not compared" for arm in new]

    @property
    def labels(self) -> dict[str, str]:
        """What the arms are called: with their workload, and with the client's mode where there are several."""
        return label_arms((change.arm for change in self.changes), workload=True)


def read_side(directory: Path) -> Side:
    """Read one of two runs: a comparison's, or Locust's, which is one trial. Raises ValueError if it is neither."""
    if read_locust_run(directory) is not None:
        trial = locust_pair.read_trial(directory)
        return Side(directory, trial.summary, [trial], {}, trial.facts["complete"], is_of_locust=True)
    run = read_run(directory)
    if run["kind"] != BENCH:
        kind = describe_kind(run["kind"])
        raise ValueError(f"{directory} is of {kind}; give two comparisons, or two runs of Locust's")
    pairs = {name: read_pairs(directory, name) for name in run["workloads"]}
    return Side(directory, run, read_trials(directory), pairs, bool(run.get("complete", True)))


def compare_directories(before: Path, after: Path, anyway: bool = False) -> Compared:
    """Compare each arm of two comparisons with itself, or two runs of Locust's with the same arrivals.

    Runs that differ in more than what may be changed on purpose are compared with `anyway` only. Raises ValueError for
    what is no such run or is damaged, NothingToCompare, OSError.
    """
    check_distinct([before, after])
    first, second = read_side(before), read_side(after)
    if first.is_of_locust != second.is_of_locust:
        raise ValueError(f"one of {before} and {after} is Locust's; give two comparisons, or two runs of Locust's")
    differing = list_differences(first, second)
    changes = find_changes(first, second)
    nothing = "" if changes else f"nothing to compare: {explain_nothing(first, second)}"
    if differing and not anyway:
        # Only where there is something to compare does asking for it help.
        why = "; ".join(filter(None, [f"not comparable: {'; '.join(differing)}", nothing]))
        raise NothingToCompare(why, can_be_forced=bool(changes))
    if nothing:
        raise NothingToCompare(nothing)
    return Compared(first, second, changes, differing)


def list_differences(before: Side, after: Side) -> list[str]:
    """Return what differs between two runs beside what was changed on purpose: settings, load and conditions."""
    find = locust_pair.list_differences if before.is_of_locust else compatibility.list_differences
    return find(before.run, after.run) + conditions.list_changes(before.trials, after.trials)


def find_changes(before: Side, after: Side) -> list[Change]:
    """Return what happened to each arm that both runs have measured; two runs of Locust's may have different arms.

    Raises ValueError for a damaged file.
    """
    if before.is_of_locust:
        return locust_pair.compare(before.trials[0], after.trials[0])
    return compare_runs(before.trials, after.trials, before.run["workloads"], (before.pairs, after.pairs))


def explain_nothing(before: Side, after: Side) -> str:
    """Return why two runs have nothing that can be compared."""
    if before.is_of_locust:
        return locust_pair.explain_nothing(before.trials[0], after.trials[0])
    why = "no arm has a round of one schedule in both"
    arms = {each.directory: list_arms(each.trials) for each in (before, after)}
    if len(set(arms.values())) > 1:
        return f"{why}: " + "; ".join(f"{directory} has {own}" for directory, own in arms.items())
    directory, own = before.directory, arms[before.directory]
    command = f"crossover compare --like {shlex.quote(str(directory))}"
    return f"{why}: both have {own}, but other arrivals: {command} repeats them"


def list_arms(trials: Sequence[Trial]) -> str:
    """List the arms of these trials, with commas; `none` without any."""
    return ", ".join(sorted({trial.arm for trial in trials})) or "none"
