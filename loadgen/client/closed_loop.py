"""The naive baseline: users that send, wait for the answer, think, and send again.

There is no schedule: a slow server is asked less often, and what it would have cost those who could not ask is never
seen. A request is due when its user sends it.
"""

import itertools

from common.real_threads import start_thread
from loadgen.client.loop import Loop, Over
from loadgen.client.plan import Plan
from loadgen.client.worker_threads import Client
from loadgen.samples.sample import Sample
from transport.message import Connection
from workloads.workload import Preprocessor


class ClosedLoop(Loop):
    """An arm that `users` ask for `seconds`; each thinks for `think` seconds between an answer and the next request.

    Each user is a thread that does everything itself, so the arm's mode plays no part. Of several processes each has
    its share of the users, by the plan's stripes. Requests that are in flight after `seconds` are waited for.
    """

    def __init__(self, users: int, think: float, seconds: float, *arguments, **options):
        """Take the users' number and habits; the other arguments are `Loop`'s."""
        super().__init__(*arguments, **options)
        self.users, self.think, self.seconds = users, think, seconds

    def _prepare(self, plan: Plan) -> None:
        # The preprocessors are made here and not in the threads, whose requests would wait for a library's import.
        self._client = Client(self.arm, self._now)
        self._numbers = itertools.count(plan.first, plan.stride)  # all users share it; next() is atomic
        users = range(plan.first, self.users, plan.stride)
        self._connections = [self.arm.connect(self.url, self.timeout) for _ in users]
        self._preprocessors = [self.arm.preprocessor() for _ in self._connections]
        self._users_at_work = len(self._connections)

    def _start_threads(self, plan: Plan) -> None:
        for preprocess, connection in zip(self._preprocessors, self._connections, strict=True):
            start_thread(self._use, (plan, preprocess, connection))

    def _is_complete(self) -> bool:
        return not self._users_at_work and self._has_all_samples()

    def _last_due(self, plan: Plan) -> float:
        return self.seconds

    def _close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _use(self, plan: Plan, preprocess: Preprocessor, connection: Connection) -> None:
        """Send one request after the other, as the thread of one user, until the time is over."""
        end = round(self.seconds * 1e9)
        try:
            self._sleep_until(0)
            # Each turn is one request: due at once, sent in this thread, and followed by a pause for thought.
            while (now := self._now()) < end:
                index = next(self._numbers)
                with self._lock:
                    self.fired += 1
                number = plan.payload_number(index)
                sample = self._open[index] = Sample(index, number, due=now, fired=now)
                if request := self._client.prepare(preprocess, sample, plan.payloads[number]):
                    self._client.exchange(connection, sample, request)
                self._finish(sample)
                self._sleep_until(min(self._now() + round(self.think * 1e9), end))
        except Over:
            pass
        with self._lock:
            self._users_at_work -= 1
