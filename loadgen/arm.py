"""What is compared: an arm is a placement of a workload, with its transport, x a client mode, as data.

a placement that prepares:  bytes -> preprocess (client CPU) -> tensor -> [ network ] -> answer
one that does not:          bytes -----------------> [ ensemble: preprocess -> network ] -> answer
"""

from dataclasses import dataclass

from loadgen import clock
from transport import gateway
from transport.connect import connect
from transport.message import Connection
from workloads.tensors import Prepared
from workloads.workload import Placement, Preprocessor, Target, Workload


@dataclass(frozen=True)
class Mode:
    """How a client works off its arrivals.

    In mode `threads` each worker preprocesses, sends, and waits for its answer before it takes the next arrival. Mode
    `sequential` is the same with one worker, the naive baseline: the next request starts when the previous one is
    answered. In mode `async` the workers only preprocess, and up to `cap` requests are in flight; an arrival above the
    cap is dropped and counted. In all modes the time that an arrival waits counts from its due time.

    Raises ValueError for an unknown mode, and for workers or a cap that it cannot have.
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
    """One of the ways of asking that are compared. Raises ValueError for a placement or a library that is not known."""

    workload: Workload
    placement: str
    mode: Mode
    library: str = ""
    control: str = ""
    """What the second of two equal arms is called, in a comparison whose outcome is known; else empty."""
    delay: float = 0.0
    """Seconds that preprocessing is made to take longer: a difference that the comparison must find."""

    def __post_init__(self):
        if self.placement not in self.workload.placements:
            good = ", ".join(self.workload.placements)
            raise ValueError(f"unknown placement {self.placement!r} of {self.workload.name}; try one of {good}")
        if self.library and self.library not in self.workload.libraries:
            good = ", ".join(self.workload.libraries)
            raise ValueError(f"unknown library {self.library!r} for {self.workload.name}; try one of {good}")

    @property
    def placed(self) -> Placement:
        """The placement itself, of which `placement` is the name."""
        return self.workload.placements[self.placement]

    @property
    def target(self) -> Target:
        """The model that is asked, with its inputs and outputs."""
        return self.placed.target

    @property
    def chosen(self) -> str:
        """The library that the client preprocesses with: the placement's first, if the arm names none of its; or empty.

        It is empty where payloads are sent as they are.
        """
        return self.library if self.library in self.placed.libraries else next(iter(self.placed.libraries), "")

    def preprocessor(self) -> Preprocessor:
        """Make the function that turns a payload's bytes into what is sent; each thread needs one of its own."""
        preprocess = self.placed.preprocessor(self.library)
        return add_delay(preprocess, self.delay) if self.delay else preprocess

    def connect(self, url: str, timeout: float) -> Connection:
        """Make a connection to the server at `url`, for one thread, by this arm's transport.

        `timeout` is the deadline of a request in seconds. A placement that computes its network itself asks no server,
        and one with a gateway asks that. Raises ValueError for an address that is refused.
        """
        if self.placed.network:
            from transport import in_process

            return in_process.Connection(self.placed.network)
        if self.placed.gateway:
            return gateway.Connection(self.placed.gateway.url, timeout)
        return connect(self.placed.transport, url, timeout)

    @property
    def sends_payloads_unchanged(self) -> bool:
        """Whether this arm's clients have nothing to compute."""
        return not self.placed.prepares and not self.delay

    @property
    def slug(self) -> str:
        """The arm's name as part of a file's name."""
        return str(self).replace(" ", "-").replace(":", "")

    def __str__(self) -> str:
        return f"{self.workload.name} {self.placement} {self.mode}" + (f" {self.control}" if self.control else "")


def add_delay(preprocess: Preprocessor, seconds: float) -> Preprocessor:
    """Return a preprocessor that sleeps for so long first."""

    def preprocess_late(encoded: bytes) -> Prepared:
        clock.sleep(seconds)
        return preprocess(encoded)

    return preprocess_late
