"""Runs of both clients, each a process of its own on the client's cores, with what it cost them and the server."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks import h2load, null_server, perf_analyzer
from serving import ROOT, Failure
from serving.server import Server

Watch = Callable[[psutil.Process, float, int], None]
"""Called every half second with the process, the seconds since its start and the requests answered so far."""


class Done(NamedTuple):
    """A process that has ended: what it printed and used, and what the server and all others did meanwhile."""

    output: str
    usage: resource.struct_rusage
    requests: int
    server_seconds: float
    other_cores: float


@dataclass(frozen=True)
class Clients:
    server: Server
    rival: perf_analyzer.PerfAnalyzer
    cores: list[int]
    folder: Path

    def ours(self, load: str, *how: object, watch: Watch | None = None) -> dict:
        command = [sys.executable, "-m", "benchmarks.crossover_client", self.server.url, load, *map(str, how)]
        environment = {**os.environ, "TMPDIR": str(self.folder)}  # nothing stays, should it be killed
        done = self.run(load, command, environment, watch)
        found = json.loads(done.output)
        if found["errors"]:
            raise Failure(f"{found['errors']} of {found['requests']} requests failed: {found['reasons'][0]}")
        return priced(found, done)

    def theirs(self, load: str, how: list[str], seconds: float) -> dict:
        """Its report, which counts requests within its windows only, and the cost of all that the server counted."""
        report, content = self.folder / "report.csv", self.folder / load
        report.unlink(missing_ok=True)
        content.mkdir(exist_ok=True)
        (content / "bytes").write_bytes(null_server.LOADS[load].content())
        command = self.rival.command(self.server.url, null_server.LOADS[load], content, report, how, seconds)
        done = self.run(load, command, self.rival.environment)
        if not report.exists():
            raise Failure(f"perf_analyzer reported nothing: {perf_analyzer.last_line(done.output)}")
        cpu = (done.usage.ru_utime + done.usage.ru_stime) / done.requests
        found = {"cpu_ms": cpu * 1e3, "rss_mb": done.usage.ru_maxrss / 1024, **perf_analyzer.read(report)}
        return priced(found, done)

    def third(self, load: str, rate: float, seconds: float) -> dict:
        """h2load's log of requests at constant intervals, and what they cost."""
        command = h2load.command(self.server.url, null_server.LOADS[load], self.folder, rate, seconds)
        done = self.run(load, command, dict(os.environ))
        cpu = (done.usage.ru_utime + done.usage.ru_stime) / done.requests
        found = h2load.read(h2load.log(self.folder), seconds)
        return priced({"cpu_ms": cpu * 1e3, "rss_mb": done.usage.ru_maxrss / 1024, **found}, done)

    def run(self, load: str, command: list[str], environment: dict, watch: Watch | None = None) -> Done:
        """Raises Failure if it fails or if nothing was answered."""
        answered, cpu = self.answered(load), self.server.cpu_seconds()
        began, others = time.monotonic(), foreign(self.server)
        output = self.folder / "output"
        with output.open("w") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, self.cores),
            )
            try:
                usage = self.wait(process, load, answered, watch)
            finally:
                if process.returncode is None:
                    process.kill()
                    process.wait()
        said = output.read_text(errors="replace")
        if process.returncode:
            name = Path(command[0]).name
            raise Failure(f"{name} exited with code {process.returncode}: {perf_analyzer.last_line(said)}")
        requests = self.answered(load) - answered
        if not requests:
            raise Failure(f"no request was answered: {perf_analyzer.last_line(said)}")
        others = max(0.0, foreign(self.server) - others) / (time.monotonic() - began)
        return Done(said, usage, requests, self.server.cpu_seconds() - cpu, others)

    def wait(self, process: subprocess.Popen, load: str, answered: int, watch: Watch | None) -> resource.struct_rusage:
        began = time.monotonic()
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG if watch else 0)
            if ended:
                process.returncode = os.waitstatus_to_exitcode(status)
                return usage
            watch(psutil.Process(process.pid), time.monotonic() - began, self.answered(load) - answered)
            time.sleep(0.5)

    def answered(self, load: str) -> int:
        return self.server.statistics()[load]["inference_stats"]["success"]["count"]


def priced(figures: dict, done: Done) -> dict:
    """`busy`: percent of a core that each side needs at the run's rate, and that others took from both."""
    server_ms = done.server_seconds / done.requests * 1e3
    busy = {
        "client": figures["cpu_ms"] * figures["rate"] / 10,
        "server": server_ms * figures["rate"] / 10,
        "others": done.other_cores * 100,
    }
    return {**figures, "server_cpu_ms": server_ms, "busy": busy}


def foreign(server: Server) -> float:
    """CPU seconds spent on this machine so far by everything but the server, this process and its children."""
    times = psutil.cpu_times()
    busy = sum(times[:8]) - times.idle - times.iowait  # what follows is guests' time, counted before
    return busy - sum(psutil.Process().cpu_times()[:4]) - (server.cpu_seconds() or 0.0)
