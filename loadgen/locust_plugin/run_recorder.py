"""Record one run: a directory with its samples, its summary and its verdict, and a few lines in the log."""

import logging
import os
import platform
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from common import atomic_write
from loadgen import interrupts
from loadgen.client.loop import Loop
from loadgen.locust_plugin.live_view import LiveRun
from loadgen.locust_plugin.options import Settings
from loadgen.samples import journal, parquet
from loadgen.samples.sample import Sample, format_counts
from loadgen.samples.summary import summarise
from loadgen.samples.validity import Facts, Validity, judge

log = logging.getLogger("crossover")


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

        The run starts `lead` seconds from now. Raises OSError if the directory cannot be written.
        """
        self.settings = settings
        self.directory = Path(reports) / f"{make_timestamp()}-{settings.arm.slug}"
        self.journal = journal.Journal(self.directory / "samples.journal")
        self._description = settings.describe()
        start = time.monotonic_ns() + round(lead * 1e9)
        # run.json is there from the start, so that a run that crashes can be read with its journal.
        atomic_write.write_json(self.directory / "run.json", self._description)
        self._live = LiveRun.begin(str(settings.arm), settings.dues, settings.seconds, start)
        log.info("%s  %s  schedule %s", settings.arm, settings.process, self._description["schedule"])
        if self._description["trace"]:
            log.info("%s", self._description["trace"])

    def record(self, sample: Sample) -> None:
        """Show a finished sample in the live view."""
        self._live.add(sample)

    @interrupts.defer_interrupts()
    def close(self, facts: Facts) -> Validity:
        """Write summary and Parquet file, log the verdict and return it.

        Raises OSError if the disk is full; the journal then stays.
        """
        seconds = self.settings.seconds
        stopped = facts.ended if not facts.complete and facts.ended < seconds else None
        self._live.end(stopped=stopped)
        self.journal.close()
        records, reasons = journal.read(self.journal.path)
        result = summarise(records, stopped or seconds, reasons)
        # Only the schedule knows how many arrivals were due, also if none of them was sent.
        due = None if self.settings.schedule is None else len(self.settings.schedule)
        cause = facts.cause or f"stopped after {facts.ended:.0f} of {seconds:g} s"
        facts = replace(facts, cause=cause, due=due, steady=self.settings.process.steady)
        verdict = judge(result, facts, self.settings.percentile)
        log.info("books: %s", format_counts(result["books"]))
        if result["latency"]["p50"] is not None:
            figures = ", ".join(f"{name} {result['latency'][name]:.2f}" for name in ("p50", "p95", "p99"))
            lag = result["dispatch_lag"]["p99"]
            log.info("latency from the due time, ms: %s; dispatch lag p99 %.2f ms", figures, lag)
        for line in str(verdict).splitlines():
            log.log(logging.INFO if verdict.valid else logging.WARNING, line)
        description = self._description
        atomic_write.write_json(self.directory / "summary.json", {**description, **result, **verdict.as_dict()})
        log.info("samples: %s", parquet.to_parquet(self.journal.path, description["payloads"], description))
        return verdict


def make_timestamp() -> str:
    """Return the present time in UTC, to the millisecond, as the beginning of a directory's name."""
    return datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S.%f")[:-3]
