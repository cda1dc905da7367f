"""Measures what metrics cost: dispatch lag and CPU per request without them and with a Prometheus that fetches them.

    python -m benchmarks.metrics_cost               # five minutes; needs a prometheus (Debian: apt install prometheus)

The server is a real Triton whose model ignores its input (`null_server`), so that next to nothing but the generator
costs anything. Turns without and with metrics alternate; Prometheus fetches as often as the committed configuration.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import arrivals
from benchmarks.null_server import LOADS, null_server
from benchmarks.prometheus import INTERVAL, conduct, run_prometheus, share_cores
from common.machine import read_cpu_model
from loadgen import command
from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.metrics import exporter
from loadgen.samples.journal import Journal, read
from loadgen.samples.summary import summarise
from serving import Failure
from serving.ports import free_ports
from serving.server import Server

FIGURES = {"lag p50, us": "{:.0f}", "lag p99, us": "{:.0f}", "CPU, us/request": "{:.1f}"}


@contextmanager
def export_metrics(wanted: bool, port: int) -> Iterator[None]:
    """Serve metrics on that port for a `with` block, if they are wanted. Raises ValueError if it cannot be had."""
    page = exporter.start(exporter.LOOPBACK, port) if wanted else None
    try:
        yield
    finally:
        if page:
            page.close()


def take_turn(server: Server, rate: float, seconds: float) -> dict[str, float]:
    """Offer arrivals at a constant rate once, and return FIGURES. Raises Failure if any was not answered."""
    workload = LOADS["small"].workload()
    arm, schedule = (
        Arm(workload, "client", Mode("async")),
        arrivals.parse(f"constant:rate={rate:g}").schedule(seconds, 1),
    )
    with tempfile.TemporaryDirectory(prefix="crossover-") as folder:
        journal, metrics = Journal(Path(folder) / "samples.journal"), exporter.find_arm(arm)
        loop = OpenLoop(arm, server.url, metrics.add, journal=journal)
        metrics.begin(schedule.times, loop)
        loop.run(Plan(schedule.times, np.zeros(len(schedule), int), workload.load()))
        metrics.end()
        journal.close()
        result = summarise(*((each := read(journal.path))[0], seconds, each[1]))
    if result["errors"]:
        raise Failure(
            f"{result['errors']} of {len(schedule)} requests were not answered: {next(iter(result['reasons']))}"
        )
    lag = result["dispatch_lag"]
    return dict(zip(FIGURES, (lag["p50"] * 1e3, lag["p99"] * 1e3, loop.cpu / len(schedule) * 1e6), strict=True))


def print_table(options: argparse.Namespace) -> None:
    """Print the median of each figure without and with metrics, and the median of the turns' ratios. Raises Failure."""
    client, servers = share_cores()
    print(f"{read_cpu_model()}; client cores {client}, server cores {servers}; medians of {options.turns} turns")
    print(f"{'rate/s':>7} {'':<16} {'without':>9} {'with':>9} {'ratio':>7}")
    [port] = free_ports(1)
    with (
        null_server(servers) as server,
        run_prometheus({"triton": [], "loadgen": [f"127.0.0.1:{port}"]}, options.interval),
    ):
        take_turn(server, options.rates[0], 1)  # warm-up
        for rate in options.rates:
            turns: dict[bool, list[dict[str, float]]] = {False: [], True: []}
            for number in range(2 * options.turns):
                wanted = number % 4 in (1, 2)  # without, with, with, without
                with export_metrics(wanted, port):
                    turns[wanted].append(take_turn(server, rate, options.seconds))
                time.sleep(0.2)
            for figure, form in FIGURES.items():
                off, on = ([turn[figure] for turn in turns[wanted]] for wanted in (False, True))
                ratio = statistics.median(b / a for a, b in zip(off, on, strict=True))
                columns = (form.format(statistics.median(values)) for values in (off, on))
                print(f"{rate:>7g} {figure:<16} {' '.join(f'{each:>9}' for each in columns)} {ratio:>7.3f}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Check the options and print the table; returns 2 without a Prometheus, 1 if something fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics_cost", description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=(100, 500))
    parser.add_argument("--seconds", type=float, default=10, help="of each turn")
    parser.add_argument("--interval", default=INTERVAL, help="of two fetches, as Prometheus takes it")
    parser.add_argument("--turns", type=int, default=6, help="without and with metrics, each")
    return conduct(parser, arguments, ("seconds", "turns", "rates"), print_table)


if __name__ == "__main__":
    sys.exit(command.run(main))
