"""Which arrivals the client prepares, and which it sends as files: for a placement that splits them (`mixed:0.6`).

With `mixed:auto` each arrival goes where less work waits, as the client sees it: the client's backlog times what a
payload took to prepare lately, and what the request took then; or the files in flight times what each of them took
lately, in proportion to how many were in flight. Until both are known, arrivals take turns.
"""

import time

from common.real_threads import Lock
from loadgen.samples.sample import CLIENT, COMPLETED, SERVER, Sample
from workloads.placement import Split

WEIGHT = 0.2
"""Of the newest time in what arrivals took lately: about five of them count."""


class Router:
    """Chooses for each arrival, and is told what became of it. `workers` prepare on the client."""

    def __init__(self, split: Split, workers: int):
        self._split, self._workers = split, workers
        self._lock = Lock()
        self._backlog = self._files = 0
        self._preparing = self._exchange = self._file = 0.0  # seconds lately; 0 where nothing is known
        self._together: dict[int, int] = {}
        """Index of a file in flight -> how many there were when it was sent, itself included."""

    def choose(self, sample: Sample) -> None:
        """Choose who prepares an arrival, and note it in the sample; it need not be sent."""
        with self._lock:
            sample.preparer = CLIENT if self._is_prepared_here(sample) else SERVER

    def note_sent(self, sample: Sample) -> None:
        """Note that an arrival, whose preparer is chosen, waits from now on."""
        with self._lock:
            if sample.preparer == CLIENT:
                self._backlog += 1
            else:
                self._files += 1
                self._together[sample.index] = self._files

    def note_prepared(self, sample: Sample) -> None:
        """Note that the client has prepared an arrival, or failed to."""
        with self._lock:
            self._backlog -= 1
            if sample.prepared:
                self._preparing = lately(self._preparing, (sample.prepared - sample.began) / 1e9)

    def note_done(self, sample: Sample) -> None:
        """Note that a request has ended."""
        file = sample.preparer == SERVER
        with self._lock:
            together = self._together.pop(sample.index, 1)
            self._files -= file
            if sample.status != COMPLETED:
                return
            seconds = (sample.done - sample.sent) / 1e9
            if file:
                self._file = lately(self._file, seconds / together)
            else:
                self._exchange = lately(self._exchange, seconds)

    def _is_prepared_here(self, sample: Sample) -> bool:
        known = self._preparing and self._exchange and self._file
        if self._split.share is not None or not known:
            return self._split.is_prepared_here(sample.index)
        here = (self._backlog + 1) * self._preparing / self._workers + self._exchange
        return here <= (self._files + 1) * self._file


class FileCpu:
    """Sums the CPU time that threads spend on arrivals that go as files, in seconds.

    Libraries that prepare have threads of their own, which serve no file: all else of the process, but for the pacer
    and the thread that collects samples, is spent on what the client prepares.
    """

    def __init__(self):
        self._lock = Lock()
        self.seconds = 0.0

    def note(self, sample: Sample, before: float) -> float:
        """Note that the calling thread has worked on an arrival since its clock stood at `before`. Returns the clock.

        The clock is `time.thread_time`.
        """
        now = time.thread_time()
        if sample.preparer == SERVER:
            with self._lock:
                self.seconds += now - before
        return now


def lately(before: float, newest: float) -> float:
    """Return the moving average after another value; the first one stands for itself."""
    return newest if not before else before + WEIGHT * (newest - before)
