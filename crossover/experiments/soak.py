"""Does it stay well? Good and damaged files at half capacity for as long as you like, with a stub killed now and then.

    python -m benchmarks.soak --minutes 10                 # on a server of its own
    python -m benchmarks.soak --minutes 10 --url http://localhost:8000   # on yours, whose stubs it leaves alone

Prints a row per minute: what became of the requests, latency from the due time, and the server's memory, descriptors
and shared memory; at the end how each drifted. Ctrl-C ends it early, with what there is.
"""

import argparse
import collections
import contextlib
import os
import random
import re
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import numpy as np
import psutil

from crossover.measurement import host
from loadgen import arrivals
from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import COMPLETED
from serving import ROOT, Failure, local
from serving.server import Server, Unavailable
from serving.supervisor import stubs
from serving.temporary_server import temporary_server
from serving.triton_api import TritonAPI
from workloads import payloads
from workloads.workload import WORKLOADS

gevent.hub.Hub.NOT_ERROR = (*gevent.hub.Hub.NOT_ERROR, KeyboardInterrupt)  # main handles Ctrl-C, no traceback
BAD = 0.2  # of the requests carry a damaged file
KILL = 60.0  # seconds between two killed stubs, the first after half of that
TIMEOUT = 10.0  # seconds of a request
MINUTE = 60.0
BACK = 20.0  # seconds for a server that died at the end to be back


def damaged(encoded: bytes, dice: random.Random) -> bytes:
    """A file cut somewhere, or with up to 20 of its bytes changed; some of these can still be decoded."""
    if dice.random() < 0.5:
        return encoded[: dice.randrange(1, len(encoded))]
    changed = bytearray(encoded)
    for _ in range(dice.randint(1, 20)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def mixed(good: list[payloads.Payload], n: int, seed: int) -> tuple[list[payloads.Payload], np.ndarray]:
    """The good files and 100 damaged ones, and which of them each of n requests sends."""
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    bad = [payloads.Payload(f"bad-{i}", damaged(dice.choice(good).encoded, dice)) for i in range(100)]
    order = np.where(rng.random(n) < BAD, len(good) + rng.integers(len(bad), size=n), rng.integers(len(good), size=n))
    return [*good, *bad], order


def capacity(url: str, sent: dict[str, list], seconds: float = 5, in_flight: int = 4) -> float:
    """Good files of each workload that the server answers per second when asked for both, four requests in flight.

    Raises Failure if it answers one otherwise than with 200.
    """
    api, end = TritonAPI(url.rpartition("/")[2]), time.monotonic() + seconds

    def ask(worker: int) -> int:
        done = worker
        while time.monotonic() < end:
            for name, good in sent.items():
                api.infer(name, good[done % len(good)].encoded)
            done += 1
        return done - worker

    began = time.monotonic()
    with ThreadPoolExecutor(in_flight) as pool:
        return sum(pool.map(ask, range(in_flight))) / (time.monotonic() - began)


def fate(sample) -> str:
    """`answered`, an HTTP status, or the first words of what went wrong."""
    if sample.status == COMPLETED:
        return "answered"
    code = re.match(r"HTTP \d+", sample.reason)
    return code[0] if code else re.split(r"[:,]", sample.reason)[0][:40] or sample.status


@dataclass
class Minute:
    """What became of the requests that finished in it."""

    fates: collections.Counter = field(default_factory=collections.Counter)
    latencies: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WORKLOADS})

    def add(self, name: str, sample) -> None:
        self.fates[fate(sample)] += 1
        if sample.status == COMPLETED:
            self.latencies[name].append(sample.latency * 1e3)

    def figures(self) -> dict[str, float]:
        """p50 and p99 in ms, from the due time, of what was answered."""
        told = {}
        for name, latencies in self.latencies.items():
            for percent in (50, 99):
                told[f"{name} p{percent}, ms"] = float(np.percentile(latencies, percent)) if latencies else np.nan
        return told


def vitals(record: dict) -> dict[str, float]:
    """Memory of each process of a server on this machine, their descriptors, and its shared memory; else nothing."""
    if not record:
        return {}
    rss, descriptors = collections.Counter(), 0
    for process in family(record):
        with contextlib.suppress(psutil.Error):
            rss[title(process)] += process.memory_info().rss / 1e6
            descriptors += process.num_fds()
    segments = [path.stat().st_blocks * 512 for path in local.SHM.glob(f"{record['name']}.*")]
    shared = {} if record["engine"] == "docker" else {"shared memory, MB": sum(segments) / 1e6}
    return {**{f"{name}, MB": rss[name] for name in sorted(rss)}, "descriptors": descriptors, **shared}


def title(process: psutil.Process) -> str:
    """Of a stub the model whose it is, of the supervisor that, else the program's name."""
    arguments = process.cmdline()
    model = next((match[1] for each in arguments if (match := re.fullmatch(r"(\w+?)_\d+_\d+", each))), "")
    return f"stub of {model}" if model else "supervisor" if "supervise" in arguments else process.name()


def family(record: dict) -> list[psutil.Process]:
    if record["engine"] == "docker":
        root = psutil.Process(record["container_pid"])
        return [root, *root.children(recursive=True)]
    return [psutil.Process(pid) for pid in local.processes(record["name"]) if psutil.pid_exists(pid)]


def drift(name: str, values: list[float]) -> str:
    """One sentence: the first and the last of a row of minutes, and the slope of the line through all but the first."""
    span = f"{name}: {values[0]:.4g} in the first minute, {values[-1]:.4g} in the last"
    settled = [(minute, value) for minute, value in enumerate(values) if minute and np.isfinite(value)]
    if len(settled) < 2:
        return f"{span}; too short for a slope"
    slope = np.polyfit(*zip(*settled, strict=True), 1)[0]
    return f"{span}; {slope:+.3g} per minute from the second on"


class Soak:
    def __init__(self, server: Server, seconds: float, seed: int, kills: bool):
        self.server, self.seconds, self.kills, self.dice = server, seconds, kills, random.Random(seed)
        self.minute, self.rows, self.total = Minute(), [], collections.Counter()
        self.began = time.monotonic()
        good = {name: payloads.load(workload) for name, workload in WORKLOADS.items()}
        self.rate = capacity(server.url, good) / 2
        print(
            f"half capacity: {self.rate:.3g} requests/s of each workload, {BAD:.0%} of them damaged files", flush=True
        )
        self.runs = []
        for number, (name, workload) in enumerate(WORKLOADS.items()):
            dues = arrivals.parse(f"poisson:rate={self.rate}").schedule(seconds, seed + number).times
            sent, order = mixed(good[name], len(dues), seed + number)
            arm = Arm(workload, "server", Mode("async"))
            loop = OpenLoop(arm, server.url, self.recorder(name), TIMEOUT, sleep=gevent.sleep)
            self.runs.append((loop, Plan(dues, order, sent)))

    def recorder(self, name: str):
        return lambda sample: self.minute.add(name, sample)

    def run(self) -> None:
        """To the end, or until Ctrl-C; what is on its way then counts as unfinished.

        Raises Unavailable if the server answers nothing in the end."""
        running = [gevent.spawn(loop.run, plan) for loop, plan in self.runs]
        self.began = time.monotonic()
        others = [gevent.spawn(self.report), *([gevent.spawn(self.hurt)] if self.kills else [])]
        try:
            gevent.joinall(running, raise_error=True)
        finally:
            gevent.killall([*running, *others])
            if not self.rows or time.monotonic() - self.began > MINUTE * (len(self.rows) + 0.1):
                self.row()
            self.summary()
        self.server.wait(BACK)

    def report(self) -> None:
        while True:
            gevent.sleep(MINUTE)
            self.row()

    def row(self) -> None:
        minute, self.minute = self.minute, Minute()
        self.total.update(minute.fates)
        self.rows.append({**minute.figures(), **vitals(self.server.state)})
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.rows[-1].items())
        print(f"minute {len(self.rows)}: {told(minute.fates)}\n    {figures}", flush=True)

    def hurt(self) -> None:
        gevent.sleep(KILL / 2)
        while True:
            if there := stubs(self.server.state["name"]):
                stub = self.dice.choice(there)
                local.kill(stub.pid, signal.SIGKILL)
                print(f"    killed the stub of {stub.model} after {time.monotonic() - self.began:.0f} s", flush=True)
            gevent.sleep(KILL)

    def summary(self) -> None:
        self.total.update(self.minute.fates)
        print(f"\nin all: {told(self.total)}")
        for name in dict.fromkeys(name for row in self.rows for name in row):
            print(f"  {drift(name, [row.get(name, np.nan) for row in self.rows])}")


def told(fates: collections.Counter) -> str:
    return ", ".join(f"{name} {count}" for name, count in fates.most_common()) or "nothing finished"


@contextlib.contextmanager
def own(weights: str):
    """A server of one's own. Raises Unavailable if it does not come up."""
    with (
        tempfile.TemporaryDirectory(prefix="crossover-soak-") as folder,
        temporary_server(Path(folder), weights) as server,
    ):
        yield server
        for line in (Path(folder) / "server.log").read_text().splitlines():
            if "supervisor: " in line:
                print(line)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--url", help="a running server; default: one of its own, of which it kills stubs")
    parser.add_argument("--weights", choices=("real", "tiny"), default="real", help="of its own server")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if not 0 < options.minutes <= 10000:
        parser.error("--minutes must be above 0, and 10000 at most")
    try:
        at = contextlib.nullcontext(Server.at(options.url, ROOT / ".run")) if options.url else own(options.weights)
        with at as server:
            server.require(model for workload in WORKLOADS.values() for model in workload.models)
            if set(host.free_cores(server.cores)) != os.sched_getaffinity(0):
                host.pin(host.free_cores(server.cores))
            Soak(server, options.minutes * MINUTE, options.seed, kills=not options.url).run()
    except ValueError as error:
        parser.exit(2, f"soak: {error}\n")
    except (Failure, Unavailable) as problem:
        print(f"soak: {problem}", file=sys.stderr)
        return 1
    return 0
