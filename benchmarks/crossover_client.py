"""Our client in `benchmarks.loadgen`: one run in a process of its own, so that its CPU time and memory are the run's.

    python -m benchmarks.crossover_client http://localhost:8000 tensor --mode async --rate 100 --seconds 10

The server needs the models of `benchmarks.null_server`. Prints one line of JSON.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.null_server import LOADS
from benchmarks.perf_analyzer import PERCENTILES
from common import address
from loadgen import command
from loadgen.arm import MODES, Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.journal import Journal, read
from loadgen.samples.sample import COMPLETED, STATUSES
from transport.reach import reach
from workloads.payloads import Payload
from workloads.transport_choice import WORDS

WARM = 0.1  # of a run's answers, while connections are opened, are left out of the figures


def report(records: np.ndarray, cpu_seconds: float) -> dict:
    """Return the figures of a run's records (samples.RECORD), as a dict.

    `rate` in answers/s; `latency` (ms, from sending to receiving, as perf_analyzer counts it) and `due` (ms, from the
    due time) by percentile, without the first WARM of the answers; `cpu_ms` per request; `requests` and `errors`.
    """
    good = np.sort(records[records["status"] == STATUSES.index(COMPLETED)], order="done")
    kept = good[round(WARM * len(good)) :]
    return {
        "requests": len(records),
        "errors": len(records) - len(good),
        "rate": (len(kept) - 1) / (kept["done"][-1] - kept["done"][0]) * 1e9 if len(kept) > 1 else 0.0,
        "latency": percentiles(kept["done"] - kept["sent"]),
        "due": percentiles(kept["done"] - kept["due"]),
        "cpu_ms": cpu_seconds / max(1, len(records)) * 1e3,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def percentiles(ns: np.ndarray) -> dict[str, float]:
    """Return PERCENTILES of durations in ns, in ms; 0 without durations."""
    return {name: float(np.percentile(ns, int(name[1:]))) / 1e6 if len(ns) else 0.0 for name in PERCENTILES}


def main() -> int:
    """Run once and print the figures as JSON; returns 1 if nothing was answered.

    Samples go to a journal in a temporary folder, as in a run with Locust: their cost is part of the figures.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crossover_client", description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("load", choices=LOADS)
    parser.add_argument("--mode", choices=MODES, default="async")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=float, help="constant arrivals per second")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--backlog", type=int, help="so many arrivals, all due at the start, instead")
    parser.add_argument("--transport", choices=WORDS, default="http")
    parser.add_argument("--grpc-port", type=int)
    parser.add_argument("--shm-key", default="")
    options = parser.parse_args()
    if not (options.rate or options.backlog):
        parser.error("give --rate or --backlog")
    try:
        address.parse(options.url)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    load = LOADS[options.load]
    count = options.backlog or round(options.rate * options.seconds)
    dues = np.zeros(count) if options.backlog else np.arange(count) / options.rate
    payloads = [Payload(load.name, load.content())]
    name = f"client+{options.transport}"
    workload = load.workload().with_arms([name])
    try:
        workload = reach(workload, options.url, [name], {"shm_key": options.shm_key}, options.grpc_port)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    arm = Arm(workload, name, Mode(options.mode, options.workers))
    with tempfile.TemporaryDirectory(prefix="crossover-") as folder:
        journal = Journal(Path(folder) / "samples.journal")
        loop = OpenLoop(arm, options.url, lambda sample: None, journal=journal)
        began = time.process_time()
        loop.run(Plan(dues, np.zeros(count, np.uint32), payloads))
        spent = time.process_time() - began
        journal.close()
        records, reasons = read(journal.path)
    figures = report(records, spent)
    if figures["errors"] == figures["requests"]:
        why = next(iter(reasons[1:]), "no arrival was due")
        print(f"none of {figures['requests']} requests was answered: {why}", file=sys.stderr)
        return 1
    print(json.dumps({**figures, "reasons": reasons[1:]}))
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
