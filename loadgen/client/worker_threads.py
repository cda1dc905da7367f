"""The client's OS threads: they preprocess, send, and wait for the answer.

They are real threads with real queues, also under Locust (see `common/real_threads.py`): a slow image in one of them
holds up neither the pacer nor the web page.
"""

import threading
import time
from collections.abc import Callable
from functools import partial

from common.messages import first_line, name_error
from common.real_threads import Lock, SimpleQueue, start_thread
from loadgen.arm import Arm
from loadgen.client.router import FileCpu, Router
from loadgen.samples.sample import CLIENT, DROPPED, FAILED, SERVER, Sample
from transport.message import Connection, Request, make_request
from workloads.payloads import Payload
from workloads.target import Elsewhere
from workloads.workload import Preprocessor


class Client:
    """The two steps of a request, which note their instants in its sample; `now` gives the run's time in ns."""

    def __init__(self, arm: Arm, now: Callable[[], int]):
        self.arm, self._target, self._now = arm, arm.target, now
        self.file_cpu = FileCpu() if arm.placed.split else None

    def prepare(self, preprocess: Preprocessor, sample: Sample, payload: Payload) -> Request | None:
        """Preprocess a payload into a request.

        Return None if that failed: the sample then has the status failed and the library's message as its reason. Only
        KeyboardInterrupt is raised, and only in the main thread.
        """
        sample.began = self._now()
        splits = self.arm.placed.split and not sample.preparer
        try:
            prepared = preprocess(payload.encoded)
            if splits:
                sample.preparer = SERVER if isinstance(prepared, Elsewhere) else CLIENT
            request = make_request(self._target, prepared)
        except Exception as error:  # whatever a library makes of hostile bytes, the arrival keeps its sample
            sample.status, sample.reason = FAILED, first_line(f"client preprocessing: {name_error(error)}")
            sample.preparer = CLIENT if splits else sample.preparer  # a file as it is cannot fail
            return None
        except BaseException as error:  # a user's exit() would end this thread, and the run would wait for ever
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # Ctrl-C, which comes to the main thread alone
            raised = f"{type(error).__name__}: {error}"
            sample.status, sample.reason = FAILED, first_line(f"prepare of {self.arm.placement} raised {raised}")
            return None
        sample.prepared = self._now()
        return request

    def exchange(self, connection: Connection, sample: Sample, request: Request) -> None:
        """Send the request, wait for its outcome, and note it in the sample. This takes as long as the answer does."""
        sample.sent = self._now()
        outcome = connection.post(request)
        sample.done = self._now()
        sample.bytes_up, sample.bytes_down = outcome.bytes_up, outcome.bytes_down
        sample.status, sample.reason = outcome.status, outcome.reason


class Workers:
    """The threads of an arm. `put` hands them a sample and its payload; one of them calls `finish(sample)` at its end.

    Modes sequential and threads have as many threads as workers, and each does the whole of a request. In mode async
    the workers only preprocess, and a sender, one thread with a connection of its own, takes each request from there;
    senders are started as they are needed, up to the cap. Preprocessors are made here, so that no request pays for an
    import or for building a graph.
    """

    def __init__(self, client: Client, url: str, timeout: float, finish: Callable[[Sample], None]):
        """Start the threads of the workers. `timeout` is the deadline of a request in seconds."""
        self._client, self._mode, self._url, self._timeout, self._finish = client, client.arm.mode, url, timeout, finish
        # Jobs are for the workers, what is ready for the senders; None ends a thread.
        self._jobs: SimpleQueue[tuple[Sample, Payload] | None] = SimpleQueue()
        self._ready: SimpleQueue[tuple[Sample, Payload | Request] | None] = SimpleQueue()
        # The lock guards the counts below and the list of connections.
        self._lock = Lock()
        self._in_flight = self._senders = self._idle = 0
        self._closed = False
        self._connections: list[Connection] = []
        self._async, self._direct = self._mode.name == "async", False
        split = client.arm.placed.split if self._async else None
        self._split, self._router = split, Router(split, self._mode.workers) if split else None
        if self._async and client.arm.sends_payloads_unchanged:
            self._direct, self._preparing = True, []  # each sender makes its own requests
            return
        make = client.arm.preprocessor
        if split:
            make = partial(split.client.preprocessor, client.arm.library)
        self._preparing = [make() for _ in range(self._mode.workers)]
        work = self._prepare_only if self._async else self._prepare_and_exchange
        for preprocess in self._preparing:
            start_thread(work, (preprocess,))

    def put(self, sample: Sample, payload: Payload) -> None:
        """Hand an arrival over without waiting. In mode async one above the cap is dropped here, and counted."""
        if self._router:
            self._router.choose(sample)
        if self._async:
            with self._lock:
                self._in_flight += (free := self._in_flight < self._mode.cap)
            if not free:
                sample.status, sample.reason = DROPPED, f"{self._mode.cap} requests were in flight"
                self._finish(sample)
                return
        if self._router:
            self._router.note_sent(sample)
        if self._direct or sample.preparer == SERVER:
            self._ready.put((sample, payload))
            self._add_sender_if_needed()
        else:
            self._jobs.put((sample, payload))

    def close(self) -> None:
        """End the threads, and wake those that wait for an answer by closing their connections."""
        self._closed = True
        for _ in self._preparing:
            self._jobs.put(None)
        with self._lock:
            for _ in range(self._senders):
                self._ready.put(None)
            for connection in self._connections:
                connection.close()

    def _prepare_and_exchange(self, preprocess: Preprocessor) -> None:
        """Do whole requests, one after the other, as a worker's thread of modes sequential and threads."""
        connection, file_cpu, cpu = self._connect(), self._client.file_cpu, time.thread_time()
        while (job := self._jobs.get()) and not self._closed:
            sample, payload = job
            if request := self._client.prepare(preprocess, sample, payload):
                self._client.exchange(connection, sample, request)
            if file_cpu:
                cpu = file_cpu.note(sample, cpu)
            self._finish(sample)

    def _prepare_only(self, preprocess: Preprocessor) -> None:
        """Preprocess, and hand the requests to the senders, as a worker's thread of mode async."""
        while (job := self._jobs.get()) and not self._closed:
            sample, payload = job
            request = self._client.prepare(preprocess, sample, payload)
            if self._router:
                self._router.note_prepared(sample)
            if request:
                self._ready.put((sample, request))
                self._add_sender_if_needed()
            else:
                self._finish_in_flight(sample)

    def _add_sender_if_needed(self) -> None:
        """Start another sender if none is free: each request in flight has a thread and a connection."""
        with self._lock:
            self._idle -= 1  # the sender that will take it
            if self._idle < 0:
                self._idle += 1
                self._senders += 1
                start_thread(self._send_only, ())

    def _send_only(self) -> None:
        """Send requests and wait for their answers, as a sender's thread of mode async."""
        connection, preprocess = self._connect(), self._client.arm.preprocessor() if self._direct else None
        if self._split:
            preprocess = self._split.send_file
        file_cpu, cpu = self._client.file_cpu, 0.0  # the thread was started for its first request
        while (job := self._ready.get()) and not self._closed:
            sample, work = job
            request = work if isinstance(work, Request) else None
            if isinstance(work, Payload):
                assert preprocess, "only a sender that has the preprocessor gets payloads"
                request = self._client.prepare(preprocess, sample, work)
            if request:
                self._client.exchange(connection, sample, request)
            if self._router:
                self._router.note_done(sample)
            if file_cpu:
                cpu = file_cpu.note(sample, cpu)
            self._finish_in_flight(sample)
            with self._lock:
                self._idle += 1

    def _finish_in_flight(self, sample: Sample) -> None:
        """Let another request be in flight in place of this one, and finish it."""
        with self._lock:
            self._in_flight -= 1
        self._finish(sample)

    def _connect(self) -> Connection:
        """Make a connection that `close` will close."""
        connection = self._client.arm.connect(self._url, self._timeout)
        with self._lock:
            self._connections.append(connection)
        return connection
