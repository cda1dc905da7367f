"""The launcher's server of a run: started with what can be had, and started once more if it dies."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.arms import CPU_ENSEMBLE, write_cpu_models
from benchmarks.gpu.record import Record
from serving.server import Server, Unavailable
from serving.temporary_server import temporary_server
from serving.thread_plan import format_cores

TAIL = 200_000
"""Bytes of the server's log that are kept."""


@dataclass(frozen=True)
class Way:
    """A way to start the server."""

    weights: str
    cpu_arm: bool = True
    gpu: bool = True

    def __str__(self) -> str:
        missing = [] if self.cpu_arm else ["without the models of CPU decode"]
        missing += [] if self.gpu else ["without the GPU"]
        return ", ".join([f"{self.weights} weights", *missing])


class Site:
    """The server, and the ways in which it may be started: the first that works is used.

    No model has an SLO of its own (`--slo 0`), as the one that decodes on the CPU has none: both are then alike.
    """

    def __init__(self, folder: Path, weights: str, cores: list[int], record: Record, gpu: bool = True):
        """Nothing is started yet; `folder` is for state and models."""
        self.folder, self.cores, self.record, self.restarted = folder, cores, record, False
        weighty = ["real", "tiny"] if weights == "real" else ["tiny"]
        self.ways = [Way(each, cpu_arm, on_gpu) for each in weighty for on_gpu, cpu_arm in ladder(gpu)]
        self._stack = contextlib.ExitStack()
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The server that runs. Raises Unavailable if none does."""
        if self._server is None:
            raise Unavailable("the server is gone")
        return self._server

    @property
    def on_gpu(self) -> bool:
        """Whether steps run on a GPU."""
        return bool(self._server and self._server.state.get("gpu"))

    @property
    def has_cpu_arm(self) -> bool:
        """Whether the server has the ensemble that decodes on the CPU."""
        return bool(self._server and CPU_ENSEMBLE in self._server.statistics())

    def start(self) -> None:
        """Start it in the first way that works. Raises Unavailable if none does."""
        while self.ways:
            way = self.ways[0]
            models = write_cpu_models(self.folder / "extra", len(self.cores))
            flags = ["--models", str(models)] if way.cpu_arm else []
            flags += [] if way.gpu else ["--no-gpu"]
            try:
                self._server = self._stack.enter_context(
                    temporary_server(
                        self.folder / "state",
                        way.weights,
                        cores=format_cores(self.cores),
                        slo="0",
                        flags=tuple(flags),
                    )
                )
            except Unavailable as error:
                self.keep_log()
                self.record.fail("server", str(way), str(error))
                self.ways.pop(0)
                continue
            self.record.note(f"the server is up: {way}", "server")
            return
        raise Unavailable("the server starts in no way")

    def check(self) -> None:
        """Start the server again if it is gone, once. Raises Unavailable if it is gone again."""
        if self._server and self._server.api.is_live():
            return
        self.stop()
        if self.restarted:
            raise Unavailable("the server is gone again")
        self.restarted = True
        self.record.note("the server is gone; it is started again", "server")
        self.start()

    def stop(self) -> None:
        """Stop it, and keep the end of its log."""
        self._server = None
        self.keep_log()
        self._stack.close()

    def keep_log(self) -> None:
        """Copy the end of the server's log into the run's folder."""
        log = self.folder / "state" / "server.log"
        with contextlib.suppress(OSError):
            content = log.read_bytes()[-TAIL:]
            (self.record.directory / "server.log").write_bytes(content)

    def networks(self) -> Path:
        """Return the model repository that holds the server's networks."""
        from serving.model_loader import STEPS

        tiny = self.folder / "state" / "models"
        return tiny if self.server.state["weights"] == "tiny" else STEPS


def ladder(gpu: bool) -> list[tuple[bool, bool]]:
    """Return (GPU, CPU arm) of the ways to try, the fullest first."""
    return [(on_gpu, cpu_arm) for on_gpu in ([True, False] if gpu else [False]) for cpu_arm in (True, False)]


@contextlib.contextmanager
def running(site: Site) -> Iterator[Site]:
    """Stop the server when the block ends, and remove its folder."""
    try:
        yield site
    finally:
        site.stop()
        shutil.rmtree(site.folder, ignore_errors=True)
