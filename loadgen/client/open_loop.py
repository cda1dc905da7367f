"""Offers a schedule to an arm and records what happened, one sample per due time.

The pacer is a thread of its own. It sleeps until each *absolute* due time and hands the arrival to the workers
without waiting for anything: a slow request does not push the next ones, nor does whatever else the process does.
"""

import dataclasses
import gc
import sys
import time
from _queue import Empty, SimpleQueue
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import gevent
import numpy as np

from loadgen.arm import Arm
from loadgen.client.worker_threads import Client, Workers, allocate_lock, start_thread
from loadgen.clock import prompt, sleep_until
from loadgen.interrupts import held
from loadgen.samples.journal import Journal
from loadgen.samples.sample import FAILED, RECORD, STATUSES, UNFINISHED, Sample
from workloads.payloads import Payload

ENDED = "the run ended first"
POLL = 0.05  # seconds between two collections of what has finished
gevent.hub.Hub.NOT_ERROR = (*gevent.hub.Hub.NOT_ERROR, KeyboardInterrupt)  # who catches Ctrl-C says so, not the hub
SWITCH = 0.0002  # seconds after which a thread that computes in Python lets the pacer have its turn


def pace(dues: Iterable[int], fire: Callable[[int], None], until: Callable[[int], None]) -> None:
    """Call fire(i) at each due time in order; late ones at once, none skipped.

    `until` sleeps to an instant, or not at all if it has passed. Deadlines are absolute: an overrun is not
    carried into the next gap, and the pace never drifts.
    """
    for index, due in enumerate(dues):
        until(due)
        fire(index)


@contextmanager
def undisturbed():
    """The interpreter, without what holds up its threads: a garbage collection that looks through all that was ever
    imported takes a tenth of a second, a turn of a computing thread 5 ms. See gc.freeze and sys.setswitchinterval."""
    switch = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(switch)


class Over(Exception):
    """The run has ended before its schedule."""


class OpenLoop:
    """One arm driven by one schedule against the server at `url`.

    `record` is called once per arrival that was fired, in the order in which they finish, by the greenlet that
    called `run`, within POLL seconds; the journal, if there is one, is written at once. `timeout` is the deadline
    of one request in seconds, from when it is sent; it is also how long the end of a run waits for stragglers.
    """

    def __init__(
        self,
        arm: Arm,
        url: str,
        record: Callable[[Sample], None],
        timeout: float = 30.0,
        journal: Journal | None = None,
    ):
        self.arm, self.url, self.record, self.timeout, self.journal = arm, url, record, timeout, journal
        self.fired = 0
        self.hub_stall = 0.0
        """The longest time in seconds that the collection of samples was late: something blocked the event loop."""
        self.cpu = 0.0
        """CPU seconds of this process from the start of the schedule to the last answer."""
        self._open: dict[int, Sample] = {}
        self._finished: SimpleQueue[Sample] = SimpleQueue()
        self._failure: Exception | None = None
        self._over = self._paced = False
        self._lock = allocate_lock()

    def run(
        self,
        dues: np.ndarray,
        order: np.ndarray,
        payloads: Sequence[Payload],
        start: int | None = None,
        indices: range | None = None,
    ) -> None:
        """Offer request i with payloads[order[i]] at dues[i] seconds after `start` (monotonic ns; default now).

        `indices` are the arrivals that are this process's; default all. Returns when every one has its sample. If
        it is interrupted (a stopped test, Ctrl-C), arrivals without an answer are recorded as unfinished, and what
        was never fired goes only into the journal, before the exception goes on. Raises OSError if the journal does.
        """
        mine = range(len(dues)) if indices is None else indices
        workers = Workers(Client(self.arm, self._now), self.url, self.timeout, self._finish)
        try:
            with undisturbed():
                cpu = time.process_time()
                self._start = time.monotonic_ns() if start is None else start
                start_thread(self._pace, (dues, order, payloads, mine, workers))
                try:
                    self._collect(lambda: self._paced and not self._open, self._end(dues))
                finally:
                    self.cpu = time.process_time() - cpu
        finally:
            with held():
                self._over = True
                workers.close()
                self._give_up()
                if self.journal and not self._failure:
                    self.journal.extend(never_fired(dues, order, mine[self.fired :]), ENDED)

    def _now(self) -> int:
        return time.monotonic_ns() - self._start

    def _pace(self, dues, order, payloads, mine, workers) -> None:
        def fire(position: int) -> None:
            index = mine[position]
            payload = int(order[index])
            sample = Sample(index, payload, round(dues[index] * 1e9))
            self._open[index] = sample
            self.fired = position + 1
            sample.fired = self._now()
            workers.put(sample, payloads[payload])

        prompt()
        try:
            pace((round(dues[index] * 1e9) for index in mine), fire, self._until)
        except Over:
            pass
        except Exception as error:  # of a worker's making, e.g. no more threads: run() raises it
            self._failure = error
        self._paced = True

    def _until(self, due: int) -> None:
        if not sleep_until(self._start + due, lambda: self._over):
            raise Over

    def _finish(self, sample: Sample) -> None:
        """Once: a late answer to a request already given up changes nothing, nor the loss of its connection then."""
        if (self._over and sample.status == FAILED) or self._open.pop(sample.index, None) is None:
            return
        try:
            if self.journal and not self._failure:
                self.journal.write(sample)
        except OSError as error:
            self._failure = error
        self._finished.put(sample)

    def _collect(self, complete: Callable[[], bool], end: float) -> None:
        """Hand on what has finished until all has, or nothing more is waited for."""
        seen = time.monotonic()
        while not complete() and time.monotonic() < end and not self._failure:
            gevent.sleep(POLL)
            now = time.monotonic()
            self.hub_stall = max(self.hub_stall, now - seen - POLL)
            seen = now
            self._hand_on()
        self._hand_on()
        if self._failure:
            raise self._failure

    def _hand_on(self) -> None:
        for sample in self._arrived():
            self.record(sample)

    def _arrived(self) -> Iterator[Sample]:
        while True:
            try:
                yield self._finished.get_nowait()
            except Empty:
                return

    def _end(self, dues: np.ndarray) -> float:
        """When waiting ends, on the monotonic clock: a deadline after the last due time, and a second of grace."""
        last = dues[-1] if len(dues) else 0
        return self._start / 1e9 + last + self.timeout + 1

    def _give_up(self) -> None:
        """Of what was fired and has no answer, a copy is recorded: a thread may still be writing to the sample."""
        for index, sample in list(self._open.items()):
            if self._open.pop(index, None) is not None:
                given_up = dataclasses.replace(sample, status=UNFINISHED, reason=ENDED, done=0)
                if self.journal and not self._failure:
                    self.journal.write(given_up)
                self.record(given_up)
        self._hand_on()


def never_fired(dues: np.ndarray, order: np.ndarray, indices: Sequence[int]) -> np.ndarray:
    """The records of arrivals whose time did not come."""
    records = np.zeros(len(indices), RECORD)
    chosen = np.asarray(indices, dtype=np.int64)
    records["index"], records["payload"] = chosen, order[chosen]
    records["due"] = np.round(dues[chosen] * 1e9)
    records["status"] = STATUSES.index(UNFINISHED)
    return records
