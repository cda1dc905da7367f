"""One run shared by several processes or machines, over Locust's own messages between master and workers.

Every worker derives the whole schedule and offers every count-th arrival from its index on. Each arrival keeps its due
time, so the union is the schedule itself; generating a share separately on each worker would only work for a Poisson
process. Finished samples travel to the master twice a second; until the master has all of them, each worker keeps a
journal of its own as well.
"""

import logging
import platform
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from typing import Any, NoReturn

import gevent
import numpy as np
from gevent import GreenletExit
from gevent.event import Event
from locust import runners
from locust.dispatch import UsersDispatcher

from loadgen.client.loop import ENDED
from loadgen.locust_plugin.observers import EVERY, CpuClock
from loadgen.locust_plugin.options import Settings
from loadgen.locust_plugin.run_recorder import RunRecorder
from loadgen.metrics.worker_progress import WorkerProgress
from loadgen.samples.journal import Journal
from loadgen.samples.sample import Sample
from loadgen.samples.verdict import Facts, Validity
from loadgen.samples.worker_facts import combine
from workloads import payloads

log = logging.getLogger("crossover")
INTERVAL = 0.5  # seconds between two shipments of samples
LEAD = 3.0
"""Seconds between the message to the workers and the start: time to import libraries and build preprocessors."""
SILENCE = 15
"""Seconds without a heartbeat after which a worker counts as lost. Locust's own 3 pass while a worker on a busy machine
imports libraries, and such a run ended without an answer."""
OVERTIME = 60
"""Seconds after the last deadline of a request for which the master waits for a worker that says nothing of its end."""
SAME = "give all machines the same locustfile, files and version of Crossover"
FIELDS = attrgetter(*(name for name in Sample.__slots__))


@dataclass(frozen=True)
class Share:
    """What the master sends to a worker: which part to offer, when to start, and the run's name."""

    index: int
    count: int
    epoch: float
    """The start in seconds since 1970. Clocks of machines differ, which moves a worker's whole share."""
    name: str
    workload: str
    schedule: str | None
    """The digest of the master's due times; None for a closed loop."""
    payloads: str
    """The digest of the files that the master would send."""

    def compare(self, settings: Settings) -> None:
        """Raise ValueError, with one line, if a worker's settings are others than the master's.

        Both follow from the same options, but a trace or a directory of files may hold something else on each machine.
        """
        schedule = None if settings.schedule is None else settings.schedule.digest
        if schedule != self.schedule:
            raise ValueError(f"its arrivals are not the master's (schedule {schedule}, not {self.schedule}); {SAME}")
        if (own := payloads.digest(settings.payloads)) != self.payloads:
            raise ValueError(f"its payloads are not the master's (digest {own}, not {self.payloads}); {SAME}")

    @property
    def start(self) -> int:
        """The start on this machine's monotonic clock, in ns."""
        return time.monotonic_ns() + round((self.epoch - time.time()) * 1e9)


def name_fault(error: OSError) -> str:
    """Return the file and what is wrong with it, such as a full disk; or what is wrong with a replica."""
    if isinstance(error, ConnectionError):
        return str(error)
    return f"{error.filename or 'samples'}: {error.strerror or error}"


def journal_name(index: int) -> str:
    """Return the file name of a worker's own journal."""
    return f"worker-{index}.journal"


class OneUserEach(UsersDispatcher):
    """Gives each worker the one user that offers its share, for as long as the run lasts.

    Locust's own spreads as many users anew whenever a worker comes, goes or is heard again, and so takes from a worker
    the user that is offering a share.
    """

    def new_dispatch(self, target_user_count, spawn_rate, user_classes=None) -> None:
        """Begin to hand out users: one to each worker, whatever count is asked for."""
        super().new_dispatch(target_user_count, spawn_rate, user_classes)
        users = {user.__name__: 1 for user in self._user_classes}
        self._users_on_workers = {worker.id: users for worker in self._worker_nodes}
        self._dispatcher_generator = (self._users_on_workers for _ in range(1))

    def _prepare_rebalance(self) -> None:
        """Move no user."""


class Worker:
    """The worker's end: waits for its share, sends finished samples, and reports when it is done.

    Every message names the run that it is about: one that comes late, as from a process that was stopped for a while,
    is not taken for one about the run that goes on by then.
    """

    def __init__(self, runner, workload: str):
        """Register for the master's messages; `runner` is Locust's WorkerRunner; `workload` is its name."""
        self._runner, self._workload, self._has_share = runner, workload, Event()
        self._finished: list[tuple] = []
        self.journal: Journal | None = None
        """The journal of the present run, kept until the master has everything that is in it."""
        self.count_fired: Callable[[], int] = lambda: 0
        """Returns how many arrivals of the present run this worker has fired."""
        runner.register_message("share", self._receive_share)
        runner.register_message("received", self._remove_journal)

    def _receive_share(self, environment, msg, **_) -> None:
        try:
            self._share = Share(**msg.data)
        except TypeError:
            self._leave(environment, f"the master has another version of Crossover than this worker; {SAME}")
        if self._share.workload != self._workload:
            fault = (
                f"a worker on {platform.node()} sends {self._workload}, and the master {self._share.workload}; {SAME}"
            )
            self._send("share_done", asdict(Facts(None, 0.0, complete=False, cause=fault)))
            self._leave(environment, fault)
        self._has_share.set()

    def _leave(self, environment, fault: str) -> NoReturn:
        """End this process: what the master tells it to spawn would be another workload's, and Locust has none."""
        print(fault, file=sys.stderr)
        environment.process_exit_code = 2
        self._runner.greenlet.kill(block=True)
        raise GreenletExit  # not reached: this greenlet is one of those

    def wait_for_share(self) -> Share:
        """Wait for the share of the next run, and begin to send samples."""
        self._has_share.wait()
        self._has_share.clear()
        self.count_fired = lambda: 0
        self._greenlets = [gevent.spawn(self._ship_forever), gevent.spawn(self._tell_cpu_forever)]
        return self._share

    def _remove_journal(self, environment, msg, **_) -> None:
        if self.journal and self.journal.path.parent.name == msg.data:
            self.journal.remove()
            with suppress(OSError):
                self.journal.path.parent.rmdir()  # empty only on another machine than the master's

    def record(self, sample: Sample) -> None:
        """Take a finished sample; it is sent with the next shipment."""
        self._finished.append(FIELDS(sample))

    def report_end(self, facts: Facts) -> None:
        """Send the remaining samples and this process's facts: the share is done."""
        gevent.killall(self._greenlets)
        self._ship()
        self._send("share_done", asdict(facts))

    def _ship_forever(self) -> None:
        while True:
            gevent.sleep(INTERVAL)
            self._ship()

    def _tell_cpu_forever(self) -> None:
        clock = CpuClock()
        while True:
            gevent.sleep(EVERY)
            self._runner.send_message("cpu", (clock.cores, clock.read()))

    def _ship(self) -> None:
        finished, self._finished = self._finished, []
        if finished:
            self._send("samples", finished)
        self._send("fired", self.count_fired())

    def _send(self, kind: str, content: object) -> None:
        self._runner.send_message(kind, (self._share.name, content))


class Master:
    """The master's end: divides a run among the workers, gathers their samples, and notices which are missing.

    A worker that dies loses at most what it had not sent; its arrivals count as unfinished, and its journal stays.
    """

    def __init__(self, runner):
        """Register for the workers' messages; `runner` is Locust's MasterRunner."""
        self._runner = runner
        self._recorder: RunRecorder | None = None
        self._workers: list[str] = []
        self._waiting_for: set[str] = set()
        self._facts: list[Facts] = []
        self._lost: set[tuple[str, str]] = set()  # (run, worker)
        self._fault: OSError | None = None  # of the present run's journal
        self._progress = WorkerProgress(0)
        runners.HEARTBEAT_LIVENESS = SILENCE // runners.HEARTBEAT_INTERVAL
        runner.register_message("samples", self._gather)
        runner.register_message("share_done", self._receive_end)
        runner.register_message("cpu", self._receive_cpu)
        runner.register_message("fired", self._receive_fired)

    def start(self, recorder: RunRecorder) -> None:
        """Send every connected worker its share of the recorder's run. Raises OSError if run.json cannot be written."""
        settings = recorder.settings
        self._recorder, self._workers, self._facts = recorder, [], []
        self._fault = None
        # One that is missing may be dead, and Locust forgets it only a minute later.
        self._workers = [name for name in self._runner.clients if name in self.alive]
        self._waiting_for = set(self._workers)
        recorder.note_processes(len(self._workers))
        self._seen = np.zeros(0 if settings.dues is None else len(settings.dues), bool)
        self._deadline = time.monotonic() + LEAD + settings.seconds + settings.timeout + OVERTIME
        schedule = None if settings.schedule is None else settings.schedule.digest
        about = recorder.directory.name, settings.arm.workload.name, schedule, payloads.digest(settings.payloads)
        epoch = time.time() + LEAD
        self._progress = WorkerProgress(time.monotonic_ns() + round(LEAD * 1e9))
        recorder.metrics.begin(settings.dues, self._progress)
        # A start in the future, the same for all: workers that receive the message later start no later.
        for index, worker in enumerate(self._workers):
            share = Share(index, len(self._workers), epoch, *about)
            self._runner.send_message("share", asdict(share), worker)

    @property
    def finished(self) -> bool:
        """True if every worker that is alive has reported the end of its share, or should have long ago.

        True, too, if the disk takes no more samples.
        """
        return bool(self._fault) or not self._waiting_for & self.alive or time.monotonic() > self._deadline

    @property
    def alive(self) -> set[str]:
        """The names of the workers that Locust does not count as missing."""
        return {name for name, client in self._runner.clients.items() if client.state != "missing"}

    def count_workers(self) -> tuple[int, int]:
        """Return (workers that are alive, workers that fell silent during a run, also if they came back)."""
        if self._recorder:
            self._note_lost(self._recorder, self._waiting_for - self.alive)
        return len(self.alive), len(self._lost)

    def _note_lost(self, recorder: RunRecorder, workers: Iterable[str]) -> None:
        self._lost |= {(recorder.directory.name, worker) for worker in workers}

    def _read(self, message) -> Any:
        """Return what a worker says of the present run; None if it is about another, or of another version."""
        match message.data:
            case [run, content] if self._recorder and run == self._recorder.directory.name:
                return content
        return None

    def _receive_fired(self, msg, **_) -> None:
        if (count := self._read(msg)) is not None:
            self._progress.by_worker[msg.node_id] = count

    def _gather(self, msg, **_) -> None:
        if self._recorder is None:
            return
        for values in self._read(msg) or ():
            sample = Sample(*values)
            if len(self._seen):
                # Count no arrival twice. A closed loop's requests have no due times and are not checked.
                if self._seen[sample.index]:
                    continue
                self._seen[sample.index] = True
            self._record(self._recorder, sample)

    def _record(self, recorder: RunRecorder, sample: Sample) -> None:
        """Record a sample. The journal keeps what its disk does not take, and the run ends."""
        try:
            recorder.journal.write(sample)
        except OSError as error:
            if self._fault is None:
                log.error("%s; the run ends here", name_fault(error))
            self._fault = error
        recorder.record(sample)

    def _receive_end(self, msg, **_) -> None:
        if (facts := self._read(msg)) and msg.node_id in self._waiting_for:
            self._waiting_for.discard(msg.node_id)
            self._facts.append(Facts(**facts))

    def _receive_cpu(self, msg, **_) -> None:
        if self._recorder is not None and self._recorder.observers is not None:
            self._recorder.observers.shares[msg.node_id] = tuple(msg.data)

    def stop(self, patience: float = 30.0) -> Validity | None:
        """End the run and return its verdict; None if it has been ended already.

        Workers that still offer load are told to stop; those that are alive get `patience` seconds to send their last
        samples, which takes a busy machine more than 5.
        """
        if self._recorder is None:
            return None
        self._progress.end()
        for worker in self._waiting_for & self.alive:
            self._runner.send_message("stop", None, worker)
        deadline = time.monotonic() + patience
        while self._waiting_for & self.alive and time.monotonic() < deadline:
            gevent.sleep(0.05)
        recorder, self._recorder = self._recorder, None
        self._note_lost(recorder, self._waiting_for)
        dead = [i for i, worker in enumerate(self._workers) if worker in self._waiting_for]
        facts = combine(self._facts, dead, recorder.settings.dues is None)
        went_on = not self._facts or any(each.complete for each in self._facts)
        self._record_missing(recorder, dead, recorder.settings.seconds if went_on else facts.ended)
        for index in dead:
            path = recorder.directory / journal_name(index)
            log.warning("worker %d of %d fell silent; its own journal: %s", index, len(self._workers), path)
        if self._fault:
            facts = replace(facts, complete=False, cause=name_fault(self._fault))
        verdict = recorder.close(facts)
        for worker in self.alive:
            self._runner.send_message("received", recorder.directory.name, worker)
        return verdict

    def _record_missing(self, recorder: RunRecorder, dead: list[int], seconds: float) -> None:
        """Record arrivals due within `seconds` that no worker reported; `dead` are the indices of workers that died."""
        if (settings := recorder.settings).dues is None:
            return
        plan = settings.plan()
        for index in np.flatnonzero(~self._seen & (settings.dues <= seconds)).tolist():
            sample = plan.make_sample(index)
            # Worker i of n offers the arrivals i, i + n, i + 2n, ...
            sample.reason = "its worker died or was cut off" if index % max(1, len(self._workers)) in dead else ENDED
            self._record(recorder, sample)
