"""What does the server do with more than it can carry? Poisson arrivals at multiples of its capacity, and a spike.

    crossover overload image audio --slo 2000 --start real           # with its bounds, then without
    crossover overload image --url localhost:8000 --slo 2000         # a server that is up, as it is

--start brings up a server of its own on the launcher's cores, once with `up --slo` and once with `--slo 0`. Around each
overload the arm is offered 0.3 of its capacity for a while: that says what is normal, and how long it takes to be back.
"""

import contextlib
import os
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from common.figures import significant
from crossover.experiments.base_run import Run
from crossover.experiments.options import check_run_options
from crossover.experiments.overload.shapes import AROUND, FACTORS, make_overloads, summarise
from crossover.measurement import host
from crossover.measurement.offer import offer, wait_until_idle
from crossover.measurement.saturation import measure_saturation
from crossover.measurement.unloaded_latency import measure_unloaded
from crossover.report.terminal import Column, draw_table
from loadgen.arm import Arm, Mode
from loadgen.samples.sample import count_outcomes, format_counts
from serving.server import Server
from serving.temporary_server import temporary_server
from transport.reach import reach
from workloads import catalogue
from workloads.flags import add_arms, check_library, choose_arms, refuse_gateways
from workloads.model_config import complete
from workloads.prepare_check import check_workload

FLIGHT = 2000  # requests in flight, each with a thread of the client; more are dropped, and counted
SEARCH = 8.0  # seconds to find out what a request takes alone, and as many for the capacity
USUAL, LEAST = 60.0, 2.0  # seconds of an overload itself: where --seconds is left open, and at least
WORK_OFF = 600.0  # seconds for a server to work off an overload

COLUMNS = (
    Column("arm", left=True),
    Column("load", left=True),
    *map(Column, ("offered", "answered", "goodput", "of best", "refused", "refusal", "timeout")),
    *map(Column, ("p99", "RSS", "recovery")),
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


def measure_overloads(server: Server, arm: Arm, capacity: float, options: Namespace) -> dict[str, dict]:
    """Offer one arm every overload, print a line for each, and return load -> its figures.

    `capacity` is the arm's, per second. When it is interrupted, or the server dies, what was measured is printed first.
    Raises Unavailable if no request of an overload was answered.
    """
    rows, accounts, sent = {}, [], arm.workload.load()
    try:
        for overload in make_overloads(capacity, options.overload, options.seed):
            with watch_memory(server) as megabytes:
                records = offer(server, arm, overload.times, sent, timeout=3 * options.slo / 1e3)
            rows[overload.name] = summarise(records, overload, options.slo) | {"rss": max(megabytes, default=None)}
            accounts.append(f"  {arm.placement} {overload.name}: {format_counts(count_outcomes(records))}")
            wait_until_idle(server, arm, sent, WORK_OFF)
    finally:
        if rows:
            print_table(arm, rows, accounts)
    return rows


def print_table(arm: Arm, rows: dict[str, dict], accounts: list[str]) -> None:
    """Print a line for each overload of an arm, then how its arrivals ended."""
    best = max(row["goodput"] for name, row in rows.items() if name != "spike")
    print(draw_table(COLUMNS, [list_cells(arm, name, row, best) for name, row in rows.items()]))
    print("\n".join(accounts), flush=True)


def list_cells(arm: Arm, name: str, row: dict, best: float) -> tuple[str, ...]:
    """Return the cells of one overload, in the order of COLUMNS; `best` is the arm's best goodput."""
    possible = min(best, row["offered"])
    return (
        f"{arm.workload.name} {arm.placement}",
        name,
        *(significant(row[key]) for key in ("offered", "answered", "goodput")),
        f"{row['goodput'] / possible:.0%}" if possible and name != "spike" else "-",
        significant(row["refused"]),
        cell(row["refusal"]),
        str(row["lost"]),
        cell(row["p99"]),
        cell(row["rss"]),
        cell(row["recovery"], ".1f", f">{AROUND:g}"),
    )


def write_verdict(row: dict) -> str:
    """Write how an arm took an overload, in one sentence.

    `goodput` and `capacity` of the row are per second; `recovery` is in seconds, None where it was not back in time.
    """
    back = f"back to normal after {row['recovery']:.1f} s" if row["recovery"] is not None else "not back in time"
    at = f"{row['load'].removesuffix('x')} times its capacity of {significant(row['capacity'])}/s"
    of = f"{row['workload']} {row['placement']} ({row['bounds']})"
    return f"{of}: at {at} {significant(row['goodput'])}/s answered within the SLO; {back}."


def compare_slos(admitted: float | None, judged: float) -> str:
    """Return a line if a server admits by another SLO than it is judged by; empty if not, or if it is not known.

    Both are in ms; `admitted` is 0 where the server refuses nothing.
    """
    if admitted is None or admitted == judged:
        return ""
    does = f"admits what it expects to answer within {admitted:g} ms" if admitted else "refuses nothing"
    return f"the server {does}, and is judged by {judged:g} ms: `crossover up --slo {judged:g}` makes them one"


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

    def __init__(self, options: Namespace):
        super().__init__(options)
        self.up = Server.at(options.url, Path(options.state))
        self.capacities: dict[str, float] = {}
        """Arm -> requests per second, found on the first server and offered to both."""
        self.rows: list[dict] = []
        """The figures of every overload so far, with its arm and server."""

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
                arms = options.arms
                workloads = {name: complete(each, server.url, arms[name]) for name, each in options.workloads.items()}
                record, port = server.state, options.grpc_port if server is self.up else None
                workloads = {
                    name: reach(each, server.url, arms[name], record, port) for name, each in workloads.items()
                }
                asked = (each.placements[arm].model for name, each in workloads.items() for arm in arms[name])
                server.require([*asked, *(step for each in workloads.values() for step in each.steps)])
                for name, each in workloads.items():
                    check_workload(each, options.arms[name], each.load()[:1])
                host.pin(host.free_cores(server.cores))
                print(f"\n{title}: SLO {options.slo:g} ms", flush=True)
                if not options.start and (note := compare_slos(server.state.get("slo"), options.slo)):
                    print(note, flush=True)
                for name, workload in workloads.items():
                    for placement in options.arms[name]:
                        self.measure_arm(title, server, Arm(workload, placement, Mode("async", 1, FLIGHT)))
        print("\n".join(["", LEGEND, *self.list_losses()]))

    def list_losses(self) -> list[str]:
        """Return a line for each arm that was measured and declares a loss."""
        losses = {f"{row['workload']} {row['placement']}": row["lossy"] for row in self.rows if row["lossy"]}
        return [f"{arm} loses something: {loss}." for arm, loss in losses.items()]

    def document(self) -> dict:
        """Return the figures of every overload, in the order of the tables."""
        return {"verdict": self.verdict().splitlines(), "result": self.rows}

    def verdict(self) -> str:
        """Return a line for each arm and server: the goodput at the greatest overload, and the recovery from it."""
        worst = [row for row in self.rows if row["load"] == f"{max(FACTORS)}x"]
        return "\n".join([*map(write_verdict, worst), *self.list_losses()])

    def measure_arm(self, title: str, server: Server, arm: Arm) -> None:
        """Measure one arm on the server of that title: unloaded latency, capacity unless known, every overload."""
        name, sent = f"{arm.workload.name} {arm.placement}", arm.workload.load()
        unloaded = float(np.median(measure_unloaded(server, arm, sent, SEARCH)))
        if name not in self.capacities:
            found = self.options.capacity or measure_saturation(server, arm, sent, unloaded, SEARCH)
            self.capacities[name] = found
        capacity = self.capacities[name]
        print(f"{name}: alone {significant(unloaded * 1e3)} ms, capacity {significant(capacity)}/s", flush=True)
        about = {"bounds": title, "workload": arm.workload.name, "placement": arm.placement, "capacity": capacity}
        about |= {"library": arm.chosen, "lossy": arm.placed.lossy}
        for load, row in measure_overloads(server, arm, capacity, self.options).items():
            self.rows.append({**about, "load": load, **row})


def check(options: Namespace) -> None:
    """Complete the options. Raises ValueError."""
    options.workloads = catalogue.find_all(options.workloads)
    options.arms = choose_arms(options.arms, options.workloads, transport=options.transport)
    options.workloads = add_arms(options.workloads, options.arms, options.library)
    check_library(options.library, options.workloads)
    refuse_gateways(options.arms, options.workloads, "overload")
    if not (0 < options.slo < np.inf and 0 <= options.capacity < np.inf):
        raise ValueError("--slo must be a positive number, --capacity one that is not negative")
    options.seconds = options.seconds or total_seconds(options, USUAL)
    check_run_options(options, np.ceil(total_seconds(options, LEAST)), f"an overload lasts {LEAST:g} s at least")
    # What is left of all seconds for each overload itself.
    options.overload = (options.seconds - total_seconds(options, 0)) / count_overloads(options)


def count_overloads(options: Namespace) -> int:
    """Return how many overloads there are: every arm has each, and the spike, on every server."""
    return (len(FACTORS) + 1) * (1 + bool(options.start)) * sum(map(len, options.arms.values()))


def total_seconds(options: Namespace, overload: float) -> float:
    """Return the seconds of everything that is measured if an overload itself takes so many."""
    arms, servers = sum(map(len, options.arms.values())), 1 + bool(options.start)
    search = SEARCH * arms * (servers + (not options.capacity))
    return search + count_overloads(options) * (2 * AROUND + overload)
