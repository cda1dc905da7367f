"""What does the server do with more than it can carry? Poisson arrivals at multiples of its capacity, and a spike.

    python -m benchmarks.overload image audio --seconds 60 --slo 2000 --start real   # with its bounds, then without
    python -m benchmarks.overload image --url localhost:8000 --slo 2000              # a server that is up, as it is

--start brings up a server of its own on the launcher's cores, once with `up --slo` and once with `--slo 0`. Around each
overload the arm is offered 0.3 of its capacity for a while: that says what is normal, and how long it takes to be back.
"""

import argparse
import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from crossover.experiments.experiment import Run, run_command
from crossover.measurement import host
from crossover.measurement.offer import offer, wait_until_idle
from crossover.measurement.saturation import measure_saturation
from crossover.measurement.unloaded_latency import measure_unloaded
from loadgen import arrivals
from loadgen.arm import Arm, Mode
from loadgen.samples.sample import COMPLETED, REJECTED, STATUSES, TIMED_OUT, count_outcomes, format_counts
from loadgen.samples.summary import milliseconds
from serving.server import Server
from serving.temporary_server import temporary_server
from workloads import catalogue
from workloads.flags import choose_arms
from workloads.model_config import complete
from workloads.prepare_check import check_workload

FACTORS = (1, 2, 5)
CALM, AROUND = 0.3, 10.0  # of the capacity, for so many seconds before and after
NORMAL = 1.5  # times the worst latency before: what counts as back
SPELL = 2.0  # seconds without a slower one: then it is
FLIGHT = 2000  # requests in flight, each with a thread of the client; more are dropped, and counted
SEARCH = 8.0  # seconds to find out what a request takes alone, and as many for the capacity
WORK_OFF = 600.0  # seconds for a server to work off an overload

HEAD = (
    f"{'arm':<14} {'load':<6} {'offered':>8} {'answered':>9} {'goodput':>8} {'of best':>8} {'refused':>8}"
    f" {'refusal':>8} {'timeout':>8} {'p99':>8} {'RSS':>7} {'recovery':>9}"
)
LEGEND = """\
load      times the capacity; spike: 10 times for 2 s, 0.5 before and after
offered   per second of the overload, as is goodput: answered within the SLO of the due time
answered  per second until the last answer to it, which an overload puts off
of best   goodput as a share of the arm's best, or of what was offered where that is less
refused   per second, with 503; refusal: p99 of the ms from sending to the 503
timeout   requests that got no answer in 3 SLOs, or that the client no longer sent: it had 2000 in flight
p99       ms from the due time, of those answered; RSS: the most that the server and its stubs held, MB
recovery  seconds after the overload until, for 2 s, those that come take at most 1.5 times the worst before it"""


@dataclass(frozen=True)
class Overload:
    """Arrivals of an overload, with calm before and after it."""

    name: str
    times: np.ndarray
    """Due times of all arrivals, in seconds."""
    begin: float
    """When the overload itself begins, in seconds."""
    end: float


def make_overloads(capacity: float, seconds: float, seed: int) -> list[Overload]:
    """Return an overload of so many seconds for each factor of the capacity (per second), and a spike.

    Calm arrivals, CALM of the capacity, come for AROUND seconds before and after each.
    """
    middle = seconds / 2
    lasts = min(2.0, middle)
    spike = f"spike:rate={0.5 * capacity},peak={10 * capacity},at={middle},lasts={lasts}"
    specs = {f"{factor}x": f"poisson:rate={factor * capacity}" for factor in FACTORS} | {"spike": spike}
    calm = arrivals.parse(f"poisson:rate={CALM * capacity}")
    made = []
    for name, spec in specs.items():
        before, during = calm.schedule(AROUND, seed + 1).times, arrivals.parse(spec).schedule(seconds, seed).times
        after = calm.schedule(AROUND, seed + 2).times
        times = np.concatenate([before, AROUND + during, AROUND + seconds + after])
        begin, end = (middle, middle + lasts) if name == "spike" else (0, seconds)
        made.append(Overload(name, times, AROUND + begin, AROUND + end))
    return made


def summarise(records: np.ndarray, overload: Overload, slo: float) -> dict:
    """Return the figures of one overload from its records; `slo` in ms.

    Rates are per second of the overload, whose arrivals alone count; `answered` is charged with the time until their
    last answer, where that is longer. `recovery`: seconds after the overload's end until, for SPELL seconds, all that
    come, one at least, are answered as fast as before; None if that never was.
    """
    due = records["due"] / 1e9
    during = records[(due >= overload.begin) & (due < overload.end)]
    status = {name: during[during["status"] == STATUSES.index(name)] for name in STATUSES}
    latency, refusal = milliseconds(status[COMPLETED], "due", "done"), milliseconds(status[REJECTED], "sent", "done")
    seconds = overload.end - overload.begin
    before = records[(due < overload.begin) & (records["status"] == STATUSES.index(COMPLETED))]
    normal = NORMAL * milliseconds(before, "due", "done").max(initial=0)
    after = np.sort(records[due >= overload.end], order="due")
    slow = (after["status"] != STATUSES.index(COMPLETED)) | (milliseconds(after, "due", "done") > normal)
    dues = after["due"] / 1e9 - overload.end
    # Move the end of the recovery to each slow request, until SPELL seconds with an answer in time lie before the next.
    recovery = 0.0
    for late in dues[slow]:
        if late > recovery + SPELL and len(dues[~slow & (dues > recovery) & (dues < late)]):
            break
        recovery = late
    return {
        "offered": len(during) / seconds,
        "answered": len(latency) / max(seconds, status[COMPLETED]["done"].max(initial=0) / 1e9 - overload.begin),
        "goodput": float((latency <= slo).sum()) / seconds,
        "refused": len(refusal) / seconds,
        "refusal": float(np.percentile(refusal, 99)) if len(refusal) else None,
        "lost": len(status[TIMED_OUT]) + len(status["dropped"]),
        "p99": float(np.percentile(latency, 99)) if len(latency) else None,
        "recovery": recovery
        if dues.max(initial=0) > recovery + SPELL and dues[~slow].max(initial=0) > recovery
        else None,
    }


@contextlib.contextmanager
def watch_memory(server: Server) -> Iterator[list[float]]:
    """Yield a list that gets, twice a second while the body runs, the MB that the server and its stubs hold together.

    It stays empty if the server runs on another machine.
    """
    seen, over = [], threading.Event()
    root = server.state.get("pid")

    def watch():
        while root and not over.wait(0.5):
            with contextlib.suppress(psutil.Error):
                family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
                seen.append(sum(process.memory_info().rss for process in family) / 1e6)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def measure_overloads(server: Server, arm: Arm, capacity: float, options: argparse.Namespace) -> None:
    """Offer one arm every overload, and print a line for each.

    `capacity` is the arm's, per second. When it is interrupted, or the server dies, what was measured is printed first.
    Raises Unavailable if no request of an overload was answered.
    """
    rows, accounts, sent = {}, [], arm.workload.load()
    try:
        for overload in make_overloads(capacity, options.seconds, options.seed):
            with watch_memory(server) as megabytes:
                records = offer(server, arm, overload.times, sent, timeout=3 * options.slo / 1e3)
            rows[overload.name] = summarise(records, overload, options.slo) | {"rss": max(megabytes, default=None)}
            accounts.append(f"  {arm.placement} {overload.name}: {format_counts(count_outcomes(records))}")
            wait_until_idle(server, arm, sent, WORK_OFF)
    finally:
        if rows:
            print_table(arm, rows, accounts)


def print_table(arm: Arm, rows: dict[str, dict], accounts: list[str]) -> None:
    """Print a line for each overload of an arm, then how its arrivals ended."""
    best = max(row["goodput"] for name, row in rows.items() if name != "spike")
    for name, row in rows.items():
        possible = min(best, row["offered"])
        share = f"{row['goodput'] / possible:.0%}" if possible and name != "spike" else "-"
        print(
            f"{arm.workload.name + ' ' + arm.placement:<14} {name:<6} {row['offered']:>8.3g} {row['answered']:>9.3g}"
            f" {row['goodput']:>8.3g} {share:>8} {row['refused']:>8.3g} {cell(row['refusal']):>8} {row['lost']:>8}"
            f" {cell(row['p99']):>8} {cell(row['rss']):>7} {cell(row['recovery'], '.1f', f'>{AROUND:g}'):>9}"
        )
    print("\n".join(accounts), flush=True)


def cell(value: float | None, form: str = ".0f", none: str = "-") -> str:
    """Write a value as text, or `none`."""
    return none if value is None else f"{value:{form}}"


@contextlib.contextmanager
def start_server(weights: str, slo: float) -> Iterator[Server]:
    """Start a server of the launcher's, on its cores, and leave nothing of it behind. Raises Unavailable."""
    with (
        tempfile.TemporaryDirectory(prefix="crossover-") as directory,
        temporary_server(Path(directory), weights, slo=f"{slo:.0f}") as server,
    ):
        yield server


class Overloads(Run):
    """Every arm under every overload, on the server that is up, or on two of its own: with bounds, then without.

    Between two overloads it waits until the server has worked off what it holds.
    """

    def __init__(self, options: argparse.Namespace):
        super().__init__(options)
        self.up = Server.at(options.url, Path(options.state))
        self.capacities: dict[str, float] = {}
        """Arm -> requests per second, found on the first server and offered to both."""

    def measure(self) -> None:
        """Measure every overload with the bounds of --slo, and then without; print a table for each."""
        options = self.options
        available = sorted(os.sched_getaffinity(0))
        servers = {f"--slo {options.slo:g}": options.slo, "--slo 0": 0} if options.start else {"as it is": 0}
        for title, bound in servers.items():
            # The server inherits the cores of this process: it must have all of them while it starts.
            host.pin(available)
            up = contextlib.nullcontext(self.up)
            with start_server(options.start, bound) if options.start else up as server:
                workloads = {name: complete(each, server.url) for name, each in options.workloads.items()}
                server.require(model for each in workloads.values() for model in each.models)
                for name, each in workloads.items():
                    check_workload(each, options.arms[name], each.load()[:1], url=server.url)
                host.pin(host.free_cores(server.cores))
                print(f"\n{title}: SLO {options.slo:g} ms\n{HEAD}", flush=True)
                for name, workload in workloads.items():
                    for placement in options.arms[name]:
                        self.measure_arm(server, Arm(workload, placement, Mode("async", 1, FLIGHT)))
        print(f"\n{LEGEND}")

    def measure_arm(self, server: Server, arm: Arm) -> None:
        """Measure one arm: its unloaded latency, its capacity unless it is known, and every overload."""
        name, sent = f"{arm.workload.name} {arm.placement}", arm.workload.load()
        unloaded = float(np.median(measure_unloaded(server, arm, sent, SEARCH)))
        if name not in self.capacities:
            found = self.options.capacity or measure_saturation(server, arm, sent, unloaded, SEARCH)
            self.capacities[name] = found
        capacity = self.capacities[name]
        print(f"{name}: alone {unloaded * 1e3:.3g} ms, capacity {capacity:.3g}/s", flush=True)
        measure_overloads(server, arm, capacity, self.options)


def check(options: argparse.Namespace) -> None:
    """Complete the options. Raises ValueError."""
    options.workloads = catalogue.find_all(options.workloads)
    options.arms = choose_arms(options.arms, options.workloads)
    if min(options.seconds, options.slo) <= 0 or options.capacity < 0 or options.seed < 0:
        raise ValueError("--seconds and --slo must be positive, --capacity and --seed not negative")


def main() -> int:
    """Run `python -m benchmarks.overload`. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__.partition("\n")[0])
    names = "|".join((*catalogue.BUILT_IN, "FILE.py"))
    parser.add_argument("workloads", nargs="*", metavar=names, help="default: the built-in ones")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--state", default=".run", help="the launcher's state directory")
    parser.add_argument("--start", choices=("real", "tiny"), help="servers of its own, with bounds and without")
    parser.add_argument("--seconds", type=float, default=60, help="of each overload (default: %(default)s)")
    parser.add_argument("--slo", type=float, default=2000, help="ms (default: %(default)s)")
    parser.add_argument("--capacity", type=float, default=0, help="requests per second; default: found, per arm")
    parser.add_argument("--arms", help="placements, with commas; default: the workload's first two")
    parser.add_argument("--seed", type=int, default=1)
    return run_command(parser, check, Overloads)
