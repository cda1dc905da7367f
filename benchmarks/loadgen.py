"""Measures the load generator beside perf_analyzer and h2load, against the same server: `make bench-loadgen`.

    python -m benchmarks.loadgen                              # ten minutes
    python -m benchmarks.loadgen --parts memory --minutes 60  # an hour

It first finds each client's maximum rate for each payload, then compares latencies at a moderate rate that both offer
easily, then measures our CPU and memory over rates and over time. Everything lies in reports/<time>/bench-loadgen.json.

Client and server get one core each. Every run is a process of its own; the clients run in turns, in random order.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path
from statistics import median

import psutil

from benchmarks import h2load, null_server, perf_analyzer, tables
from benchmarks.client_process import Clients
from benchmarks.side_by_side import EIGHT, check, conduct, declare, run_in_turns
from benchmarks.tables import Run, Runs, pick
from loadgen import command
from serving import ROOT
from serving.__main__ import Parser

MODERATE = 0.35  # of the lower of the two maxima: where latencies are compared
SLOWEST = 10.0  # requests per second at which the curve starts
READINGS = 12  # of the memory part
PARTS = ("latency", "curve", "memory")


def maximum(clients: Clients, load: str, seconds: float, turns: tuple) -> Runs:
    """Measure the maximum rate of each client with eight requests in flight, for about `seconds` a run.

    perf_analyzer has a mode for that. Ours gets a schedule whose arrivals are all due at the start, so that its eight
    workers never wait; a short run before shows how many it needs. `turns`: repetitions and dice.
    """
    backlog = round(clients.run_crossover(load, *EIGHT, "--backlog", 400)["rate"] * seconds)
    return run_in_turns(
        {
            "pa --sync": lambda: clients.run_perf_analyzer(load, perf_analyzer.closed(8, "sync"), seconds),
            "pa --async": lambda: clients.run_perf_analyzer(load, perf_analyzer.closed(8, "async"), seconds),
            "threads:8": lambda: clients.run_crossover(load, *EIGHT, "--backlog", backlog),
        },
        *turns,
    )


def latency(clients: Clients, load: str, rate: float, seconds: float, turns: tuple) -> Runs:
    """Measure latency at `rate` requests/s at constant intervals, which every client can offer easily.

    Each run takes `seconds`; `turns`: repetitions and dice. h2load takes part where it is installed.
    """
    offered = ("--rate", rate, "--seconds", seconds)
    h2load_too = {"h2load": lambda: clients.run_h2load(load, rate, seconds)} if h2load.is_installed() else {}
    return run_in_turns(
        {
            "pa --async": lambda: clients.run_perf_analyzer(load, perf_analyzer.constant(rate), seconds),
            **h2load_too,
            "async:1": lambda: clients.run_crossover(load, "--mode", "async", *offered),
            "threads:8": lambda: clients.run_crossover(load, *EIGHT, *offered),
        },
        *turns,
    )


def curve(clients: Clients, load: str, highest: float, seconds: float) -> list[Run]:
    """Measure our client's CPU and memory from SLOWEST to the highest rate (requests/s), doubling; print each point.

    A point takes `seconds`, or longer at low rates, for 20 requests at least.
    """
    points, rate = [], SLOWEST
    while rate < highest:
        run = clients.run_crossover(load, "--mode", "async", "--rate", rate, "--seconds", max(seconds, 20 / rate))
        points.append({"offered": rate, **run})
        print(tables.point(load, rate, run), flush=True)
        rate *= 2
    return points


def memory(clients: Clients, load: str, rate: float, minutes: float) -> list[dict]:
    """Read our client's CPU and memory READINGS times during one long run, and print them.

    CPU is counted from the first reading on, so that imports are left out. `rate` in requests/s; the rows have minutes,
    requests, CPU ms per request since the row before, and MB.
    """
    readings: list[dict] = []

    def watch(process: psutil.Process, elapsed: float, requests: int) -> None:
        if not requests or elapsed / 60 < len(readings) * minutes / READINGS:
            return
        cpu, rss = sum(process.cpu_times()[:2]), process.memory_info().rss / 2**20
        readings.append({"minutes": elapsed / 60, "requests": requests, "cpu_seconds": cpu, "rss_mb": rss})
        if len(readings) > 1:
            last = readings[-2]
            each = (cpu - last["cpu_seconds"]) / max(1, requests - last["requests"]) * 1e3
            print(f"{elapsed / 60:>7.2f} {requests:>9} {each:>7.3f} {rss:>6.1f}", flush=True)

    clients.run_crossover(load, "--mode", "async", "--rate", rate, "--seconds", minutes * 60, watch=watch)
    return readings


def measure(options: argparse.Namespace, clients: Clients, report: dict) -> None:
    """Run all parts, print their tables, and put what was measured into the report, also if one is interrupted.

    The maximum rates come first: the other parts take their rates from them.
    """
    turns, seconds, share = (options.repetitions, random.Random(options.seed)), options.seconds, f"{MODERATE:.0%}"
    highest, moderate = {}, {}
    tables.head("max", f"eight in flight without a pause, {options.repetitions} turns of {seconds:g} s")
    for load in options.payloads:
        report["max"][load] = runs = maximum(clients, load, seconds, turns)
        print(tables.maxima(load, runs), flush=True)
        rates = {client: median(pick(each, "rate")) for client, each in runs.items()}
        highest[load] = rates.pop("threads:8")
        moderate[load] = max(1, round(MODERATE * min(highest[load], max(rates.values()))))
    if "latency" in options.parts:
        tables.head("latency", f"constant arrivals at {share} of the lower maximum, turns of {2 * seconds:g} s")
        for load in options.payloads:
            report["latency"][load] = runs = latency(clients, load, moderate[load], 2 * seconds, turns)
            print(tables.latencies(load, runs), flush=True)
    if "curve" in options.parts:
        tables.head("curve", "ours, async:1, constant arrivals")
        for load in options.payloads:
            report["curve"][load] = curve(clients, load, highest[load], seconds)
    if "memory" in options.parts:
        load, minutes = options.payloads[-1], options.minutes
        rate = options.rate or moderate[load]
        tables.head("memory", f"ours, async:1, {load}, {rate:g}/s for {minutes:g} minutes")
        report["memory"][load] = memory(clients, load, rate, minutes)


def run(options: argparse.Namespace, report: dict) -> None:
    """Fetch perf_analyzer, start the server, and measure. Raises Failure, Unavailable."""
    reference = perf_analyzer.fetch(ROOT / ".run" / "perf_analyzer")
    cores = report["cores"]
    with tempfile.TemporaryDirectory(prefix="crossover-") as folder, null_server.null_server(cores["server"]) as server:
        measure(options, Clients(server, reference, cores["client"], Path(folder)), report)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of a command line (None: this process's); exits with code 2 for values out of range."""
    parser = Parser(prog="python -m benchmarks.loadgen", description=__doc__.partition("\n")[0])
    declare(parser)
    add = parser.add_argument
    add("--parts", nargs="*", choices=PARTS, default=PARTS, help="after the maximum rates; default: all")
    add("--minutes", type=float, default=1, help="of the memory part (default: %(default)s)")
    add("--rate", type=float, help=f"of the memory part (default: {MODERATE * 100:.0f} %% of the lower maximum)")
    options = parser.parse_args(arguments)
    check(parser, options, {"minutes": 0.1, "rate": 1})
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark. Returns its exit code, of `side_by_side.conduct`."""
    options = parse(arguments)
    return conduct("bench-loadgen", options, run, {"max": {}, **{part: {} for part in PARTS}}, tables.LEGEND)


if __name__ == "__main__":
    sys.exit(command.run(main))
