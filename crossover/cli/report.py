"""`crossover report`: a run's report from what it has left, two runs beside each other, or a run of Locust's.

Nothing is written into what is read: the pages, and the figures as JSON, go into a directory of their own.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from crossover.cli import options
from crossover.experiments.catalogue import EXPERIMENTS, find_kind
from crossover.experiments.compare import before_after
from crossover.experiments.compare.run_pair import NothingToCompare, check_distinct, compare_directories
from crossover.measurement.run_directory import BENCH, describe_kind, read_locust_run, read_run
from crossover.report import locust_run
from crossover.report.html import NAME
from crossover.report.kind import BROKEN, GOOD, USAGE, describe_interruption, write_report
from loadgen.command import INTERRUPTED
from loadgen.samples import journal, parquet

JOURNAL = ".journal"
WRONG_PATH = {errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EPERM}


class NothingMeasured(Exception):
    """A run has no figures."""


@dataclass(frozen=True)
class Answer:
    """What there is to print of the runs."""

    text: str
    result: Any
    """The same as JSON can hold it."""
    verdict: list[str]
    """Its sentences alone."""
    code: int = GOOD
    warning: str = ""
    """For standard error."""
    warnings: Sequence[str] = ()
    """What must not be overlooked of the runs; the text says it, too."""


@click.command()
@click.argument("runs", nargs=-1, required=True, type=Path, metavar="RUN...")
@click.option("--output", "-o", metavar="DIR", type=Path, help="For page and figures; default: reports/RUN-report.")
@click.option("--anyway", is_flag=True, help="Compare two runs of different machines, weights or loads, too.")
@click.option(
    "--fail-if-worse",
    metavar="10%",
    default="",
    help="With two runs: exit code 4 if an arm is that much slower.",
)
@options.explain
@options.output
def report(
    runs: tuple[Path, ...],
    output: Path | None,
    anyway: bool,
    fail_if_worse: str,
    explain: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Make a run's report again, or compare two runs. A RUN is the directory that a command left.

    \b
    report A          figures and page of a run: an experiment's, or Locust's
    report A B        two comparisons: each arm before and after a change; or two of Locust's
    report A C ...    a comparison, with other experiments in its page
    report A *.journal    a run of Locust's that was killed, with the journals of its workers on other machines

    Nothing is written into RUN, which may lie in a read-only archive. A run of Locust's that was killed has journals
    instead of its samples: those in its folder are merged, with those that you give. Journals alone become one file of
    samples. The exit code of a run is the one that it ended with: 3 if it is INVALID, 130 if it
    was interrupted.
    """  # noqa: D301 -- click reads the control character
    with options.usage_errors(), options.result_only(as_json, quiet) as show:
        try:
            share = before_after.parse_share(fail_if_worse) if fail_if_worse else None
            into = choose_output(runs, output)
            answer = answer_for(runs, into, anyway, share, explain)
        except NothingToCompare as error:
            hint = "; --anyway compares them nevertheless" if error.can_be_forced else ""
            options.print_error(f"{error}{hint}")
            return BROKEN
        except NothingMeasured as error:
            options.print_error(error)
            return BROKEN
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            options.print_error(f"{where}{error.strerror or error}")
            return USAGE if error.errno in WRONG_PATH else BROKEN
        # A file of a trial or of a result that lacks what this version looks for; run.json is checked when it is read.
        except (KeyError, TypeError) as error:
            places = " or ".join(map(str, runs))
            options.print_error(f"a file of {places} is damaged: it lacks or has wrong: {error}")
            return BROKEN
        print(answer.text)
        if answer.warning:
            options.print_error(answer.warning)
        both = {"verdict": answer.verdict, "warnings": list(answer.warnings)}
        written = {"directory": str(into), **both, "result": answer.result, "exit_code": answer.code}
        show(written, "\n".join([*answer.warnings, *answer.verdict]))
        return answer.code


def choose_output(runs: Sequence[Path], output: Path | None) -> Path:
    """Return where page and figures go. Raises ValueError if that is a run, or lies in one that is read."""
    read = [each.resolve() for each in runs]
    into = output or Path("reports") / f"{'-'.join(each.name.removesuffix(JOURNAL) for each in read)}-report"
    inside = into.resolve()
    # What is no run is refused by whoever reads it.
    runs_read = [each for each in read if (each / "run.json").exists() or each.suffix == JOURNAL]
    if (inside / "run.json").exists() or any(each == inside or each in inside.parents for each in runs_read):
        where = f"-o {into} is a run, or lies" if output else f"{into}, where the page would go, is a run, or lies"
        raise ValueError(f"{where} in one that is read; give another directory{'' if output else ' with -o'}")
    return into


def answer_for(runs: Sequence[Path], into: Path, anyway: bool, share: float | None, explain: bool) -> Answer:
    """Write the page of these runs into a directory, and return what there is to print, with the long legend if asked.

    `share` is that of --fail-if-worse. Raises ValueError for runs that do not fit together, NothingMeasured, OSError.
    """
    journals = [each for each in runs if each.suffix == JOURNAL]
    if len(journals) == len(runs) and share is None:
        return recover(journals, into)
    if runs[0] not in journals and len(journals) == len(runs) - 1 and share is None and is_of_locust(runs[0]):
        return show_locust_run(runs[0], into, journals)
    check_distinct(runs)
    if len(runs) == 2 and all(is_of_locust(each) for each in runs):
        return compare_runs(runs[0], runs[1], into, anyway, share)
    kinds = {each: read_run(each)["kind"] for each in runs}
    comparisons = [each for each, kind in kinds.items() if kind == BENCH]
    others = [each for each, kind in kinds.items() if kind != BENCH]
    too_many = len(comparisons) > 2 or (len(comparisons) == 2 and others)
    if too_many or len({kinds[each] for each in others}) < len(others):
        wanted = "one run, two comparisons, or one run with other experiments that its page is to show"
        given = ", ".join(sorted(map(describe_kind, kinds.values())))
        raise ValueError(f"give {wanted}, one of each kind; not {given}")
    if len(comparisons) == 2:
        return compare_runs(comparisons[0], comparisons[1], into, anyway, share)
    if share is not None:
        raise ValueError("--fail-if-worse compares two runs of `crossover compare`: give both directories")
    return show_run([*comparisons, *others], into, explain)


def is_of_locust(run: Path) -> bool:
    """Return whether a directory is a run of Locust's. Raises ValueError if it is no run."""
    return read_locust_run(run) is not None


def show_run(runs: Sequence[Path], into: Path, explain: bool) -> Answer:
    """Write figures and page of the first run; its page shows the others, too. Raises NothingMeasured."""
    directory, *others = runs
    kind = find_kind(read_run(directory)["kind"])
    found = [(find_kind(read_run(each)["kind"]), each) for each in others]
    found.sort(key=lambda pair: list(EXPERIMENTS).index(pair[0].name))
    result, trials = write_report(kind, directory, found, into)
    if not kind.has_figures(result, trials):
        raise NothingMeasured(f"{directory}: nothing was measured, so there is no report of it")
    interrupted = describe_interruption(directory)
    shown = [*interrupted, kind.write_output(result, trials, explain)]
    parts = [*shown, f"the page: {into / NAME}", *kind.advise(result, directory)]
    code, warnings = kind.exit_code(result, trials), [*interrupted, *kind.warnings(result, trials)]
    if interrupted and code != BROKEN:
        code = INTERRUPTED
    return Answer("\n\n".join(parts), result, kind.verdicts(result), code, warnings=warnings)


def compare_runs(before: Path, after: Path, into: Path, anyway: bool, worse: float | None) -> Answer:
    """Compare two runs, and write a page of it.

    With `worse`, the share of --fail-if-worse, the code is what `judge_changes` says. Raises NothingToCompare if the
    two may not be compared and `anyway` is not set, or have nothing in common.
    """
    found = compare_directories(before, after, anyway)
    page = before_after.write_page(found, into)
    differing = "; ".join(found.differing)
    warnings = [f"compared nevertheless, but not of one setting: {differing}"] if differing else []
    code, why = before_after.judge_changes(found, worse) if worse is not None else (GOOD, "")
    warnings += [why] if why else []
    return Answer(
        f"{before_after.text(found)}\n\nthe page: {page}",
        before_after.document(found),
        [change.sentence for change in found.changes],
        code,
        "; ".join(warnings),
    )


def show_locust_run(directory: Path, into: Path, journals: Sequence[Path]) -> Answer:
    """Write the page of a run of Locust's, with what workers' journals of other machines add to one that was killed.

    Raises ValueError if it has no samples, or a journal is not of this run.
    """
    run = locust_run.read(directory, into, journals)
    assert run is not None
    page = locust_run.write_page(run, into)
    return Answer(f"{locust_run.text(run)}\n\nthe page: {page}", run.summary, run.verdict, run.exit_code)


def recover(paths: Sequence[Path], into: Path) -> Answer:
    """Write the samples of journals, which the ended processes of one run left behind, as one Parquet file.

    Raises ValueError if one is no journal.
    """
    for path in paths:
        journal.check(path)
    beside = [each for each in paths if each.with_name("run.json").exists()]
    described = (read_locust_run(beside[0].parent) if beside else None) or {}
    into.mkdir(parents=True, exist_ok=True)
    target, (records, reasons) = into / f"{paths[0].stem}.parquet", journal.merge(paths)
    samples = parquet.write(records, reasons, target, described.get("payloads", ()), described)
    return Answer(f"the samples: {samples}", {"samples": str(samples)}, [str(samples)])
