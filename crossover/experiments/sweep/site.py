"""Where points of a sweep are measured: servers of their own, here or at the far end of a link."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from crossover.experiments.sweep import network_link
from crossover.measurement.server_statistics import Server, Unavailable


@dataclass(frozen=True)
class Site:
    """Where points are measured."""

    weights: str
    server: Server
    link: network_link.Link | None = None


@contextmanager
def launched(
    directory: Path, weights: str, engine: str = "local", cores: str = "", host: str = "127.0.0.1", slo: str = ""
) -> Iterator[Server]:
    """A server of the launcher's on free ports, and afterwards none, however often Ctrl-C is pressed meanwhile.

    Raises Unavailable with the launcher's words.
    """
    launcher, state = [sys.executable, "-m", "serving"], ["--state", str(directory)]
    stop([*launcher, "down", *state])  # what a killed run may have left
    try:
        ports = free_ports()
        flags = [flag for kind, port in ports.items() for flag in (f"--{kind}-port", str(port))]
        flags += [flag for name, value in (("cores", cores), ("slo", slo)) if value for flag in (f"--{name}", value)]
        up = [*launcher, "up", *state, "--weights", weights, "--engine", engine, "--host", host, *flags]
        done = subprocess.run(up, cwd=network_link.ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable((done.stderr.strip().splitlines() or ["the server did not start"])[-1])
        yield Server.at(f"http://127.0.0.1:{ports['http']}", directory)
    finally:
        stop([*launcher, "down", *state])


def stop(down: list[str]) -> None:
    """Out of a terminal's reach, and waited for to its end: an interrupted one would leave half a server."""
    quiet = subprocess.DEVNULL
    stopping = subprocess.Popen(down, cwd=network_link.ROOT, stdout=quiet, stderr=quiet, start_new_session=True)
    while stopping.returncode is None:
        with suppress(KeyboardInterrupt):
            stopping.wait()


def free_ports() -> dict[str, int]:
    with ExitStack() as stack:
        sockets = {kind: stack.enter_context(socket.socket()) for kind in ("http", "grpc", "metrics")}
        for each in sockets.values():
            each.bind(("127.0.0.1", 0))
        return {kind: each.getsockname()[1] for kind, each in sockets.items()}


@contextmanager
def behind(
    link: network_link.Link, state: Path, weights: str, cores: str, as_bytes: bool, slo: str = ""
) -> Iterator[Server]:
    """A server at the far end, and this process at the near one; `as_bytes`: photographs may come as UINT8, too."""
    with link.inside("server"), launched(state, weights, "local", cores, "0.0.0.0", slo) as server:
        server = Server(server.url.replace("127.0.0.1", network_link.ADDRESSES["server"]), server.state)
        with link.inside("client"):
            if as_bytes:
                models = network_link.ROOT / "model_repository" if weights == "real" else state / "models"
                network_link.serve_bytes(server, models / "resnet50/1/model.onnx")
            yield server
