"""The naive baseline: users that send, wait for the answer, think, and send again.

There is no schedule: a slow server is asked less often, and what it would have cost those who could not ask is never
seen. A request is due when its user sends it.
"""

import itertools
import time
from collections.abc import Sequence

import numpy as np

from loadgen.client.open_loop import OpenLoop, Over, undisturbed
from loadgen.client.worker_threads import Client, start_thread
from loadgen.interrupts import held
from loadgen.samples.sample import Sample
from loadgen.transport.http import Connection
from workloads.payloads import Payload


class ClosedLoop(OpenLoop):
    """Each user is a thread that does everything itself, so the arm's mode plays no part."""

    def run(
        self,
        users: int,
        think: float,
        seconds: float,
        order: np.ndarray,
        payloads: Sequence[Payload],
        start: int | None = None,
        indices: range | None = None,
    ) -> None:
        """`users` and `think` (seconds) as in `arrivals.Closed`; requests are numbered by `indices`, an endless range
        if need be. Requests that are in flight after `seconds` are waited for."""
        client = Client(self.arm, self._now)
        numbers = iter(itertools.count() if indices is None else indices)
        threads = [(client, self.arm.preprocessor(), Connection(self.url, self.timeout)) for _ in range(users)]
        self._at_work = users
        try:
            with undisturbed():
                self._start = time.monotonic_ns() if start is None else start
                for each in threads:
                    start_thread(self._use, (*each, think, seconds, numbers, order, payloads))
                end = self._start / 1e9 + seconds + self.timeout + 1
                self._collect(lambda: not self._at_work and not self._open, end)
        finally:
            with held():
                self._over = True
                for _, _, connection in threads:
                    connection.close()
                self._give_up()

    def _use(self, client, preprocess, connection, think, seconds, numbers, order, payloads) -> None:
        try:
            self._until(0)
            while (now := self._now()) < seconds * 1e9:
                index = next(numbers)
                payload = int(order[index % len(order)])
                sample = self._open[index] = Sample(index, payload, due=now, fired=now)
                if request := client.prepare(preprocess, sample, payloads[payload]):
                    client.exchange(connection, sample, request)
                self._finish(sample)
                self._until(min(self._now() + round(think * 1e9), round(seconds * 1e9)))
        except Over:
            pass
        with self._lock:
            self._at_work -= 1
