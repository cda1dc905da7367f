"""Which arrivals the client prepares, and which it sends as files: for a placement that splits them (`mixed:0.6`).

With `mixed:auto` each arrival goes where less work waits, as the client sees it: the client's backlog times what a
payload took to prepare lately, and what the request took then; or the files in flight times what each of them took
lately, in proportion to how many were in flight. Until both are known, arrivals take turns.
"""

from loadgen.real_threads import Lock
from loadgen.samples.sample import COMPLETED, Sample
from workloads.placement import Split

WEIGHT = 0.2
"""Of the newest time in what arrivals took lately: about five of them count."""


class Router:
    """Chooses for each arrival; told what became of it. `workers` prepare on the client."""

    def __init__(self, split: Split, workers: int):
        self._split, self._workers = split, workers
        self._lock = Lock()
        self._backlog = self._files = 0
        self._preparing = self._exchange = self._file = 0.0  # seconds lately; 0 where nothing is known
        self._together: dict[int, int] = {}
        """Index of a file in flight -> how many there were when it was sent, itself included."""

    def is_prepared_here(self, sample: Sample) -> bool:
        """Choose for an arrival, and count it."""
        with self._lock:
            here = self._choose(sample)
            if here:
                self._backlog += 1
            else:
                self._files += 1
                self._together[sample.index] = self._files
            return here

    def note_prepared(self, sample: Sample) -> None:
        """Note that the client has prepared an arrival, or failed to."""
        with self._lock:
            self._backlog -= 1
            if sample.prepared:
                self._preparing = lately(self._preparing, (sample.prepared - sample.began) / 1e9)

    def note_done(self, sample: Sample, file: bool) -> None:
        """Note that a request has ended; `file`: it was not prepared here."""
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

    def _choose(self, sample: Sample) -> bool:
        known = self._preparing and self._exchange and self._file
        if self._split.share is not None or not known:
            return self._split.is_prepared_here(sample.index)
        here = (self._backlog + 1) * self._preparing / self._workers + self._exchange
        return here <= (self._files + 1) * self._file


class Shares:
    """Counts which arrivals of a split placement the client has prepared, and which went as files."""

    def __init__(self):
        self._lock, self._counts = Lock(), [0, 0]

    def add(self, file: bool) -> None:
        """Count an arrival that is ready to be sent."""
        with self._lock:
            self._counts[file] += 1

    def as_dict(self) -> dict[str, int]:
        """Return the counts so far: `prepared` by the client, and sent as `files`."""
        return dict(zip(("prepared", "files"), self._counts, strict=True))


def lately(before: float, newest: float) -> float:
    """Return the moving average after another value; the first one stands for itself."""
    return newest if not before else before + WEIGHT * (newest - before)
