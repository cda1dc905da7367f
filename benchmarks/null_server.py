"""The other end of `benchmarks.loadgen`: a real Triton whose models swallow their input, and what is sent to them."""

import contextlib
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossover.measurement.server_statistics import Server
from serving import Failure, local, state, wheel
from serving.triton_api import Rest
from workloads.payloads import photograph, photograph_files
from workloads.workload import Target, Workload

SINKS = Path(__file__).with_name("sinks")


@dataclass(frozen=True)
class Load:
    """One kind of request: the sink `name` has one input, `bytes`, of this type."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: Callable[[], bytes]

    def tensor(self, encoded: bytes) -> np.ndarray:
        """No preprocessing and no copy: the request is as good as built before."""
        return np.frombuffer(encoded, self.dtype).reshape(self.shape)

    def workload(self) -> Workload:
        target = Target(self.name, "bytes", ("done",))
        return Workload(self.name, target, target, (self.name,), {"none": lambda: self.tensor}, ())


def floats(count: int) -> bytes:
    return np.random.default_rng(0).random(count, np.float32).tobytes()


LOADS = {
    "small": Load("small", "float32", (16,), lambda: floats(16)),
    "jpeg": Load("jpeg", "uint8", (-1,), lambda: photograph(photograph_files()[0], 640).encoded),
    "tensor": Load("tensor", "float32", (3, 224, 224), lambda: floats(3 * 224 * 224)),
}


@contextlib.contextmanager
def running(cores: list[int]) -> Iterator[Server]:
    """The launcher's local server on these cores with the three sinks; nothing is left of it. Raises Failure."""
    with tempfile.TemporaryDirectory(prefix="crossover-") as directory:
        folder = Path(directory)
        record = {f"{kind}_port": free_port() for kind in ("http", "grpc", "metrics")}
        record |= {"name": state.name(folder), "host": "127.0.0.1", "cores": cores, "admin_key": secrets.token_hex()}
        rest = Rest(f"127.0.0.1:{record['http_port']}", record["admin_key"])
        try:
            with (folder / "log").open("w") as log:
                server = local.start(wheel.tritonserver(folder), record, repository(folder / "models"), log)
            load(rest, server, folder / "log")
            yield Server(f"http://{rest.address}", {"pid": server.pid, "cores": cores})
        finally:
            local.stop(record["name"], patience=1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def repository(folder: Path) -> Path:
    for name in LOADS:
        version = folder / name / "1"
        version.mkdir(parents=True)
        (version / "model.py").symlink_to(SINKS / "model.py")
        (folder / name / "config.pbtxt").symlink_to(SINKS / f"{name}.pbtxt")
    return folder


def load(rest: Rest, server: subprocess.Popen, log: Path) -> None:
    while not rest.ready("/v2/health/live"):
        if server.poll() is not None:
            raise Failure(f"the server exited with code {server.returncode}: {local.last_error(log)}")
        time.sleep(0.1)
    for name in LOADS:
        rest.load(name, None)
