"""The launcher's server of a run: started with what can be had, and started once more if it dies."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.gpu.arms import CPU_ENSEMBLE, write_cpu_models
from benchmarks.gpu.record import Record, time_limit
from crossover.measurement import host
from serving.server import Server, Unavailable
from serving.temporary_server import temporary_server
from serving.thread_plan import format_cores

TAIL = 200_000
"""Bytes of the server's log that are kept."""
PUBLIC = ("weights", "cores", "slo", "gpu", "no_gpu_because", "on_cpu", "plan", "more_models")
"""What is written of the launcher's record: no key, and no path."""
PATIENCE, LEAST_PATIENCE = 1 / 3, 60.0
"""Share of the run's time, and seconds, that one way of starting may take."""
OFFER = re.compile(r"--on-cpu (\w+)")
"""What the launcher's message proposes where a step does not load on the GPU."""


@dataclass(frozen=True)
class Way:
    """A way to start the server."""

    weights: str
    gpu: bool
    on_cpu: tuple[str, ...] = ()
    """Steps that are kept off the GPU."""

    @property
    def flags(self) -> list[str]:
        """Flags of `crossover up`."""
        return [word for step in self.on_cpu for word in ("--on-cpu", step)] if self.gpu else ["--no-gpu"]

    def after(self, reason: str) -> "Way | None":
        """Return the way to try after this one failed for that reason; None if there is no other."""
        offer = OFFER.search(reason)
        if "make models" in reason and self.weights != "tiny":
            return replace(self, weights="tiny")
        if self.gpu and offer and offer[1] not in self.on_cpu:
            return replace(self, on_cpu=(*self.on_cpu, offer[1]))
        return replace(self, gpu=False, on_cpu=()) if self.gpu else None

    def __str__(self) -> str:
        return " ".join([f"{self.weights} weights", *self.flags])


class Site:
    """The server, started in the first way that works.

    No model has an SLO of its own (`--slo 0`), as the one that decodes on the CPU has none: both are then alike.
    """

    def __init__(self, folder: Path, weights: str, cores: list[int], own: list[int], record: Record, gpu: bool = True):
        """Nothing is started yet; `folder` is for state and models, `own` are the cores of this process."""
        self.own, self.all = own, sorted(os.sched_getaffinity(0))
        self.folder, self.cores, self.record = folder, cores, record
        self.started = self.restarted = False
        self.way: Way | None = Way(weights, gpu)
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
        host.pin(self.all)  # what is started may use no core that this process may not
        try:
            self._start()
        finally:
            host.pin(self.own)

    def _start(self) -> None:
        models = write_cpu_models(self.folder / "extra", len(self.cores))
        while self.way:
            flags = ("--models", str(models), *self.way.flags)
            starting = temporary_server(
                self.folder / "state", self.way.weights, cores=format_cores(self.cores), slo="0", flags=flags
            )
            if reason := self._enter(starting):
                self.keep_log()
                self.record.fail("server", str(self.way), reason)
                self.way = self.way.after(reason)
                continue
            assert self._server
            self.started = True
            self.describe(self._server)
            return
        raise Unavailable("the server starts in no way")

    def _enter(self, starting: contextlib.AbstractContextManager[Server]) -> str:
        """Start the server, and return why that failed; empty if it runs."""
        patience = max(LEAST_PATIENCE, PATIENCE * self.record.seconds)
        with time_limit(patience) as alarm:
            try:
                self._server = self._stack.enter_context(starting)
            except Unavailable as error:
                return str(error)
            except KeyboardInterrupt:
                if not alarm.rung:
                    raise
                return f"it is not up after {patience:.0f} s"
        return ""

    def describe(self, server: Server) -> None:
        """Write what the server is: its steps and where they run, and what it does not serve."""
        self.record.write("server", way=str(self.way), **{key: server.state.get(key) for key in PUBLIC})
        self.record.note(f"the server is up: {self.way}", "server")

    @property
    def is_live(self) -> bool:
        """Whether the server answers."""
        return bool(self._server and self._server.api.is_live())

    def restart(self) -> None:
        """Start the server again, once. Raises Unavailable if it was started again before."""
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


@contextlib.contextmanager
def running(site: Site) -> Iterator[Site]:
    """Stop the server when the block ends, and remove its folder."""
    try:
        yield site
    finally:
        site.stop()
        shutil.rmtree(site.folder, ignore_errors=True)
