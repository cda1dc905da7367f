"""A run of Locust's as a report: its verdict, the outcomes, latency by stage, and plots over time.

It has one arm, and knows nothing of the server: so it is no trial of an experiment, and its page is its own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from common import atomic_write
from crossover.measurement.run_directory import read_locust_run
from crossover.report import html, locust_plots
from crossover.report.format import ms
from crossover.report.html import TEMPLATES, render
from crossover.report.terminal import Column, colour, draw_table
from loadgen.samples import journal, parquet
from loadgen.samples.early_stopping import highest_percentile
from loadgen.samples.replica_rule import describe_replicas
from loadgen.samples.sample import COMPLETED, STATUSES
from loadgen.samples.summary import last, summarise
from loadgen.samples.validity import judge
from loadgen.samples.verdict import INTERRUPTED, Facts, Finding, Validity

STAGES = {
    "latency": "latency from the due time",
    "wait": "… waiting for a worker",
    "prepare": "… preparing the input",
    "wire": "… from sending to the answer",
    "service": "service: prepare, send, answer",
    "dispatch_lag": "dispatch lag of the client",
}
"""Key of summary.json -> what it is called; the three after the first are parts of it."""
COLUMNS = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")
SUMMARY, SAMPLES, JOURNAL = "summary.json", "samples.parquet", "samples.journal"
NO_VERDICT = "its process ended before it had written a verdict"
WORKERS = "worker-*.journal"
"""The workers' own journals, which stay where their master was killed."""


@dataclass(frozen=True)
class LocustRun:
    """A run of Locust's, as it was read."""

    directory: Path
    summary: dict[str, Any]
    """The content of summary.json: the settings of run.json, the figures, `valid` and `findings`."""
    records: np.ndarray
    """One record per arrival, of dtype `loadgen.samples.sample.RECORD`."""

    @property
    def title(self) -> str:
        """What was offered, in a line: arm, arrivals, length, seed."""
        told = self.summary
        return f"{told['arm']}: {told['arrivals']} for {told['seconds']:g} s, seed {told['seed']}"

    @property
    def verdict(self) -> list[str]:
        """The verdict: VALID, or a line for each rule that is broken."""
        return str(self.validity).splitlines()

    @property
    def exit_code(self) -> int:
        """The exit code of the run: 0 where it is VALID."""
        return self.validity.exit_code

    @property
    def is_complete(self) -> bool:
        """Whether the run ended by itself; else it was stopped, or its process ended before it."""
        return all(found["rule"] != INTERRUPTED for found in self.summary["findings"])

    @property
    def validity(self) -> Validity:
        """The rules that the run broke."""
        return Validity(tuple(Finding(**found) for found in self.summary["findings"]))


def read(directory: Path, into: Path) -> LocustRun | None:
    """Read a run of Locust's; None if the directory is another kind's.

    A journal that a crash left is converted into `into`, and a summary that is missing is made: both are written there,
    nothing is written into the run. Raises ValueError if the directory is no run or has no samples, OSError.
    """
    run, described = load(directory), read_locust_run(directory)
    if run is None or described is None:
        return None
    into.mkdir(parents=True, exist_ok=True)
    if not (directory / SAMPLES).exists():
        parquet.write(*read_journals(directory), into / SAMPLES, described["payloads"], described)
    if not (directory / SUMMARY).exists():
        write(into, SUMMARY, run.summary)
    return run


def load(directory: Path) -> LocustRun | None:
    """Read a run of Locust's and write nothing; None if the directory is another kind's.

    Samples come from the journal, and the summary from them, where a crash left no others. Raises ValueError as `read`.
    """
    described = read_locust_run(directory)
    if described is None:
        return None
    finished = directory / SAMPLES
    records, reasons = parquet.load(finished)[:2] if finished.exists() else read_journals(directory)
    try:
        summary = json.loads((directory / SUMMARY).read_text())
    except FileNotFoundError:
        summary = summarise_unfinished(described, records, reasons)
    except ValueError as error:
        raise ValueError(f"{directory / SUMMARY} is damaged: {error}") from None
    return LocustRun(directory, summary, records)


def read_journals(directory: Path) -> tuple[np.ndarray, list[str]]:
    """Read the samples that a crash left: (records, texts of their reasons), each sample once.

    A master that was killed had not got all that its workers had finished: their journals have the rest. Raises
    ValueError if there is no journal, or a file is none.
    """
    paths = [directory / JOURNAL, *sorted(directory.glob(WORKERS))]
    if not paths[0].exists():
        raise ValueError(f"{directory} has no samples: neither {SAMPLES} nor {JOURNAL}")
    for path in paths:
        journal.check(path)
    return journal.merge(paths)


def summarise_unfinished(described: dict, records: np.ndarray, reasons: Sequence[str]) -> dict:
    """Return summary.json of a run that has left none, from run.json and its samples: INVALID, as it was cut short.

    Its rates go by the time until the last sample. Where no percentile was asked for, it is the highest that so many
    arrivals allow, as in a run that ends well.
    """
    result = summarise(records, cut_short(records, described["seconds"]), reasons)
    percentile = described["percentile"] or highest_percentile(len(records))
    verdict = judge(result, Facts(None, 0.0, complete=False, cause=NO_VERDICT), percentile)
    return {**described, "percentile": percentile, **result, **verdict.as_dict()}


def cut_short(records: np.ndarray, seconds: float) -> float:
    """Return how many of the schedule's seconds an interrupted run lasted: until the last thing that a sample saw."""
    return min(max(last(records[each]) for each in ("due", "fired", "done")), seconds) or seconds


def list_latencies(summary: dict) -> list[tuple[str, list[str]]]:
    """Return (what it is, mean, percentiles and maximum in ms) of latency and its stages, for a table."""
    return [(words, [ms(summary[key][column]) for column in COLUMNS]) for key, words in STAGES.items()]


def describe_rates(summary: dict) -> str:
    """Return offered, sent and completed requests per second, in a line."""
    return (
        f"offered {summary['offered']:.4g}/s, sent {summary['sent_rate']:.4g}/s, completed {summary['achieved']:.4g}/s"
    )


def write_page(run: LocustRun, into: Path) -> Path:
    """Write report.html of a run into a directory, and return its path. Raises OSError."""
    return write(into, html.NAME, make_page(run))


def make_page(run: LocustRun) -> Markup:
    """Return report.html of a run."""
    done = run.records["status"] == STATUSES.index(COMPLETED)
    seconds = run.summary["seconds"] if run.is_complete else cut_short(run.records, run.summary["seconds"])
    return render(
        TEMPLATES / "locust_run.html.j2",
        run=run,
        summary=run.summary,
        rows=list_latencies(run.summary),
        columns=COLUMNS,
        rates=describe_rates(run.summary),
        over_time=locust_plots.over_time(run.records, "latency over time") if done.any() else "",
        histogram=locust_plots.histogram(run.records, "histogram of latency") if done.any() else "",
        load=locust_plots.load(run.records, seconds, "arrivals and answers per second") if len(run.records) else "",
    )


def write(into: Path, name: str, content: Any) -> Path:
    """Write a file, a dict as JSON, into a directory that is made where it is missing; return its path."""
    into.mkdir(parents=True, exist_ok=True)
    path = into / name
    if isinstance(content, dict):
        atomic_write.write_json(path, content)
    else:
        atomic_write.write(path, content)
    return path


def text(run: LocustRun) -> str:
    """Return what is printed of a run: what was offered, the verdict, the outcomes, and a table of latencies."""
    columns = [Column("ms", left=True), *map(Column, COLUMNS)]
    table = draw_table(columns, [[words, *values] for words, values in list_latencies(run.summary)])
    outcomes = f"outcomes: {html.outcomes(run.summary['books'])}; {describe_rates(run.summary)}"
    replicas = [describe_replicas(run.summary["replicas"])] if run.summary.get("replicas") else []
    return colour("\n".join([run.title, *run.verdict, outcomes, *replicas, "", table]))
