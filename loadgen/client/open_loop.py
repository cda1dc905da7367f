"""Offers a schedule to an arm and records what happened, one sample per due time.

The pacer is a thread of its own. It sleeps until each *absolute* due time and hands the arrival to the workers
without waiting for anything: a slow request does not push the next ones, nor does whatever else the process does.
"""

import time
from collections.abc import Callable, Iterable

from common.real_threads import start_thread
from loadgen.client.loop import Loop, Over
from loadgen.client.plan import Plan
from loadgen.client.worker_threads import Client, Workers
from loadgen.clock import prioritise_thread
from loadgen.samples.sample import CLIENT, SERVER
from workloads.transport_choice import GRPC


def pace(dues: Iterable[int], fire: Callable[[int], None], sleep_until: Callable[[int], None]) -> None:
    """Call fire(i) at each due time in order; late ones at once, none skipped.

    `sleep_until` sleeps to an instant, or not at all if it has passed. Deadlines are absolute: an overrun is not
    carried into the next gap, and the pace never drifts.
    """
    for index, due in enumerate(dues):
        sleep_until(due)
        fire(index)


class OpenLoop(Loop):
    """An arm to which every arrival of a schedule is offered at its due time, whatever became of those before."""

    _pacer_cpu = 0.0
    _file_cpu = None  # also where an interruption comes before the workers

    def split_cpu(self) -> dict[str, float]:
        """Return preparer -> CPU seconds of this process for its share, and `both` for pacing and collecting.

        Their sum is `cpu`. Empty where the placement splits no arrivals, and where threads that serve both shares are
        not ours, as gRPC's are.
        """
        if not self._file_cpu or self.arm.placed.transport.name == GRPC:
            return {}
        both, files = self._own_cpu + self._pacer_cpu, self._file_cpu.seconds
        return {CLIENT: self.cpu - files - both, SERVER: files, "both": both}

    def _prepare(self, plan: Plan) -> None:
        client = Client(self.arm, self._now)
        self._workers, self._file_cpu = Workers(client, self.url, self.timeout, self._finish), client.file_cpu
        self._has_paced = False

    def _start_threads(self, plan: Plan) -> None:
        start_thread(self._pace, (plan,))

    def _is_complete(self) -> bool:
        return self._has_paced and self._has_all_samples()

    def _last_due(self, plan: Plan) -> float:
        return plan.dues[-1] if len(plan.dues) else 0.0

    def _close(self) -> None:
        self._workers.close()

    def _pace(self, plan: Plan) -> None:
        """Fire all of the plan's arrivals, as the pacer's thread."""
        indices = plan.indices

        def fire(position: int) -> None:
            sample = plan.make_sample(indices[position])
            self._open[sample.index] = sample
            self.fired = position + 1
            sample.fired = self._now()
            self._workers.put(sample, plan.payloads[sample.payload])

        prioritise_thread()
        cpu = time.thread_time()
        try:
            pace(map(plan.due, indices), fire, self._sleep_until)
        except Over:
            pass
        except Exception as error:  # e.g. no more threads: run() raises it
            self._failure = error
        self._pacer_cpu = time.thread_time() - cpu
        self._has_paced = True
