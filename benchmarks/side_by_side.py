"""What benchmarks beside perf_analyzer have in common: turns, cores, options, and a report of whatever was measured."""

import argparse
import os
import random
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from benchmarks import null_server
from benchmarks.tables import Run, Runs
from common import atomic_write
from crossover.measurement import host
from loadgen import command
from serving import Failure
from serving.server import Unavailable

EIGHT = ("--mode", "threads", "--workers", 8)


def run_in_turns(subjects: dict[str, Callable[[], Run]], repetitions: int, dice: random.Random) -> Runs:
    """Run every subject `repetitions` times, each turn in an order that the dice choose; return client -> its runs.

    Turns make the ratios within a turn robust: what disturbs the machine for a while meets all clients.
    """
    runs: Runs = {subject: [] for subject in subjects}
    for _ in range(repetitions):
        for subject in dice.sample(list(subjects), len(subjects)):
            runs[subject].append(subjects[subject]())
    return runs


def split_cores() -> tuple[list[int], list[int]]:
    """Return a core for the client and one for the server, as lists; the same core where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[:1], cores[-1:]


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options that all of them have."""
    add, loads = parser.add_argument, list(null_server.LOADS)
    add("--payloads", nargs="+", choices=loads, default=loads, help="default: all")
    add("--repetitions", type=int, default=3, help="turns of each client (default: %(default)s)")
    add("--seconds", type=float, default=3, help="of one run (default: %(default)s)")
    add("--seed", type=int, default=1, help="of the order of turns (default: %(default)s)")
    add("--reports", type=Path, default=Path("reports"), help="where results go (default: %(default)s)")


def check(parser: argparse.ArgumentParser, options: argparse.Namespace, least: Mapping[str, float]) -> None:
    """Exit with code 2 if an option is below what it is at `least`, beside those that all have."""
    for name, bound in {"repetitions": 1, "seconds": 0.5, **least}.items():
        if getattr(options, name) is not None and not getattr(options, name) >= bound:
            parser.error(f"--{name} must be at least {bound:g}, not {getattr(options, name):g}")


def conduct(
    name: str,
    options: argparse.Namespace,
    run: Callable[[argparse.Namespace, dict], None],
    parts: Mapping[str, dict],
    legend: str,
) -> int:
    """Run a benchmark, which fills the `parts` of its report; what was measured is written, whatever ended it.

    Returns 0, 1 if a client or the server failed, or 130 after Ctrl-C or SIGTERM.
    """
    client, server = split_cores()
    report: dict = {"machine": host.describe(), "cores": {"client": client, "server": server}, **parts}
    about = report["machine"]
    print(f"{about['cpu']}, {about['cores']} cores: client on core {client[0]}, server on core {server[0]}")
    if client == server:
        print("!! client and server share one core: what one uses, the other lacks")
    print(legend)
    code = 0
    try:
        run(options, report)
    except (Failure, Unavailable) as failure:
        print(f"{name}: {failure}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("\ninterrupted: the server is stopped", file=sys.stderr)
        code = command.INTERRUPTED
    if report["max"]:
        path = options.reports / datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S") / f"{name}.json"
        path.parent.mkdir(parents=True)
        atomic_write.write_json(path, {"complete": code == 0, **report})
        print(f"results: {path}")
    return code
