"""What the server does with more than it can carry: Poisson arrivals at multiples of its capacity, and a spike.

    python -m benchmarks.overload image audio --seconds 60 --slo 2000 --start real   # with its bounds, then without
    python -m benchmarks.overload image --url localhost:8000 --slo 2000              # a server that is up, as it is

--start brings up a server of its own on the launcher's cores, once with `up --slo` and once with `--slo 0`. Around each
overload the arm is offered 0.3 of its capacity for a while: that says what is normal, and how long it takes to be back.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from crossover.measurement import host
from loadgen import arrivals
from loadgen.arm import PLACEMENTS, Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import (
    COMPLETED,
    REJECTED,
    STATUSES,
    TIMED_OUT,
    count_outcomes,
    format_counts,
    tabulate,
)
from serving.server import Server, Unavailable
from serving.temporary_server import temporary_server
from workloads import payloads
from workloads.workload import WORKLOADS

FACTORS = (1, 2, 5)
CALM, AROUND = 0.3, 10.0  # of the capacity, for so many seconds before and after
NORMAL = 1.5  # times the worst latency before: what counts as back
SPELL = 2.0  # seconds without a slower one: then it is
FLIGHT = 2000  # requests in flight, each with a thread of the client; more are dropped, and counted
SATURATION = 8.0  # seconds to find the capacity in, with so many requests at once:
AT_ONCE = 4

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
    """`times` of all arrivals; the overload itself lasts from `begin` to `end`, in seconds."""

    name: str
    times: np.ndarray
    begin: float
    end: float


def overloads(capacity: float, seconds: float, seed: int) -> list[Overload]:
    """One per factor, and the spike."""
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


def offer(server: Server, arm: Arm, times: np.ndarray, timeout: float, every: bool = False) -> np.ndarray:
    """The records of a run, in no order; every arrival has one.

    Raises Unavailable if not one was answered, or not `every` one: of that there are no figures.
    """
    samples, sent = [], payloads.load(arm.workload)
    OpenLoop(arm, server.url, samples.append, timeout).run(
        Plan(times, payloads.order(len(sent), len(times), 1), sent)
    )
    records, reasons = tabulate(samples)
    failed = records[records["status"] != STATUSES.index(COMPLETED)]
    if len(failed) == len(records) or (every and len(failed)):
        reason = reasons[failed["reason"][0]] if len(failed) else "no arrival was due"
        raise Unavailable(f"{arm}: {len(failed)} of {len(records)} requests were not answered: {reason}")
    return records


def alone(server: Server, arm: Arm) -> float:
    """Median seconds of a request when no other is in flight."""
    naive, kinds = Arm(arm.workload, arm.placement, Mode("sequential")), len(payloads.load(arm.workload))
    offer(server, naive, np.zeros(kinds), 120, every=True)  # warm-up
    first = milliseconds(offer(server, naive, np.zeros(kinds), 120, every=True), "began", "done").mean() / 1e3
    n = int(np.clip(SATURATION / first, 2 * kinds, 1000)) // kinds * kinds
    return float(np.median(milliseconds(offer(server, naive, np.zeros(n), 120, every=True), "began", "done"))) / 1e3


def capacity(server: Server, arm: Arm, one: float) -> float:
    """Answers per second while four requests are always in flight; `one` takes that many seconds alone."""
    n = int(np.clip(SATURATION / one, 2 * len(payloads.load(arm.workload)), 2000))
    records = offer(server, Arm(arm.workload, arm.placement, Mode("threads", AT_ONCE)), np.zeros(n), 120)
    return int((records["status"] == STATUSES.index(COMPLETED)).sum()) / (records["done"].max() / 1e9)


def milliseconds(records: np.ndarray, begin: str, end: str) -> np.ndarray:
    return (records[end] - records[begin]) / 1e6


def figures(records: np.ndarray, overload: Overload, slo: float) -> dict:
    """Of one run; `slo` in ms. Rates are per second of the overload, whose arrivals alone count; `answered` is charged
    with the time until their last answer, where that is longer. `recovery`: seconds after the overload's end until, for
    SPELL seconds, all that come, one at least, are answered as fast as before; None if that never was."""
    due = records["due"] / 1e9
    own = records[(due >= overload.begin) & (due < overload.end)]
    status = {name: own[own["status"] == STATUSES.index(name)] for name in STATUSES}
    latency, refusal = milliseconds(status[COMPLETED], "due", "done"), milliseconds(status[REJECTED], "sent", "done")
    seconds = overload.end - overload.begin
    before = records[(due < overload.begin) & (records["status"] == STATUSES.index(COMPLETED))]
    normal = NORMAL * milliseconds(before, "due", "done").max(initial=0)
    after = np.sort(records[due >= overload.end], order="due")
    slow = (after["status"] != STATUSES.index(COMPLETED)) | (milliseconds(after, "due", "done") > normal)
    dues = after["due"] / 1e9 - overload.end
    recovery = 0.0
    for late in dues[slow]:
        if late > recovery + SPELL and len(dues[~slow & (dues > recovery) & (dues < late)]):
            break
        recovery = late
    return {
        "offered": len(own) / seconds,
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
def memory(server: Server) -> Iterator[list[float]]:
    """MB of the server and its stubs, twice a second; empty where it is not of this machine."""
    seen, over = [], threading.Event()
    root = server.state.get("pid")

    def look():
        while root and not over.wait(0.5):
            with contextlib.suppress(psutil.Error):
                family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
                seen.append(sum(process.memory_info().rss for process in family) / 1e6)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def measured(server: Server, arm: Arm, most: float, options) -> None:
    """Prints the lines of one arm, also of those that were measured before it was interrupted or the server died."""
    rows, ledgers = {}, []
    try:
        for overload in overloads(most, options.seconds, options.seed):
            with memory(server) as held:
                records = offer(server, arm, overload.times, 3 * options.slo / 1e3)
            rows[overload.name] = figures(records, overload, options.slo) | {"rss": max(held, default=None)}
            ledgers.append(f"  {arm.placement} {overload.name}: {format_counts(count_outcomes(records))}")
            offer(server, Arm(arm.workload, arm.placement, Mode("sequential")), np.zeros(2), 600)  # its backlog is done
    finally:
        if rows:
            show(arm, rows, ledgers)


def show(arm: Arm, rows: dict[str, dict], ledgers: list[str]) -> None:
    best = max(row["goodput"] for name, row in rows.items() if name != "spike")
    for name, row in rows.items():
        possible = min(best, row["offered"])
        share = f"{row['goodput'] / possible:.0%}" if possible and name != "spike" else "-"
        print(
            f"{arm.workload.name + ' ' + arm.placement:<14} {name:<6} {row['offered']:>8.3g} {row['answered']:>9.3g}"
            f" {row['goodput']:>8.3g} {share:>8} {row['refused']:>8.3g} {shown(row['refusal']):>8} {row['lost']:>8}"
            f" {shown(row['p99']):>8} {shown(row['rss']):>7} {shown(row['recovery'], '.1f', f'>{AROUND:g}'):>9}"
        )
    print("\n".join(ledgers), flush=True)


def shown(value: float | None, form: str = ".0f", none: str = "-") -> str:
    return none if value is None else f"{value:{form}}"


@contextlib.contextmanager
def started(weights: str, slo: float) -> Iterator[Server]:
    """A server of the launcher's, on its cores; nothing is left of it. Raises Unavailable."""
    with (
        tempfile.TemporaryDirectory(prefix="crossover-") as directory,
        temporary_server(Path(directory), weights, slo=f"{slo:.0f}") as server,
    ):
        yield server


def run(options) -> None:
    servers = {f"--slo {options.slo:g}": options.slo, "--slo 0": 0} if options.start else {"as it is": 0}
    known: dict[str, float] = {}
    available = sorted(os.sched_getaffinity(0))
    for title, bound in servers.items():
        host.pin(available)  # the server inherits it
        given = contextlib.nullcontext(options.server)
        with started(options.start, bound) if options.start else given as server:
            server.require(model for name in options.workloads for model in WORKLOADS[name].models)
            host.pin(host.free_cores(server.cores))
            print(f"\n{title}: SLO {options.slo:g} ms\n{HEAD}", flush=True)
            for workload in options.workloads:
                for placement in options.arms:
                    arm = Arm(WORKLOADS[workload], placement, Mode("async", 1, FLIGHT))
                    name = f"{workload} {placement}"
                    one = alone(server, arm)
                    if name not in known:  # the same rates for both servers
                        known[name] = options.capacity or capacity(server, arm, one)
                    print(f"{name}: alone {one * 1e3:.3g} ms, capacity {known[name]:.3g}/s", flush=True)
                    measured(server, arm, known[name], options)
    print(f"\n{LEGEND}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__.partition("\n")[0])
    parser.add_argument("workloads", nargs="*", metavar="image|audio", help="default: both")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--state", default=".run", help="the launcher's state directory")
    parser.add_argument("--start", choices=("real", "tiny"), help="servers of its own, with bounds and without")
    parser.add_argument("--seconds", type=float, default=60, help="of each overload (default: %(default)s)")
    parser.add_argument("--slo", type=float, default=2000, help="ms (default: %(default)s)")
    parser.add_argument("--capacity", type=float, default=0, help="requests per second; default: found, per arm")
    parser.add_argument("--arms", default=",".join(PLACEMENTS), help="placements, with commas (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.workloads = options.workloads or list(WORKLOADS)
    options.arms = options.arms.split(",")
    if unknown := [name for name in options.workloads if name not in WORKLOADS]:
        parser.exit(2, f"unknown workload {unknown[0]!r}; try one of {', '.join(WORKLOADS)}\n")
    if unknown := [name for name in options.arms if name not in PLACEMENTS]:
        parser.exit(2, f"unknown placement {unknown[0]!r}; try one of {', '.join(PLACEMENTS)}\n")
    if min(options.seconds, options.slo) <= 0 or options.capacity < 0 or options.seed < 0:
        parser.exit(2, "--seconds and --slo must be positive, --capacity and --seed not negative\n")
    try:
        options.server = Server.at(options.url, Path(options.state))
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    try:
        run(options)
    except (Unavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
