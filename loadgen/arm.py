"""Where and how a request is prepared: an arm is a placement x a client mode, as data.

    client arm:  bytes -> preprocess (client CPU) -> tensor -> [ resnet50 | wav2vec2 ] -> logits
    server arm:  bytes ------------------------------------> [ ensemble: preprocess -> model ] -> logits
"""

from dataclasses import dataclass

import numpy as np

from loadgen import clock
from workloads.workload import Preprocessor, Target, Workload

PLACEMENTS = ("client", "server")


@dataclass(frozen=True)
class Mode:
    """How a client works off its arrivals.

    `threads` with N workers: each preprocesses, sends, and waits for its answer before it takes the next.
    `sequential` is the same with one worker, the naive baseline: the next request starts when the previous
    is answered. `async` with W workers: they only preprocess, and any number of requests up to `cap` is in
    flight; an arrival above it is dropped and counted. Time spent waiting counts from the due time in all.
    """

    name: str
    workers: int = 1
    cap: int = 512

    def __post_init__(self):
        if self.name not in MODES:
            raise ValueError(f"unknown mode {self.name!r}; try one of {', '.join(MODES)}")
        if self.workers < 1 or self.cap < 1:
            raise ValueError(f"workers and in-flight cap must be at least 1, not {self.workers} and {self.cap}")
        if self.name == "sequential" and self.workers != 1:
            raise ValueError(f"sequential means one worker, not {self.workers}; for more use threads")

    def __str__(self) -> str:
        return self.name if self.name == "sequential" else f"{self.name}:{self.workers}"


MODES = ("sequential", "threads", "async")


@dataclass(frozen=True)
class Arm:
    workload: Workload
    placement: str
    mode: Mode
    library: str = ""
    control: str = ""
    """Set for the second of two equal arms, in a comparison whose outcome is known."""
    delay: float = 0.0
    """Seconds that its preprocessing takes longer than it would: a difference to be found."""

    def __post_init__(self):
        if self.placement not in PLACEMENTS:
            raise ValueError(f"unknown placement {self.placement!r}; try one of {', '.join(PLACEMENTS)}")
        if self.library and self.library not in self.workload.libraries:
            good = ", ".join(self.workload.libraries)
            raise ValueError(f"unknown library {self.library!r} for {self.workload.name}; try one of {good}")

    @property
    def target(self) -> Target:
        return self.workload.client if self.placement == "client" else self.workload.server

    @property
    def chosen(self) -> str:
        """The client's library: the workload's first, if none is given."""
        return self.library or next(iter(self.workload.libraries))

    def preprocessor(self) -> Preprocessor:
        """What turns a file's bytes into the tensor to send; make one per thread."""
        preprocess = as_it_is if self.placement == "server" else self.workload.libraries[self.chosen]()
        return slowed(preprocess, self.delay) if self.delay else preprocess

    @property
    def sends_payloads_unchanged(self) -> bool:
        """Whether this arm's clients have nothing to compute."""
        return self.placement == "server" and not self.delay

    @property
    def slug(self) -> str:
        return str(self).replace(" ", "-").replace(":", "")

    def __str__(self) -> str:
        return f"{self.workload.name} {self.placement} {self.mode}" + (f" {self.control}" if self.control else "")


def as_it_is(encoded: bytes) -> np.ndarray:
    return np.frombuffer(encoded, np.uint8)


def slowed(preprocess: Preprocessor, seconds: float) -> Preprocessor:
    def slower(encoded: bytes) -> np.ndarray:
        clock.sleep(seconds)
        return preprocess(encoded)

    return slower
