"""How far a run of several workers has come, for the metrics of its master."""

import time


class WorkerProgress:
    """The clock of a run and what its workers said last; an `arm_metrics.Source`."""

    def __init__(self, start_ns: int):
        """Begin a run whose schedule starts at that instant of the monotonic clock, in ns."""
        self.start_ns, self.by_worker = start_ns, dict[str, int]()
        self._ended: int | None = None

    @property
    def elapsed(self) -> int:
        """The run's time in ns; it stands still from `end` on."""
        return max(0, time.monotonic_ns() - self.start_ns) if self._ended is None else self._ended

    @property
    def fired(self) -> int:
        """How many arrivals the workers have fired; those of a worker that died as far as it told."""
        return sum(self.by_worker.values())

    def end(self) -> None:
        """Stop the clock: the workers are told to stop."""
        self._ended = self.elapsed
