"""Offers a schedule to an arm and records what happened, one sample per due time.

The pacer sleeps until each *absolute* due time and hands the arrival over without waiting for anything:
a slow request does not push the next ones. Preprocessing runs in real OS threads (gevent's native pool:
under Locust's monkey-patching a standard ThreadPoolExecutor would run greenlets).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import gevent
from gevent.local import local
from gevent.pool import Group
from gevent.threadpool import ThreadPool

from loadgen.alarm import Alarm
from loadgen.arms import Arm
from loadgen.payloads import Payload
from loadgen.samples import DROPPED, FAILED, UNFINISHED, Sample
from loadgen.wire import Connection, Request


def pace(dues: Iterable[int], fire: Callable[[int], None], until: Callable[[int], None]) -> None:
    """Call fire(i) at each due time in order; late ones at once, none skipped.

    `until` sleeps to an instant, or not at all if it has passed. Deadlines are absolute: an overrun is not
    carried into the next gap, and the pace never drifts.
    """
    for index, due in enumerate(dues):
        until(due)
        fire(index)


@dataclass
class OpenLoop:
    """One arm driven by one schedule against the server at `url`.

    `record` is called once per sample, in the order in which they finish. `timeout` is the deadline of
    one request in seconds, from when it is sent; it is also how long the end of a run waits for stragglers.
    """

    arm: Arm
    url: str
    record: Callable[[Sample], None]
    timeout: float = 30.0
    in_flight: int = 0
    _local: local = field(default_factory=local)

    def run(self, dues: Sequence[float], payloads: Sequence[Payload], start: int | None = None) -> None:
        """Offer request i with payloads[i] at dues[i] seconds after `start` (monotonic ns; default now).

        Preprocessors are made first, one per worker, so that no request pays for an import.
        Returns when every arrival has its sample. If it is interrupted (a stopped test, Ctrl-C), arrivals
        without an answer are recorded as unfinished before the exception goes on.
        """
        self._preprocessors = [self.arm.preprocessor() for _ in range(self.arm.mode.workers)]
        self._start = time.monotonic_ns() if start is None else start
        samples = [
            Sample(i, payload.name, round(due * 1e9))
            for i, (due, payload) in enumerate(zip(dues, payloads, strict=True))
        ]
        self._open = dict(enumerate(samples))
        self._pool = ThreadPool(self.arm.mode.workers)
        self._shared = Connection(self.url, self.arm.mode.cap, self.timeout)
        handle = self._handle_async if self.arm.mode.name == "async" else self._handle_blocking
        requests, alarm = Group(), Alarm()

        def fire(i: int) -> None:
            samples[i].fired = self._now()
            requests.spawn(handle, samples[i], payloads[i])

        try:
            pace([s.due for s in samples], fire, lambda due: alarm.until(self._start + due))
            requests.join(timeout=self.timeout + 1)
        finally:
            requests.kill(block=False)
            for sample in list(self._open.values()):
                self._close(sample, UNFINISHED, "the run ended first")
            alarm.close()
            self._shared.close()
            gevent.spawn(self._pool.kill)  # returns only when its threads have: not worth waiting for

    def _now(self) -> int:
        return time.monotonic_ns() - self._start

    def _handle_async(self, sample: Sample, payload: Payload) -> None:
        if self.in_flight >= self.arm.mode.cap:
            self._close(sample, DROPPED, f"{self.arm.mode.cap} requests were in flight")
            return
        self.in_flight += 1
        try:
            request = self._pool.apply(self._prepare, (sample, payload))
            if request:
                self._exchange(self._shared, sample, request)
        finally:
            self.in_flight -= 1
        self._close(sample)

    def _handle_blocking(self, sample: Sample, payload: Payload) -> None:
        self.in_flight += 1
        try:
            self._pool.apply(self._prepare_and_exchange, (sample, payload))
        finally:
            self.in_flight -= 1
        self._close(sample)

    def _prepare_and_exchange(self, sample: Sample, payload: Payload) -> None:
        if request := self._prepare(sample, payload):
            if not hasattr(self._local, "connection"):
                self._local.connection = Connection(self.url, 1, self.timeout)
            self._exchange(self._local.connection, sample, request)

    def _prepare(self, sample: Sample, payload: Payload) -> Request | None:
        sample.began = self._now()
        try:
            if not hasattr(self._local, "preprocessor"):
                self._local.preprocessor = self._preprocessors.pop()
            request = self.arm.request(self._local.preprocessor(payload.encoded))
        except Exception as error:  # whatever a library makes of hostile bytes, the arrival keeps its sample
            sample.status, sample.reason = FAILED, f"client preprocessing: {error}".splitlines()[0][:200]
            return None
        sample.prepared = self._now()
        sample.bytes_up = len(request.body)
        return request

    def _exchange(self, connection: Connection, sample: Sample, request: Request) -> None:
        sample.sent = self._now()
        outcome = connection.post(request, self.arm.target.outputs)
        sample.done = self._now()
        sample.status, sample.reason, sample.bytes_down = outcome.status, outcome.reason, outcome.bytes_down

    def _close(self, sample: Sample, status: str | None = None, reason: str = "") -> None:
        """Write the sample down, once: a late answer to a request already given up changes nothing."""
        if self._open.pop(sample.index, None) is None:
            return
        if status:
            sample.status, sample.reason = status, reason
        self.record(sample)
