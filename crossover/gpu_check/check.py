"""The whole check: the machine and the libraries, then the launcher's server, within a budget of seconds."""

import contextlib
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from common.messages import one_line
from crossover.gpu_check.finding import PROBLEM, REPORT, SEE_LOG, Finding, ok, problem, skipped
from crossover.gpu_check.probe import Budget, Probe, Runner
from serving import Failure, model_loader
from serving.server import Server
from serving.temporary_server import temporary_server
from serving.thread_plan import format_cores

PACKAGE = "crossover.gpu_check"
FOR_REQUESTS = 15.0  # seconds that are kept for requests while the server starts
FOR_START = 10.0  # seconds that a server on the CPU needs to start
SERVER_PROBES = ("server steps", "placements", "hostile", "rate")
LOG_LINES = 60
SLOW = f"run it again, as the first start in a new environment compiles, or with more --seconds; then {REPORT}"


class TooLate(Exception):
    """The server was not up in time."""


class Check:
    """One run of `gpu-check`: `show` gets every finding as it comes; `findings` holds all of them.

    `short` measures for less time, and looks at the libraries while the server starts. `weights` are "real", "tiny" or
    "auto"; `seconds` is the budget of everything together.
    """

    def __init__(self, show: Callable[[Finding], None], short: bool, weights: str, seconds: float):
        self.budget = Budget(seconds)
        self.findings: list[Finding] = []
        self.log = ""
        """The end of the server's log."""
        self._show, self._short, self._weights = show, short, weights
        self._runner = Runner(self.budget)
        self._driver = self._gpu = False

    @property
    def has_problems(self) -> bool:
        """Whether any finding is a problem."""
        return any(finding.state == PROBLEM for finding in self.findings)

    @property
    def has_card(self) -> bool:
        """Whether there was a card to check."""
        return self._driver

    def run(self) -> None:
        """Run every check. What it started is ended, also after Ctrl-C."""
        try:
            self._probe("machine", "machine:examine", 20)
            self._probe("gpu", "cards:examine", 60)
            self._driver = any(finding.figures.get("driver") for finding in self.findings)
            self._gpu = any(finding.figures.get("usable") for finding in self.findings)
            if self._short:
                # Side by side, as each process that uses the GPU takes seconds to begin.
                libraries = threading.Thread(target=self._examine_libraries)
                libraries.start()
                self._examine_server(libraries.join)
            else:
                self._examine_libraries()
                self._examine_server(lambda: None)
        finally:
            self._runner.kill()

    def _examine_libraries(self) -> None:
        """Look at networks and decoders, on the card also where the server would not use it: they say why not."""
        limit = 60 if self._short else 90
        options = {"gpu": self._driver, "short": self._short}
        self._probe("network", "network:examine", limit, weights=self.weights, **options)
        self._probe("decode", "decode:examine", limit, **options)
        self._probe("decoders", "decode:examine_decoders", limit, **options)

    def _examine_server(self, wait_for_libraries: Callable[[], None]) -> None:
        """Start the server, on the CPU if it does not come up on the GPU, and ask it."""
        with tempfile.TemporaryDirectory(prefix="crossover-gpu-check-") as folder:
            flags = [()] if not self._gpu else [(), ("--no-gpu",)]
            for more in flags:
                if self.budget.left < FOR_REQUESTS + FOR_START:
                    start = " ".join(("no time left to start it", *(f"with {flag}" for flag in more)))
                    self._note(skipped("server", f"{start}; --seconds gives more"))
                    break
                state = Path(folder, "no-gpu" if more else "server")
                began = self.budget.used
                try:
                    with self._start(state, more) as server:
                        up = self.budget.used - began
                        wait_for_libraries()
                        self._note(describe_server(server, up, self.weights))
                        self._ask(server, state, self._gpu and not more)
                        self.log = read_end(state / "server.log")
                        return
                except (Failure, TooLate, OSError) as error:
                    wait_for_libraries()
                    self.log = read_end(state / "server.log") or self.log
                    remedy = SLOW if isinstance(error, TooLate) else f"{SEE_LOG}, and {REPORT}"
                    self._note(problem("server", one_line(error), remedy, log=self.log))
            for name in SERVER_PROBES:
                self._note(skipped(name, "no server"))

    @property
    def weights(self) -> str:
        """The networks that the server gets: what was asked for, or the real ones if they are exported, else tiny."""
        if self._weights != "auto":
            return self._weights
        try:
            model_loader.check()
        except Failure:
            return "tiny"
        return "real"

    @contextlib.contextmanager
    def _start(self, state: Path, more: tuple[str, ...]) -> Iterator[Server]:
        """Start the server, with more flags of `crossover up`. Raises TooLate, or Unavailable with its words."""
        alarm = Alarm(max(1.0, self.budget.left - FOR_REQUESTS))
        options: dict[str, Any] = {"flags": more} if more else {}
        with alarm, temporary_server(state, self.weights, **options) as server:
            alarm.cancel()
            yield server

    def _ask(self, server: Server, state: Path, gpu: bool) -> None:
        """Run the checks of a server that is up; `gpu`: whether it was to use one."""
        address = {"url": server.url, "state": str(state)}
        self._probe("server steps", "answers:examine_steps", 15, **address, gpu=gpu)
        self._probe("placements", "answers:examine_placements", 40, **address)
        self._probe("hostile", "answers:examine_hostile", 40, **address)
        self._probe("rate", "rate:examine", 60, **address, seconds=2.0 if self._short else 5.0)

    def _probe(self, name: str, place: str, limit: float, **arguments: Any) -> None:
        """Note what one check finds; `place` is its "module:function" in PACKAGE, `limit` its seconds."""
        try:
            for finding in self._runner.run(Probe(name, f"{PACKAGE}.{place}", limit, arguments)):
                self._note(finding)
        except Exception as error:  # one check that cannot be run at all must not cost the others
            self._note(problem(name, f"{type(error).__name__}: {one_line(error)}"))

    def _note(self, finding: Finding) -> None:
        """Keep a finding, and show it."""
        self.findings.append(finding)
        self._show(finding)


class Alarm:
    """Raises TooLate in the block after so many seconds, unless it is cancelled; only in the main thread."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGALRM, self._raise)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *error: object) -> None:
        self.cancel()
        signal.signal(signal.SIGALRM, self._before)

    def cancel(self) -> None:
        """Let nothing happen any more."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise TooLate(f"not up within {self.seconds:.0f} s")


def describe_server(server: Server, seconds: float, weights: str) -> Finding:
    """Return the finding of a server that is up."""
    where = "with a GPU" if server.state.get("gpu") else "on the CPU"
    cores = format_cores(server.cores)
    text = f"up after {seconds:.1f} s {where}, with {weights} networks, on cores {cores}"
    return ok("server", text, seconds=seconds, gpu=bool(server.state.get("gpu")), weights=weights, cores=server.cores)


def read_end(log: Path) -> str:
    """Return the last lines of a log; empty where there is none."""
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
    return ""
