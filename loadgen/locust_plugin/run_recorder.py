"""Record one run: a directory with its samples, its summary and its verdict, and a few lines in the log."""

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from common import atomic_write, machine
from common.figures import significant
from loadgen import interrupts
from loadgen.client.loop import Loop
from loadgen.locust_plugin.console import log
from loadgen.locust_plugin.live_view import LiveRun, describe_findings
from loadgen.locust_plugin.observers import Observers
from loadgen.locust_plugin.options import Settings
from loadgen.metrics import exporter
from loadgen.samples import journal, parquet
from loadgen.samples.early_stopping import PERCENTILES, highest_percentile, required_requests
from loadgen.samples.replica_rule import describe_replicas
from loadgen.samples.sample import COMPLETED, Sample, format_counts
from loadgen.samples.summary import summarise
from loadgen.samples.validity import judge
from loadgen.samples.verdict import Facts, Validity


@dataclass
class Meter:
    """Measures what this process spends from `wall` on: now, or a later start of the schedule."""

    wall: float = field(default_factory=time.monotonic)
    """Seconds on the monotonic clock."""
    cpu: float = field(default_factory=time.process_time)

    def facts(self, loop: Loop, complete: bool, cause: str, closed: bool) -> Facts:
        """Return the facts by which the loop's run is judged; its CPU share is of the cores it may use."""
        wall = max(time.monotonic() - self.wall, 1e-9)
        cores = sorted(os.sched_getaffinity(0))
        share = (time.process_time() - self.cpu) / wall / len(cores)
        at = f"{platform.node()} {cores}"
        return Facts(share, loop.hub_stall, complete, cause, loop.ended, closed=closed, cores=at)


class RunRecorder:
    """Records a run in the process that shows it: the only one, or the master.

    `journal` takes every sample at once and is what survives a crash; `close` turns it into a Parquet file.
    """

    def __init__(self, settings: Settings, reports: str, lead: float = 0.0):
        """Make a directory under `reports`, write run.json, and begin a row in the live view.

        The run starts `lead` seconds from now. Raises OSError if the directory cannot be written, or, as its kind
        ConnectionError, if replicas are to be counted and one does not tell its requests.
        """
        self._replicas = settings.find_replicas()
        self.settings = settings
        self.directory = Path(reports) / f"{make_timestamp()}-{settings.arm.slug}"
        self.observers: Observers | None = None
        """What else is measured, once `observe` has been called."""
        self._description = {**settings.describe(), "machine": machine.identify()}
        self.journal = journal.Journal(self.directory / "samples.journal")
        start = time.monotonic_ns() + round(lead * 1e9)
        # run.json is there from the start, so that a run that crashes can be read with its journal.
        atomic_write.write_json(self.directory / "run.json", self._description)
        shown = {"arrivals": str(settings.process), "seed": settings.seed}
        self._live = LiveRun.begin(str(settings.arm), settings.dues, settings.seconds, start, **shown)
        self._live.directory = self.directory
        self.metrics = exporter.find_arm(settings.arm)
        lasts = f"for {settings.seconds:g} s, seed {settings.seed}"
        schedule = f", schedule {settings.schedule.digest}" if settings.schedule else ""
        log.info("%s: %s %s%s", settings.arm, settings.process, lasts, schedule)
        for line in settings.unprotected:
            log.warning("!! %s", line)
        if self._description["trace"]:
            log.info("%s", self._description["trace"])

    def note_processes(self, count: int) -> None:
        """Note in run.json how many workers share the run, each with a journal of its own. Raises OSError."""
        self._description["processes"] = count
        atomic_write.write_json(self.directory / "run.json", self._description)

    def observe(self, url: str, own: bool) -> None:
        """Measure beside the samples, until `close`, what the charts show: see `observers.Observers`."""
        self.observers = Observers(self._live, url, self.settings.arm.workload.steps, own)

    def record(self, sample: Sample) -> None:
        """Show a finished sample in the live view and in the metrics."""
        self._live.add(sample)
        self.metrics.add(sample)

    @interrupts.defer_interrupts()
    def close(self, facts: Facts) -> Validity:
        """Write summary and Parquet file, log the verdict and return it.

        Raises OSError if the disk is full; the journal then stays.
        """
        seconds = self.settings.seconds
        stopped = facts.ended if not facts.complete and facts.ended < seconds else None
        if self.observers:
            self.observers.stop()
        self._live.end(stopped=stopped, broken=bool(facts.cause))
        self.journal.close()
        records, reasons = self.journal.read()
        result = summarise(records, stopped or seconds, reasons)
        self._live.settle(result["latency"])
        # Only the schedule knows how many arrivals were due, also if none of them was sent.
        due = None if self.settings.schedule is None else len(self.settings.schedule)
        cause = facts.cause or f"stopped after {facts.ended:.0f} of {seconds:g} s"
        counts = self._replicas.count() if self._replicas else None
        facts = replace(facts, cause=cause, due=due, steady=self.settings.process.steady, replicas=counts)
        arrivals = result["books"][COMPLETED] if due is None else due
        percentile = self.settings.percentile or highest_percentile(arrivals)
        verdict = judge(result, facts, percentile)
        self.metrics.end(verdict)
        words = f"VALID up to p{percentile:g}"
        self._live.validity = verdict
        self._live.verdict = words if verdict.valid else describe_findings(verdict)
        for line in describe_result(result, percentile, facts.closed):
            log.info("%s", line)
        if counts is not None:
            log.info("%s", describe_replicas(counts))
            result["replicas"] = counts
        why = ", as was asked for" if self.settings.percentile else explain_percentile(percentile, arrivals)
        log.info("%s", f"{words}{why}" if verdict.valid else verdict)
        description = {**self._description, "percentile": percentile}
        atomic_write.write_json(self.directory / "summary.json", {**description, **result, **verdict.as_dict()})
        samples = self.journal.path, description["payloads"], description, (records, reasons)
        try:
            log.info("samples: %s", parquet.to_parquet(*samples))
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(f"{why}, so that they stay in {self.journal.path}; `crossover report` reads them") from None
        return verdict


def describe_result(result: Mapping, percentile: float, closed: bool) -> list[str]:
    """Return lines that say what became of the arrivals, and how long the answers took up to a percentile, in ms.

    `result` is a summary of `summary.summarise`; a closed loop has no due times, so that it cannot be late.
    """
    lines = [f"books: {format_counts(result['books'])}"]
    latency, lag = result["latency"], result["dispatch_lag"]["p99"]
    if latency["p50"] is not None:
        names = [*(f"p{q:g}" for q in PERCENTILES if q <= max(50, percentile)), "max"]
        figures = ", ".join(f"{name} {significant(latency[name])}" for name in names)
        lines.append(f"latency{'' if closed else ' from the due time'}, ms: {figures}")
    if not closed and lag is not None:
        rates = f"{result['offered']:.4g} arrivals/s, {result['achieved']:.4g} answers/s"
        lines.append(f"{rates}; 99 % of the requests were sent at most {significant(lag)} ms late")
    return lines


def explain_percentile(percentile: float, arrivals: int) -> str:
    """Say why the verdict vouches for no higher percentile: it would take more arrivals."""
    higher = next((q for q in PERCENTILES if q > percentile), None)
    takes = f" (p{higher:g} takes {required_requests(higher)})" if higher else ""
    return f", the highest percentile that {arrivals} arrivals allow{takes}"


def make_timestamp() -> str:
    """Return the present time in UTC, to the millisecond, as the beginning of a directory's name."""
    return datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S.%f")[:-3]
