"""Make reports again from what runs have left: one, one that shows others, or two comparisons beside each other.

    python -m loadgen.report reports/20261123-201500                       # its figures and report.html anew
    python -m loadgen.report reports/before reports/after                  # the same arm before and after a change
    python -m loadgen.report reports/before reports/after --fail-if-worse 10%    # the same, with exit code 4
    python -m loadgen.report reports/20261123-201500 reports/*-capacity    # the experiment, in the comparison's page

A directory is a comparison's (bench), or of another experiment: capacity, crossover, efficiency or study.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossover.experiments.catalogue import EXPERIMENTS, find_kind
from crossover.experiments.compare import before_after
from crossover.measurement.run_directory import BENCH, read_run
from crossover.measurement.trial import read_trials
from crossover.report.kind import BROKEN, GOOD, USAGE, WORSE, write_report


class NothingMeasured(Exception):
    """A run has no figures."""


def write(directory: Path, others: Sequence[Path] = ()) -> Any:
    """Make the figures and the page of a run anew; its page shows `others`, too. Returns the figures.

    Raises ValueError if that is no report, NothingMeasured, OSError.
    """
    kinds = {each: find_kind(read_run(each)["kind"]) for each in others}
    in_order = sorted(kinds, key=lambda each: list(EXPERIMENTS).index(kinds[each].name))
    kind = find_kind(read_run(directory)["kind"])
    result, trials = write_report(kind, directory, [(kinds[each], each) for each in in_order])
    if not kind.has_figures(result, trials):
        raise NothingMeasured(f"{directory}: nothing was measured, so there is no report of it")
    return result


def text(directory: Path, result: Any) -> str:
    """Write what is printed of a run whose figures are `result`."""
    kind = find_kind(read_run(directory)["kind"])
    return "\n\n".join([kind.text(result), *kind.advise(result, directory)])


def compare_runs(before: Path, after: Path, anyway: bool, worse: float | None) -> int:
    """Print each arm of two comparisons against itself, and write a page of it; returns the exit code.

    BROKEN if the two may not be compared and `anyway` is not set, or have no arm in common; WORSE if an arm's latency
    is worse by the share `worse`, if that is given.
    """
    for directory in (before, after):
        write(directory)
    differing = before_after.list_differences(before, after)
    if differing and not anyway:
        print(f"not comparable (--anyway compares them nevertheless): {'; '.join(differing)}", file=sys.stderr)
        return BROKEN
    if differing:
        print(f"compared nevertheless, but not of one setting: {'; '.join(differing)}", file=sys.stderr)
    if not (changes := before_after.find_changes(before, after)):
        have = "; ".join(f"{each} has {before_after.list_arms(read_trials(each))}" for each in (before, after))
        print(f"nothing to compare: no arm has a round of one schedule in both: {have}", file=sys.stderr)
        return BROKEN
    print("\n" + before_after.text(before, after, changes))
    print(f"\nthe page: {before_after.write_page(before, after, changes, differing)}")
    if worse is not None and (failed := [change.arm for change in changes if change.is_worse(worse)]):
        print(f"worse by {worse * 100:g} % or more: {', '.join(failed)}", file=sys.stderr)
        return WORSE
    return GOOD


def main() -> int:
    """Run `python -m loadgen.report`. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.report", description="Make reports from their samples.")
    meaning = "one to evaluate again, two to compare, or one with the experiments that its report is to show"
    parser.add_argument("directories", nargs="+", type=Path, help=meaning)
    parser.add_argument("--anyway", action="store_true", help="compare reports of different machines, weights, ...")
    worse = "with two: exit with 4 if an arm's latency is worse by that much, certainly worse at all"
    parser.add_argument("--fail-if-worse", metavar="10%%", default="", help=worse)
    options = parser.parse_args()
    try:
        share = before_after.parse_share(options.fail_if_worse) if options.fail_if_worse else None
        kinds = {each: read_run(each)["kind"] for each in options.directories}
        comparisons = [each for each, kind in kinds.items() if kind == BENCH]
        others = {each: kind for each, kind in kinds.items() if kind != BENCH}
        too_many = len(comparisons) > 2 or (len(comparisons) == 2 and others)
        if too_many or len(set(others.values())) < len(others):
            raise ValueError(f"give {meaning}, one of each kind; not {', '.join(sorted(kinds.values()))}")
        if len(comparisons) == 2:
            before, after = comparisons
            return compare_runs(before, after, options.anyway, share)
        if share is not None:
            raise ValueError("--fail-if-worse compares two runs of bench: give both directories")
        # The others are written first, as the comparison's page shows what they have found.
        results = {each: write(each) for each in others}
        results = {each: write(each, list(others)) for each in comparisons} or results
        print("\n\n".join(text(each, result) for each, result in results.items()))
    except ValueError as error:
        print(error, file=sys.stderr)
        return USAGE
    except NothingMeasured as error:
        print(error, file=sys.stderr)
        return BROKEN
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(where + str(error.strerror or error), file=sys.stderr)
        return BROKEN
    # A file of a trial or of a result that lacks what this version looks for; run.json is checked when it is read.
    except (KeyError, TypeError) as error:
        places = " or ".join(map(str, options.directories))
        print(f"a file of {places} is damaged: it lacks or has wrong: {error}", file=sys.stderr)
        return BROKEN
    return GOOD
