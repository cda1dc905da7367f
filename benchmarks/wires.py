"""Measures the transports beside each other and beside perf_analyzer's, against one server.

    python -m benchmarks.wires                                  # eight minutes
    python -m benchmarks.wires --payloads tensor --wires grpc shm

For each payload and transport it measures the maximum rate of our client and of perf_analyzer's two modes, with eight
requests in flight: `-i grpc`, `--shared-memory system` and `--input-tensor-format json` are perf_analyzer's. Client and
server get one core each, every run is a process of its own, and the clients of a transport run in turns, in random
order. The server ignores what it gets. Everything lies in reports/<time>/bench-wires.json.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import null_server, perf_analyzer, tables
from benchmarks.client_process import Clients
from benchmarks.side_by_side import EIGHT, check, conduct, declare, run_in_turns
from benchmarks.tables import Runs, pick
from common import address
from loadgen import command
from serving import ROOT
from serving.__main__ import Parser
from serving.server import Server
from workloads.transport_choice import WORDS

WIRES = ("http", "grpc", "shm", "json")


def find_flags(wire: str, server: Server) -> list[str]:
    """Return perf_analyzer's flags for a transport of this server."""
    grpc = address.Address(address.parse(server.url).host, server.state["grpc_port"]).authority
    return {
        "http": [],
        "grpc": ["-i", "grpc", "-u", grpc],
        "shm": ["--shared-memory", "system", "-H", f"shm-key:{server.state['shm_key']}"],
        "json": ["--input-tensor-format", "json", "--output-tensor-format", "json"],
    }[wire]


def find_access(server: Server) -> list[object]:
    """Return the flags by which our client reaches this server's gRPC and shared memory."""
    return ["--grpc-port", server.state["grpc_port"], "--shm-key", server.state["shm_key"]]


def measure_wire(clients: Clients, load: str, wire: str, seconds: float, turns: tuple) -> Runs:
    """Measure the maximum rate of each client over one transport, for about `seconds` a run.

    A short run shows how many requests ours needs for that. `turns`: repetitions and dice.
    """
    server, flags = clients.server, find_flags(wire, clients.server)
    ours = (*EIGHT, "--transport", wire, *find_access(server))
    backlog = max(40, round(clients.run_crossover(load, *ours, "--backlog", 40)["rate"] * seconds))
    return run_in_turns(
        {
            "pa --sync": lambda: clients.run_perf_analyzer(load, [*perf_analyzer.closed(8, "sync"), *flags], seconds),
            "pa --async": lambda: clients.run_perf_analyzer(load, [*perf_analyzer.closed(8, "async"), *flags], seconds),
            "ours": lambda: clients.run_crossover(load, *ours, "--backlog", backlog),
        },
        *turns,
    )


def summarise(load: str, by_wire: dict[str, Runs]) -> str:
    """Return the table of one payload by wire: rate (/s) and client CPU (ms) of ours and of perf_analyzer's best."""
    lines = [f"\n{load:<8} {'transport':<14} {'ours':>7} {'pa':>7} {'ratio':>18} {'cpu':>7} {'pa cpu':>7}"]
    for wire, runs in by_wire.items():
        theirs = max(
            (each for name, each in runs.items() if name != "ours"), key=lambda each: median(pick(each, "rate"))
        )
        rates, cpus = ([median(pick(each, figure)) for each in (runs["ours"], theirs)] for figure in ("rate", "cpu_ms"))
        ratio = tables.spread(tables.ratios(runs["ours"], tables.rivals(runs), max, "rate"), ".2f")
        line = f"{'':<8} {WORDS[wire]:<14} {rates[0]:>7.0f} {rates[1]:>7.0f} {ratio:>18}"
        lines.append(f"{line} {cpus[0]:>7.3f} {cpus[1]:>7.3f}")
    return "\n".join(lines)


def run(options: argparse.Namespace, report: dict) -> None:
    """Fetch perf_analyzer, start the server, and measure; print a table per payload. Raises Failure, Unavailable."""
    reference = perf_analyzer.fetch(ROOT / ".run" / "perf_analyzer")
    cores, turns = report["cores"], (options.repetitions, random.Random(options.seed))
    started = null_server.null_server(cores["server"], shm=True)
    with tempfile.TemporaryDirectory(prefix="crossover-") as folder, started as server:
        clients = Clients(server, reference, cores["client"], Path(folder))
        for load in options.payloads:
            for wire in options.wires:
                print(f"\n{WORDS[wire]}", flush=True)
                report["max"].setdefault(load, {})[wire] = runs = measure_wire(
                    clients, load, wire, options.seconds, turns
                )
                print(tables.maxima(load, runs), flush=True)
    for load, by_wire in report["max"].items():
        print(summarise(load, by_wire), flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of a command line (None: this process's); exits with code 2 for values out of range."""
    parser = Parser(prog="python -m benchmarks.wires", description=__doc__.partition("\n")[0])
    declare(parser)
    parser.add_argument("--wires", nargs="+", choices=WIRES, default=WIRES, help="default: all")
    options = parser.parse_args(arguments)
    check(parser, options, {})
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark. Returns its exit code, of `side_by_side.conduct`."""
    return conduct("bench-wires", parse(arguments), run, {"max": {}}, f"{tables.LEGEND}\n{tables.COLUMNS['max']}")


if __name__ == "__main__":
    sys.exit(command.run(main))
