"""The client's OS threads: they preprocess, send, and wait for the answer.

Real ones with real queues, also under Locust, whose monkey-patching turns the standard library's into greenlets: a
slow image in one of them holds up neither the pacer nor the web page.
"""

from _queue import SimpleQueue  # gevent patches the one in `queue`
from collections.abc import Callable

from gevent.monkey import get_original

from common.messages import first_line
from loadgen.arm import Arm
from loadgen.samples.sample import DROPPED, FAILED, Sample
from loadgen.transport.http import Connection, Request
from workloads.payloads import Payload
from workloads.workload import Preprocessor

start_thread, allocate_lock = get_original("_thread", ["start_new_thread", "allocate_lock"])


class Client:
    """What one request takes of a thread. `now` gives the run's time in ns."""

    def __init__(self, arm: Arm, now: Callable[[], int]):
        self.arm, self._now = arm, now

    def prepare(self, preprocess: Preprocessor, sample: Sample, payload: Payload) -> Request | None:
        sample.began = self._now()
        try:
            request = self.arm.request(preprocess(payload.encoded))
        except Exception as error:  # whatever a library makes of hostile bytes, the arrival keeps its sample
            sample.status, sample.reason = FAILED, first_line(f"client preprocessing: {error}")
            return None
        sample.prepared = self._now()
        sample.bytes_up = request.size
        return request

    def exchange(self, connection: Connection, sample: Sample, request: Request) -> None:
        sample.sent = self._now()
        outcome = connection.post(request, self.arm.target.outputs)
        sample.done = self._now()
        sample.status, sample.reason, sample.bytes_down = outcome.status, outcome.reason, outcome.bytes_down


class Workers:
    """`put` hands a sample and its payload to the arm's workers; `finish(sample)` is called in one of their threads.

    Preprocessors are made here, so that no request pays for an import or for building a graph.
    """

    def __init__(self, client: Client, url: str, timeout: float, finish: Callable[[Sample], None]):
        self._client, self._mode, self._url, self._timeout, self._finish = client, client.arm.mode, url, timeout, finish
        self._jobs, self._ready, self._lock = SimpleQueue(), SimpleQueue(), allocate_lock()
        self._in_flight = self._senders = self._idle = 0
        self._closed = False
        self._connections: list[Connection] = []
        self._async, self._direct = self._mode.name == "async", False
        if self._async and client.arm.placement == "server" and not client.arm.delay:
            self._direct, self._preparing = True, []  # nothing to preprocess: each sender builds its own request
            return
        self._preparing = [client.arm.preprocessor() for _ in range(self._mode.workers)]
        work = self._prepare_only if self._async else self._prepare_and_exchange
        for preprocess in self._preparing:
            start_thread(work, (preprocess,))

    def put(self, sample: Sample, payload: Payload) -> None:
        """Never waits. In mode async an arrival above the cap is dropped here, and counted."""
        if self._async:
            with self._lock:
                self._in_flight += (free := self._in_flight < self._mode.cap)
            if not free:
                sample.status, sample.reason = DROPPED, f"{self._mode.cap} requests were in flight"
                self._finish(sample)
                return
        if self._direct:
            self._ready.put((sample, payload))
            self._staff()
        else:
            self._jobs.put((sample, payload))

    def close(self) -> None:
        """End the threads; those that wait for an answer give up."""
        self._closed = True
        for _ in self._preparing:
            self._jobs.put(None)
        with self._lock:
            for _ in range(self._senders):
                self._ready.put(None)
            for connection in self._connections:
                connection.close()

    def _prepare_and_exchange(self, preprocess: Preprocessor) -> None:
        connection = self._connection()
        while (job := self._jobs.get()) and not self._closed:
            sample, payload = job
            if request := self._client.prepare(preprocess, sample, payload):
                self._client.exchange(connection, sample, request)
            self._finish(sample)

    def _prepare_only(self, preprocess: Preprocessor) -> None:
        while (job := self._jobs.get()) and not self._closed:
            sample, payload = job
            if request := self._client.prepare(preprocess, sample, payload):
                self._ready.put((sample, request))
                self._staff()
            else:
                self._over(sample)

    def _staff(self) -> None:
        """One more sender if none is free: a thread and a connection for each request in flight."""
        with self._lock:
            self._idle -= 1
            if self._idle < 0:
                self._idle += 1
                self._senders += 1
                start_thread(self._send_only, ())

    def _send_only(self) -> None:
        connection, preprocess = self._connection(), self._client.arm.preprocessor() if self._direct else None
        while (job := self._ready.get()) and not self._closed:
            sample, request = job
            if preprocess:
                request = self._client.prepare(preprocess, sample, request)
            if request:
                self._client.exchange(connection, sample, request)
            self._over(sample)
            with self._lock:
                self._idle += 1

    def _over(self, sample: Sample) -> None:
        with self._lock:
            self._in_flight -= 1
        self._finish(sample)

    def _connection(self) -> Connection:
        connection = Connection(self._url, self._timeout)
        with self._lock:
            self._connections.append(connection)
        return connection
