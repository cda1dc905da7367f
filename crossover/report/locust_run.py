"""A run of Locust's as a report: its verdict, the outcomes, latency by stage, and plots over time.

It has one arm, and knows nothing of the server: so it is no trial of an experiment, and its page is its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from common import atomic_write, plain_file
from crossover.measurement.run_directory import read_locust_run
from crossover.report import html, locust_plots, shares
from crossover.report.format import ms
from crossover.report.html import TEMPLATES, render
from crossover.report.killed_run import NO_VERDICT, Remains, cut_short, read_remains, summarise_remains
from crossover.report.terminal import Column, colour, draw_table
from loadgen.samples import parquet
from loadgen.samples.replica_rule import describe_replicas
from loadgen.samples.sample import COMPLETED, STATUSES
from loadgen.samples.summary import summarise_shares
from loadgen.samples.verdict import INTERRUPTED, Finding, Validity

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
SUMMARY, SAMPLES = "summary.json", "samples.parquet"


@dataclass(frozen=True)
class LocustRun:
    """A run of Locust's, as it was read."""

    directory: Path
    summary: dict[str, Any]
    """The content of summary.json: the settings of run.json, the figures, `valid` and `findings`."""
    records: np.ndarray
    """One record per arrival, of dtype `loadgen.samples.sample.RECORD`."""
    reasons: Sequence[str]
    """The texts that the records count in."""

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


def read(directory: Path, into: Path, journals: Sequence[Path] = ()) -> LocustRun | None:
    """Read a run of Locust's; None if the directory is another kind's.

    Journals that a crash left, also `journals` of workers on other machines, are converted into `into`, and a summary
    that is missing is made: both are written there, nothing is written into the run. Raises ValueError if the directory
    is no run, has no samples, or has all of them and takes no journals; OSError.
    """
    run, described = load(directory, journals), read_locust_run(directory)
    if run is None or described is None:
        return None
    into.mkdir(parents=True, exist_ok=True)
    if not (directory / SAMPLES).exists():
        parquet.write(run.records, run.reasons, into / SAMPLES, described["payloads"], described)
    if not (directory / SUMMARY).exists():
        write(into, SUMMARY, run.summary)
    return run


def load(directory: Path, journals: Sequence[Path] = ()) -> LocustRun | None:
    """Read a run of Locust's and write nothing; None if the directory is another kind's.

    Where a crash left none, samples come from the journals, and the summary from them. Raises ValueError as `read`.
    """
    described = read_locust_run(directory)
    if described is None:
        return None
    finished = directory / SAMPLES
    if finished.exists():
        if journals:
            raise ValueError(f"{directory} has the samples of all its workers: give it without {journals[0]}")
        records, reasons, _ = parquet.load(finished)
        remains = Remains(records, reasons, NO_VERDICT)
    else:
        remains = read_remains(directory, described, journals)
    try:
        summary = plain_file.read_json(directory / SUMMARY)
    except FileNotFoundError:
        summary = summarise_remains(described, remains)
    return LocustRun(directory, summary, remains.records, remains.reasons)


def list_latencies(summary: dict) -> list[tuple[str, list[str]]]:
    """Return (what it is, mean, percentiles and maximum in ms) of latency and its stages, for a table."""
    return [(words, [ms(summary[key][column]) for column in COLUMNS]) for key, words in STAGES.items()]


def list_shares(run: LocustRun) -> list[tuple[str, dict]]:
    """Return (arm, its shares by preparer) of a placement that splits its arrivals; none of others.

    Locust's process computes for its page as well: nobody knows what of its CPU a share has taken.
    """
    split = summarise_shares(run.records)
    return [(run.summary["arm"], split)] if split else []


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
        shares=shares.make_body(split) if (split := list_shares(run)) else "",
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
    split = shares.text(list_shares(run))
    if lossy := run.summary.get("loses"):
        outcomes += f"\n{run.summary['arm']} loses something: {lossy}."
    below = ["", split] if split else []
    return colour("\n".join([run.title, *run.verdict, outcomes, *replicas, "", table, *below]))
