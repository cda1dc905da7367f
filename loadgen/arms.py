"""Where and how a request is prepared: an arm is a placement x a client mode, as data.

    client arm:  bytes -> preprocess (client CPU) -> tensor -> [ resnet50 | wav2vec2 ] -> logits
    server arm:  bytes ------------------------------------> [ ensemble: preprocess -> model ] -> logits
"""

from dataclasses import dataclass

import numpy as np

from loadgen import wire
from loadgen.workloads import Preprocessor, Target, Workload

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
        if self.placement == "server":
            return lambda encoded: np.frombuffer(encoded, np.uint8)
        return self.workload.libraries[self.chosen]()

    def request(self, tensor: np.ndarray) -> wire.Request:
        return wire.request(self.target.model, self.target.input, tensor, self.target.outputs)

    @property
    def slug(self) -> str:
        return str(self).replace(" ", "-").replace(":", "")

    def __str__(self) -> str:
        return f"{self.workload.name} {self.placement} {self.mode}"
