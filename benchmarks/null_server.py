"""The server of `benchmarks.loadgen`: a real Triton whose models ignore their input, and the requests to them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from serving.server import Server
from serving.temporary_server import temporary_triton
from workloads.image import photograph, photograph_files
from workloads.payloads import Payload
from workloads.workload import Placement, Workload

SINKS = Path(__file__).with_name("sinks")


@dataclass(frozen=True)
class Load:
    """One kind of request: the model `name` has one input, `bytes`, of this numpy type and shape (-1: any length).

    `content()` makes the bytes of that input, without a batch dimension.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: Callable[[], bytes]

    def tensor(self, encoded: bytes) -> np.ndarray:
        """Return the payload as an array without a copy: no time is spent on preprocessing."""
        return np.frombuffer(encoded, self.dtype).reshape(self.shape)

    def workload(self) -> Workload:
        """Return the workload whose only placement sends this tensor to this model."""
        placement = Placement(self.name, self.tensor, inputs=("bytes",), outputs=("done",))
        sent = [Payload(self.name, self.content())]
        return Workload(name=self.name, placements={"client": placement}, payloads=lambda: sent, steps=(self.name,))


def floats(count: int) -> bytes:
    """Return so many random float32 numbers, the same each time, as bytes."""
    return np.random.default_rng(0).random(count, np.float32).tobytes()


LOADS = {
    "small": Load("small", "float32", (16,), lambda: floats(16)),
    "jpeg": Load("jpeg", "uint8", (-1,), lambda: photograph(photograph_files()[0], 640).encoded),
    "tensor": Load("tensor", "float32", (3, 224, 224), lambda: floats(3 * 224 * 224)),
}


@contextmanager
def null_server(cores: list[int], instances: int = 1, shm: bool = False) -> Iterator[Server]:
    """Start a server with so many instances of each sink, on these cores, for a `with` block. Raises Failure.

    `shm`: clients that have the key in its record may register shared memory.
    """
    with TemporaryDirectory(prefix="crossover-") as folder:
        configs = {name: Path(folder) / f"{name}.pbtxt" for name in LOADS}
        for name, config in configs.items():
            config.write_text((SINKS / f"{name}.pbtxt").read_text().replace("count: 1", f"count: {instances}"))
        models = {name: (config, SINKS / "model.py") for name, config in configs.items()}
        with temporary_triton(models, cores, shm) as server:
            yield server
