"""Runs a check in a process of its own, with a deadline: what raises, hangs or crashes there becomes a finding."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from common.messages import one_line
from crossover.gpu_check.finding import REPORT, Finding, problem, skipped
from serving import ROOT

TAIL = 4000  # characters of a check's own output that are kept where it ends badly
LEAST = 2.0  # seconds that a check needs at least
GRACE = 5.0  # seconds that a killed process has to end


@dataclass(frozen=True)
class Probe:
    """A check: a generator function of findings, `place` is its "module:function"."""

    name: str
    """Of the finding, where the check itself fails."""
    place: str
    seconds: float
    """It is killed after so long."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """The function's arguments, as JSON can hold them."""


class Budget:
    """The seconds that all checks may take together."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._began = time.monotonic()

    @property
    def used(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds that are left; negative if it is overdrawn."""
        return self.seconds - self.used


class Runner:
    """Runs probes one after the other within a budget; `kill` ends the one that runs."""

    def __init__(self, budget: Budget):
        self.budget = budget
        self._process: subprocess.Popen | None = None
        self._killed = False

    def run(self, probe: Probe) -> Iterator[Finding]:
        """Yield a probe's findings as they come; the last one says so if it ended badly.

        It is killed at its own deadline or when the budget is used up, whatever comes first; with less than LEAST
        seconds left it is skipped. After `kill` nothing is run, and nothing yielded.
        """
        seconds = min(probe.seconds, self.budget.left)
        if self._killed:
            return
        if seconds < LEAST:
            yield skipped(probe.name, f"no time left of {self.budget.seconds:g} s; --seconds gives more")
            return
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            reading, writing = os.pipe()
            arguments = [
                probe.name,
                probe.place,
                json.dumps(probe.arguments),
                str(writing),
                str(int(seconds + 2 * GRACE)),
            ]
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "crossover.gpu_check.child", *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[writing],
                start_new_session=True,
            )
            os.close(writing)
            if self._killed:  # while it was started
                self.kill_group(process)
            late = threading.Event()
            timer = threading.Timer(seconds, self._end_late, [process, late])
            timer.start()
            try:
                with os.fdopen(reading) as lines:
                    for line in lines:
                        yield Finding(**json.loads(line))
                code = wait(process, seconds + GRACE)
            finally:
                timer.cancel()
                self.kill_group(process)
                self._process = None
            if (late.is_set() or code) and not self._killed:
                output.seek(0)
                if late.is_set() and seconds < probe.seconds:
                    # Its own time was not up: that of the whole check was.
                    text = f"no time left: it had the last {seconds:.0f} s of {self.budget.seconds:g} s"
                    yield skipped(probe.name, f"{text}; --seconds gives more", output=output.read()[-TAIL:])
                else:
                    yield explain(probe, code, seconds if late.is_set() else None, output.read())

    def kill(self) -> None:
        """End the probe that runs, if any, and begin no other one."""
        self._killed = True
        if process := self._process:
            self.kill_group(process)

    def _end_late(self, process: subprocess.Popen, late: threading.Event) -> None:
        """Kill a process at its deadline, and note in `late` that this was why."""
        late.set()
        self.kill_group(process)

    @staticmethod
    def kill_group(process: subprocess.Popen) -> None:
        """Kill a process and those that it started, unless it has been waited for."""
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            wait(process, GRACE)


def wait(process: subprocess.Popen, seconds: float) -> int | None:
    """Return a process's exit code; None if it has not ended by then, as a hung driver may keep it."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    return None


def explain(probe: Probe, code: int | None, seconds: float | None, output: str) -> Finding:
    """Return the finding of a probe that ended badly; `seconds` is its deadline if it was killed for that.

    `code` is its exit code, negative for a signal, None if it does not end; `output` is all that it has printed, of
    which the finding keeps the end.
    """
    lines = [line for line in output.splitlines() if line.strip()]
    figures = {"output": output[-TAIL:]}
    if seconds is not None:
        return problem(probe.name, f"no end within {seconds:.0f} s", REPORT, **figures)
    if code is None:
        return problem(probe.name, "it cannot be killed", "look at `dmesg`: the driver may hang", **figures)
    if code < 0:
        what = f"ended by {signal.Signals(-code).name}"
        return problem(probe.name, what, f"{REPORT}; --json has the end of its output", **figures)
    return problem(probe.name, one_line(lines[-1]) if lines else f"exit code {code}", REPORT, **figures)
