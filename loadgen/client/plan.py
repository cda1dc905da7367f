"""What a run sends, and which part of it is this process's: the one argument of `OpenLoop.run` and `ClosedLoop.run`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from loadgen.samples.sample import Sample
from workloads.payloads import Payload


@dataclass(frozen=True)
class Plan:
    """Due times x payloads, striped over processes.

    `dues` are the instants of all the run's arrivals in seconds from its start, ascending; a closed loop has none.
    `order` says which of the `payloads` each arrival sends; a closed loop goes round and round in it. This process
    offers arrivals `first`, `first + stride`, and so on. `start` is the run's start on the monotonic clock in ns;
    None: as soon as the client's threads are ready. A function is called then, and returns it.
    """

    dues: np.ndarray
    order: np.ndarray
    payloads: Sequence[Payload]
    start: int | Callable[[], int] | None = None
    first: int = 0
    stride: int = 1

    def find_start(self) -> int:
        """Return the run's start on the monotonic clock, in ns, now that the client is ready."""
        if self.start is None:
            return time.monotonic_ns()
        return self.start() if callable(self.start) else self.start

    @property
    def indices(self) -> range:
        """The arrivals of the schedule that are this process's."""
        return range(self.first, len(self.dues), self.stride)

    def due(self, index: int) -> int:
        """Return when that arrival is due, in ns from the start."""
        return round(self.dues[index] * 1e9)

    def payload_number(self, index: int) -> int:
        """Return which of the payloads that arrival sends."""
        return int(self.order[index % len(self.order)])

    def make_sample(self, index: int) -> Sample:
        """Return the sample of that arrival as long as nothing has happened to it: it is unfinished."""
        return Sample(index, self.payload_number(index), self.due(index))
