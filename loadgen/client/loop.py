"""What the open and the closed loop have in common: one life of a run, and exactly one sample for each arrival."""

import dataclasses
import gc
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile

from common import real_threads
from loadgen.arm import Arm
from loadgen.client.plan import Plan
from loadgen.clock import sleep_until
from loadgen.interrupts import defer_interrupts
from loadgen.samples.journal import Journal
from loadgen.samples.sample import FAILED, UNFINISHED, Sample

ENDED = "the run ended first"
NOT_BEGUN = -1
POLL = 0.05  # seconds between two collections of what has finished
SWITCH_INTERVAL = 0.0002  # seconds after which a thread that computes in Python lets the pacer have its turn


@contextmanager
def pause_gc():
    """Keep the interpreter from holding up its threads.

    The garbage collector does not look through what is imported so far, which takes a tenth of a second, and a
    computing thread gives way after 0.2 ms instead of 5. See gc.freeze and sys.setswitchinterval.
    """
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(switch_interval)


class Over(Exception):
    """The run has ended before the instant that a thread slept for."""


class Loop(ABC):
    """An arm that is driven against the server at `url`; the subclasses decide when it sends.

    `record` is called once for each arrival that was fired, in the order in which they finish, within POLL seconds, by
    the thread that called `run`; the journal, if there is one, is written at once by the thread that finished the
    request. `timeout` is the deadline of one request in seconds from when it is sent; the end of a run waits as long
    for requests in flight. `sleep(seconds)` waits between two collections: where greenlets must run meanwhile it is
    gevent's, and an exception that it raises ends the run as Ctrl-C does.
    """

    fired = 0
    """How many arrivals of the plan have been handed to the workers."""

    def __init__(
        self,
        arm: Arm,
        url: str,
        record: Callable[[Sample], None],
        timeout: float = 30.0,
        journal: Journal | None = None,
        sleep: Callable[[float], object] = real_threads.sleep,
    ):
        self.arm, self.url, self.record, self.timeout, self.journal = arm, url, record, timeout, journal
        self.hub_stall = 0.0
        """The longest time in seconds that a collection was late: something kept the calling thread, under Locust its
        event loop, from running."""
        self.ended = 0.0
        """Seconds from the start of the schedule to the end of the run."""
        self.cpu = 0.0
        """CPU seconds of this process from the start of the schedule to the last answer."""
        self._own_cpu = 0.0  # of these, the collecting thread's
        self._sleep = sleep
        self._start = NOT_BEGUN  # of the schedule, in ns of the monotonic clock
        self._open: dict[int, Sample] = {}  # fired and not finished; the thread that pops a sample records it
        self._finishing: set[int] = set()  # indices that a thread moves from `_open` to `_finished` at this moment
        self._finished: real_threads.SimpleQueue[Sample] = real_threads.SimpleQueue()  # on the way to `record`
        self._failure: Exception | None = None  # of another thread, for `run` to raise
        self._over = False  # nothing more is sent, and connections are closed
        self._lock = real_threads.Lock()

    def run(self, plan: Plan) -> None:
        """Carry the plan out. Return when every arrival has its sample.

        If the run is interrupted (a stopped test, Ctrl-C), arrivals that were due and have no answer are recorded as
        unfinished before the exception goes on; those to come have no sample. Raises OSError if the journal does.
        """
        self._prepare(plan)
        try:
            with pause_gc():
                start = plan.find_start()
                cpu, own_cpu = time.process_time(), time.thread_time()
                self._start = start
                self._start_threads(plan)
                try:
                    self._collect(self._start / 1e9 + self._last_due(plan) + self.timeout + 1)
                finally:
                    self.cpu, self._own_cpu = time.process_time() - cpu, time.thread_time() - own_cpu
        finally:
            with defer_interrupts():
                self._over = True
                self._close()
                self._give_up(plan)

    @property
    def elapsed(self) -> int:
        """The run's time in ns: 0 before the schedule begins, and constant once the run is over."""
        if self.ended:
            return round(self.ended * 1e9)
        return 0 if self._start == NOT_BEGUN else max(0, self._now())

    @abstractmethod
    def _prepare(self, plan: Plan) -> None:
        """Make what no request shall pay for: preprocessors and connections."""

    @abstractmethod
    def _start_threads(self, plan: Plan) -> None:
        """Start to send; the run's clock has begun."""

    @abstractmethod
    def _is_complete(self) -> bool:
        """Return whether nothing more will be fired and everything that was fired has finished."""

    @abstractmethod
    def _last_due(self, plan: Plan) -> float:
        """Return when the last arrival may be due, in seconds from the start."""

    @abstractmethod
    def _close(self) -> None:
        """End the threads, and wake those that wait for an answer."""

    def _now(self) -> int:
        return time.monotonic_ns() - self._start

    def _sleep_until(self, instant: int) -> None:
        """Sleep until that many ns after the start. Raises Over if the run ends before."""
        if not sleep_until(self._start + instant, lambda: self._over):
            raise Over

    def _finish(self, sample: Sample) -> None:
        """Record each sample once.

        What arrives after the run gave it up is ignored, and so is what fails as the run's end closes connections.
        """
        if self._over and sample.status == FAILED:
            return
        self._finishing.add(sample.index)  # before it leaves `_open`: at no moment it is nowhere
        try:
            if self._open.pop(sample.index, None) is None:
                return
            self._write(sample)
            self._finished.put(sample)
        finally:
            self._finishing.discard(sample.index)

    def _write(self, sample: Sample) -> None:
        """Write a sample to the journal, which keeps what its disk does not take; its OSError ends the run."""
        try:
            if self.journal:
                self.journal.write(sample)
        except OSError as error:
            self._failure = self._failure or error

    def _has_all_samples(self) -> bool:
        """Return whether everything that was fired has its sample among those finished. The order of the two counts."""
        return not self._open and not self._finishing

    def _collect(self, end: float) -> None:
        """Hand finished samples on until the run is complete or `end`, in seconds of the monotonic clock, has come.

        Raises what a thread failed with: OSError of the journal, RuntimeError where no more threads can be started.
        """
        last = time.monotonic()
        while not self._is_complete() and time.monotonic() < end and not self._failure:
            self._sleep(POLL)
            now = time.monotonic()
            self.hub_stall = max(self.hub_stall, now - last - POLL)
            last = now
            self._hand_on()
        self._hand_on()
        if self._failure:
            raise self._failure

    def _hand_on(self) -> None:
        for sample in self._take_finished():
            self.record(sample)

    def _take_finished(self) -> Iterator[Sample]:
        while True:
            try:
                yield self._finished.get_nowait()
            except real_threads.Empty:
                return

    def _give_up(self, plan: Plan) -> None:
        """Record each sample that is due and has no answer; of one that was fired a copy, as its thread may go on.

        Raises OSError if the journal fails only now.
        """
        if self._start == NOT_BEGUN:
            return
        now, known = self._now(), self._failure
        self.ended = now / 1e9
        unfired = takewhile(lambda sample: sample.due <= now, map(plan.make_sample, plan.indices[self.fired :]))
        # The pacer may fire one meanwhile, which then is open, too.
        waiting = {sample.index: sample for sample in unfired}
        for index, sample in list(self._open.items()):
            if self._open.pop(index, None) is not None:
                waiting[index] = dataclasses.replace(sample, status=UNFINISHED, done=0)
        for sample in waiting.values():
            sample.reason = ENDED
            self._write(sample)
            self.record(sample)
        while self._finishing:  # a thread was quicker, and is writing its sample to the journal
            real_threads.sleep(POLL)
        self._hand_on()
        if self._failure and not known:
            raise self._failure
