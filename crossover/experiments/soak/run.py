"""Does it stay well? Good and damaged files at half capacity for as long as you like, with a stub killed now and then.

    crossover soak --seconds 600                                  # on a server of its own
    crossover soak --seconds 600 --url http://localhost:8000      # on yours, whose stubs it leaves alone

Prints a row per minute: what became of the requests, latency from the due time, and the server's memory, descriptors
and shared memory; at the end how each drifted. Ctrl-C ends it early, with what there is.
"""

import collections
import contextlib
import os
import random
import re
import signal
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import numpy as np

import arrivals
from common.figures import significant
from crossover.experiments.base_run import Run
from crossover.experiments.options import check_run_options
from crossover.experiments.soak.files import BAD, mix_files
from crossover.experiments.soak.vitals import describe_drift, read_vitals
from crossover.measurement import host
from crossover.measurement.saturation import measure_saturation
from crossover.measurement.unloaded_latency import measure_unloaded
from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import COMPLETED, Sample
from serving import local
from serving.server import Server
from serving.supervisor import stubs
from serving.temporary_server import temporary_server
from workloads import payloads
from workloads.catalogue import BUILT_IN
from workloads.workload import Workload

gevent.hub.Hub.NOT_ERROR = (*gevent.hub.Hub.NOT_ERROR, KeyboardInterrupt)  # Run.conduct handles Ctrl-C, no traceback
KILL = 60.0  # seconds between two killed stubs, the first after half of that
TIMEOUT = 10.0  # seconds of a request
MINUTE = 60.0
SEARCH = 5.0  # seconds to find the capacity of each workload in
BACK = 20.0  # seconds for a server that died at the end to be back


def measure_capacity(server: Server, workloads: Mapping[str, list[payloads.Payload]]) -> float:
    """Measure how many good files of each workload the server answers per second when it is asked for all alike.

    Measured for one after the other: where they share the server, the times that their requests take add up.
    Raises Unavailable if one is not answered.
    """
    seconds = 0.0
    for name, good in workloads.items():
        arm = ask_files(BUILT_IN[name])
        unloaded = float(measure_unloaded(server, arm, good).mean())
        seconds += 1 / measure_saturation(server, arm, good, unloaded, SEARCH)
    return 1 / seconds


def ask_files(workload: Workload) -> Arm:
    """Return the arm that sends files as they are."""
    return Arm(workload, workload.encoded, Mode("async"))


def classify(sample: Sample) -> str:
    """Return how a request ended: `answered`, an HTTP status, or the first words of what went wrong."""
    if sample.status == COMPLETED:
        return "answered"
    code = re.match(r"HTTP \d+", sample.reason)
    return code[0] if code else re.split(r"[:,]", sample.reason)[0][:40] or sample.status


@dataclass
class Minute:
    """How the requests ended that finished in one minute."""

    outcomes: collections.Counter = field(default_factory=collections.Counter)
    latencies: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in BUILT_IN})

    def add(self, name: str, sample: Sample) -> None:
        """Count a finished request of a workload."""
        self.outcomes[classify(sample)] += 1
        if sample.status == COMPLETED:
            self.latencies[name].append(sample.latency * 1e3)

    def figures(self) -> dict[str, float]:
        """Return p50 and p99 in ms, from the due time, of what was answered; nan if nothing was."""
        figures = {}
        for name, latencies in self.latencies.items():
            for percent in (50, 99):
                figures[f"{name} p{percent}, ms"] = float(np.percentile(latencies, percent)) if latencies else np.nan
        return figures


class Soak(Run):
    """Good and damaged files at half capacity, on a server of its own, whose stubs it kills, or on one that is up.

    Prints a row per minute, and at the end, however it ends, how each figure drifted.
    """

    def __init__(self, options: Namespace):
        super().__init__(options)
        self.up = Server.at(options.url, Path(options.state)) if options.url else None
        self.dice = random.Random(options.seed)
        self.minute = Minute()
        self.rows: list[dict[str, float]] = []
        self.total: collections.Counter[str] = collections.Counter()

    def measure(self) -> None:
        """Soak to the end, or until it is interrupted; what is on its way then counts as unfinished."""
        running = contextlib.nullcontext(self.up) if self.up else start_server(self.options.weights)
        with running as self.server:
            self.server.require(model for workload in BUILT_IN.values() for model in workload.models)
            client = host.free_cores(self.server.cores)
            if set(client) != os.sched_getaffinity(0):
                host.pin(client)
            self.soak(self.plan())

    def plan(self) -> list[tuple[OpenLoop, Plan]]:
        """Return for each workload what sends its requests, and which: due times, and files in their order."""
        good = {name: workload.load() for name, workload in BUILT_IN.items()}
        rate = measure_capacity(self.server, good) / 2
        half = f"half capacity: {significant(rate)} requests/s of each workload"
        print(f"{half}, {BAD:.0%} of them damaged files", flush=True)
        loops = []
        for number, (name, workload) in enumerate(BUILT_IN.items(), self.options.seed):
            dues = arrivals.parse(f"poisson:rate={rate}").schedule(self.options.seconds, number).times
            sent, order = mix_files(good[name], len(dues), number)
            arm, record = ask_files(workload), self.recorder(name)
            loop = OpenLoop(arm, self.server.url, record, TIMEOUT, sleep=gevent.sleep)
            loops.append((loop, Plan(dues, order, sent)))
        return loops

    def soak(self, loops: list[tuple[OpenLoop, Plan]]) -> None:
        """Send it all; print a row per minute, then a summary. Raises Unavailable if the server is gone at the end."""
        running = [gevent.spawn(loop.run, plan) for loop, plan in loops]
        self.began = time.monotonic()
        others = [gevent.spawn(self.report_minutes), *([] if self.up else [gevent.spawn(self.kill_stubs)])]
        try:
            gevent.joinall(running, raise_error=True)
        finally:
            # The last minute has a row if it is the only one, or lasted a tenth of a minute or more.
            gevent.killall([*running, *others])
            if not self.rows or time.monotonic() - self.began > MINUTE * (len(self.rows) + 0.1):
                self.print_row()
            self.print_summary()
        self.server.wait(BACK)

    def recorder(self, name: str) -> Callable[[Sample], None]:
        """Return the function that takes the finished samples of a workload."""
        return lambda sample: self.minute.add(name, sample)

    def report_minutes(self) -> None:
        """Print a row every minute, without end."""
        while True:
            gevent.sleep(MINUTE)
            self.print_row()

    def print_row(self) -> None:
        """Print the minute that ends now, and begin the next."""
        minute, self.minute = self.minute, Minute()
        self.total.update(minute.outcomes)
        self.rows.append({**minute.figures(), **read_vitals(self.server.state)})
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.rows[-1].items())
        print(f"minute {len(self.rows)}: {format_counts(minute.outcomes)}\n    {figures}", flush=True)

    def kill_stubs(self) -> None:
        """Kill one of the server's stubs every KILL seconds."""
        gevent.sleep(KILL / 2)
        while True:
            if running := stubs(self.server.state["name"]):
                stub = self.dice.choice(running)
                local.kill(stub.pid, signal.SIGKILL)
                print(f"    killed the stub of {stub.model} after {time.monotonic() - self.began:.0f} s", flush=True)
            gevent.sleep(KILL)

    def print_summary(self) -> None:
        """Print how all requests ended, and how each figure drifted."""
        self.total.update(self.minute.outcomes)
        print(f"\n{self.verdict()}")

    def document(self) -> dict:
        """Return how all requests ended, and each minute's figures."""
        rows = [{name: value if np.isfinite(value) else None for name, value in row.items()} for row in self.rows]
        return {"verdict": self.verdict().splitlines(), "result": {"outcomes": dict(self.total), "minutes": rows}}

    def verdict(self) -> str:
        """Return how all requests ended, and how each figure drifted, a line each."""
        drifts = (
            describe_drift(name, [row.get(name, np.nan) for row in self.rows])
            for name in dict.fromkeys(name for row in self.rows for name in row)
        )
        return "\n".join([f"in all: {format_counts(self.total)}", *(f"  {each}" for each in drifts)])


def format_counts(outcomes: collections.Counter) -> str:
    """Write `answered 120, HTTP 400 25`: the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in outcomes.most_common()) or "nothing finished"


@contextlib.contextmanager
def start_server(weights: str) -> Iterator[Server]:
    """Start a server of the launcher's, and print afterwards what its supervisor did. Raises Unavailable."""
    with (
        tempfile.TemporaryDirectory(prefix="crossover-soak-") as folder,
        temporary_server(Path(folder), weights) as server,
    ):
        yield server
        for line in (Path(folder) / "server.log").read_text().splitlines():
            if "supervisor: " in line:
                print(line)


def check(options: Namespace) -> None:
    """Check the options. Raises ValueError for a bad one."""
    check_run_options(options, MINUTE, "growth is judged from minute to minute")
