"""One run shared by several processes or machines, over Locust's own messages between master and workers.

Every worker derives the whole schedule and offers every count-th arrival from its index on: only a Poisson process
stays itself when it is split otherwise. What has finished travels to the master twice a second; until the
master has all of it, each worker keeps a journal of its own besides.
"""

import logging
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from operator import attrgetter

import gevent
import numpy as np
from gevent.event import Event

from loadgen.client.loop import ENDED
from loadgen.locust_plugin.run_recorder import Report
from loadgen.samples.journal import Journal
from loadgen.samples.sample import Sample
from loadgen.samples.validity import Facts, Validity

log = logging.getLogger("crossover")
INTERVAL = 0.5  # seconds between two shipments
LEAD = 3.0  # seconds from when workers are told to when they start: time to import and to build preprocessors
FIELDS = attrgetter(*(name for name in Sample.__slots__))


@dataclass(frozen=True)
class Share:
    """What the master tells a worker: which part is its own, when to start, what the run is called."""

    index: int
    count: int
    epoch: float  # seconds since 1970: machines' clocks differ, which moves a worker's whole share
    name: str

    @property
    def start(self) -> int:
        """On this machine's monotonic clock, in ns."""
        return time.monotonic_ns() + round((self.epoch - time.time()) * 1e9)


def journal_name(index: int) -> str:
    return f"worker-{index}.journal"


class Worker:
    """The worker's end. `share` waits for the next run."""

    def __init__(self, runner):
        self._runner, self._told, self._finished = runner, Event(), []
        self.journal: Journal | None = None
        """Until the master has everything that is in it."""
        runner.register_message("share", self._tell)
        runner.register_message("kept", self._kept)

    def _tell(self, environment, msg, **_) -> None:
        self._share = Share(**msg.data)
        self._told.set()

    def share(self) -> Share:
        self._told.wait()
        self._told.clear()
        self._shipping = gevent.spawn(self._ship_on)
        return self._share

    def _kept(self, environment, msg, **_) -> None:
        if self.journal:
            self.journal.remove()
            with suppress(OSError):
                self.journal.path.parent.rmdir()  # of another machine than the master's

    def record(self, sample: Sample) -> None:
        self._finished.append(FIELDS(sample))

    def over(self, facts: Facts) -> None:
        self._shipping.kill()
        self._ship()
        self._runner.send_message("over", asdict(facts))

    def _ship_on(self) -> None:
        while True:
            gevent.sleep(INTERVAL)
            self._ship()

    def _ship(self) -> None:
        finished, self._finished = self._finished, []
        if finished:
            self._runner.send_message("samples", finished)


class Master:
    """The master's end: shares a run out, gathers its samples, and knows whose are missing."""

    def __init__(self, runner):
        self._runner, self._report, self._waiting_for = runner, None, set()
        runner.register_message("samples", self._gather)
        runner.register_message("over", self._over)

    def start(self, report: Report) -> None:
        workers = list(self._runner.clients)
        settings = report.settings
        self._report, self._waiting_for, self._facts = report, set(workers), []
        self._workers, self._seen = workers, np.zeros(0 if settings.dues is None else len(settings.dues), bool)
        epoch = time.time() + LEAD
        for index, worker in enumerate(workers):
            share = Share(index, len(workers), epoch, report.directory.name)
            self._runner.send_message("share", asdict(share), worker)

    @property
    def finished(self) -> bool:
        """Has every worker that lives said it is over?"""
        return not self._waiting_for & self.alive

    @property
    def alive(self) -> set[str]:
        return {name for name, client in self._runner.clients.items() if client.state != "missing"}

    def _gather(self, msg, **_) -> None:
        if self._report is None:
            return
        for values in msg.data:
            sample = Sample(*values)
            if len(self._seen):
                if self._seen[sample.index]:
                    continue
                self._seen[sample.index] = True
            self._report.journal.write(sample)
            self._report.record(sample)

    def _over(self, msg, **_) -> None:
        if msg.node_id in self._waiting_for:
            self._waiting_for.discard(msg.node_id)
            self._facts.append(Facts(**msg.data))

    def stop(self, patience: float = 5.0) -> Validity | None:
        """Close the report, once. Workers that still offer load are stopped, and those that live get `patience` seconds
        to send their last samples."""
        if self._report is None:
            return None
        for worker in self._waiting_for & self.alive:
            self._runner.send_message("stop", None, worker)
        deadline = time.monotonic() + patience
        while not self.finished and time.monotonic() < deadline:
            gevent.sleep(0.05)
        report, self._report = self._report, None
        dead = [i for i, worker in enumerate(self._workers) if worker in self._waiting_for]
        self._account(report, dead)
        for index in dead:
            kept = report.directory / journal_name(index)
            log.warning("worker %d of %d ended without a word; its own journal: %s", index, len(self._workers), kept)
        facts = Facts(
            busiest(self._facts),
            max((facts.hub_stall for facts in self._facts), default=0.0),
            not dead and all(facts.complete for facts in self._facts),
            report.settings.dues is None,
        )
        verdict = report.close(facts)
        for worker in self.alive:
            self._runner.send_message("kept", None, worker)
        return verdict

    def _account(self, report: Report, dead: list[int]) -> None:
        """Every arrival that nobody told of is unfinished."""
        if (settings := report.settings).dues is None:
            return
        missing = np.flatnonzero(~self._seen)
        lost = np.isin(missing % max(1, len(self._workers)), dead)
        plan = settings.plan()
        for indices, reason in ((missing[lost], "its worker died"), (missing[~lost], ENDED)):
            report.journal.extend(plan.make_unsent_records(indices), reason)


def busiest(workers: list[Facts]) -> float | None:
    """The CPU share of the busiest cores: workers on the same ones add up. None: not known."""
    shares: dict[str, float] = {}
    for facts in workers:
        if facts.cpu_share is not None:
            shares[facts.cores] = shares.get(facts.cores, 0.0) + facts.cpu_share
    return max(shares.values(), default=None)
