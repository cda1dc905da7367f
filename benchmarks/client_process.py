"""Runs each client as a process of its own on the client's cores, and measures what that cost client and server.

CPU time and memory of a client are what the kernel counted for its process (getrusage(2), by wait4). Those of the
server are read before and after, and divided by the requests that the server counted meanwhile.

A run's figures are a dict: `rate` (requests/s), `latency` (ms by percentile), `cpu_ms` (of the client, per request),
`rss_mb`, and what `add_costs` adds.
"""

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
"""A function called every half second with the process, the seconds since its start, and the requests answered."""


class FinishedProcess(NamedTuple):
    """A client that has ended: what it printed and used, and what the server and other processes did meanwhile."""

    output: str
    usage: resource.struct_rusage
    requests: int  # that the server answered
    server_seconds: float  # of CPU
    other_cores: float  # CPU seconds per second of all other processes


@dataclass(frozen=True)
class Clients:
    """The three clients, with the server that they load and the cores that each of them gets.

    `folder` is for their files. Every method runs one client once with one of `null_server.LOADS` and returns the run's
    figures; it raises Failure if the client fails or if a request does.
    """

    server: Server
    perf_analyzer: perf_analyzer.PerfAnalyzer
    cores: list[int]
    folder: Path

    def run_crossover(self, load: str, *flags: object, watch: Watch | None = None) -> dict:
        """Run our client with these flags of `benchmarks.crossover_client`.

        `watch` is called twice a second, if it is given.
        """
        command = [sys.executable, "-m", "benchmarks.crossover_client", self.server.url, load, *map(str, flags)]
        environment = {**os.environ, "TMPDIR": str(self.folder)}  # removed with the folder, also if it is killed
        done = self.run(load, command, environment, watch)
        figures = json.loads(done.output)
        if figures["errors"]:
            raise Failure(f"{figures['errors']} of {figures['requests']} requests failed: {figures['reasons'][0]}")
        return add_costs(figures, done)

    def run_perf_analyzer(self, load: str, flags: list[str], seconds: float) -> dict:
        """Run perf_analyzer with these flags, which say how it loads.

        It reports the requests within its windows only; the cost is that of all requests that the server counted.
        """
        report, content = self.folder / "report.csv", self.folder / load
        report.unlink(missing_ok=True)
        content.mkdir(exist_ok=True)
        (content / "bytes").write_bytes(null_server.LOADS[load].content())
        command = self.perf_analyzer.command(self.server.url, null_server.LOADS[load], content, report, flags, seconds)
        done = self.run(load, command, self.perf_analyzer.environment)
        if not report.exists():
            raise Failure(f"perf_analyzer reported nothing: {perf_analyzer.last_line(done.output)}")
        cpu = (done.usage.ru_utime + done.usage.ru_stime) / done.requests
        figures = {"cpu_ms": cpu * 1e3, "rss_mb": done.usage.ru_maxrss / 1024, **perf_analyzer.read(report)}
        return add_costs(figures, done)

    def run_h2load(self, load: str, rate: float, seconds: float) -> dict:
        """Run h2load at `rate` requests/s, at constant intervals, for `seconds`.

        Its log has every request; the cost is that of all requests that the server counted.
        """
        command = h2load.command(self.server.url, null_server.LOADS[load], self.folder, rate, seconds)
        done = self.run(load, command, dict(os.environ))
        cpu = (done.usage.ru_utime + done.usage.ru_stime) / done.requests
        figures = h2load.read(h2load.log(self.folder), seconds)
        return add_costs({"cpu_ms": cpu * 1e3, "rss_mb": done.usage.ru_maxrss / 1024, **figures}, done)

    def run(self, load: str, command: list[str], environment: dict, watch: Watch | None = None) -> FinishedProcess:
        """Run a command to its end on the client's cores; kill it if we are interrupted.

        Raises Failure with its last line if it fails, or if the server answered nothing to it.
        """
        answered, cpu = self.count_answers(load), self.server.cpu_seconds()
        began, others = time.monotonic(), other_cpu_seconds(self.server)
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
        printed = output.read_text(errors="replace")
        if process.returncode:
            name = Path(command[0]).name
            raise Failure(f"{name} exited with code {process.returncode}: {perf_analyzer.last_line(printed)}")
        requests = self.count_answers(load) - answered
        if not requests:
            raise Failure(f"no request was answered: {perf_analyzer.last_line(printed)}")
        others = max(0.0, other_cpu_seconds(self.server) - others) / (time.monotonic() - began)
        end = self.server.cpu_seconds()
        if cpu is None or end is None:
            raise Failure("the server's CPU seconds are not known: it does not run on this machine, or ended")
        return FinishedProcess(printed, usage, requests, end - cpu, others)

    def wait(self, process: subprocess.Popen, load: str, answered: int, watch: Watch | None) -> resource.struct_rusage:
        """Wait for the end of a process and return what it used; call `watch`, if given, twice a second."""
        began = time.monotonic()
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG if watch else 0)
            if ended:
                process.returncode = os.waitstatus_to_exitcode(status)
                return usage
            if watch:
                watch(psutil.Process(process.pid), time.monotonic() - began, self.count_answers(load) - answered)
                time.sleep(0.5)

    def count_answers(self, load: str) -> int:
        """Return how many requests of this kind the server has answered since its start."""
        return self.server.statistics()[load]["inference_stats"]["success"]["count"]


def add_costs(figures: dict, done: FinishedProcess) -> dict:
    """Add `server_cpu_ms` (per request) and `busy` to a run's figures.

    `busy`: percent of a core that `client` and `server` need at the run's rate, and that all `others` took meanwhile.
    """
    server_ms = done.server_seconds / done.requests * 1e3
    busy = {
        "client": figures["cpu_ms"] * figures["rate"] / 10,
        "server": server_ms * figures["rate"] / 10,
        "others": done.other_cores * 100,
    }
    return {**figures, "server_cpu_ms": server_ms, "busy": busy}


def other_cpu_seconds(server: Server) -> float:
    """Return the CPU seconds of this machine so far, without the server, this process and its ended children."""
    times = psutil.cpu_times()
    busy = sum(times[:8]) - times.idle - times.iowait  # what follows is guests' time, counted before
    return busy - sum(psutil.Process().cpu_times()[:4]) - (server.cpu_seconds() or 0.0)
