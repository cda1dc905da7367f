"""Measures one block: an arm, offered a schedule once, with what the client, the server and the network spent on it."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from crossover.measurement.server_statistics import difference
from crossover.measurement.trial import Block
from loadgen import interrupts, real_threads
from loadgen.arm import Arm
from loadgen.arrivals import Schedule
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples import journal, parquet
from loadgen.samples.summary import summarise
from loadgen.samples.validity import Facts, judge
from serving.server import Server, Unavailable
from workloads import payloads


def measure(
    server: Server,
    arm: Arm,
    schedule: Schedule,
    sent: list[payloads.Payload],
    path: Path,
    cores: int,
    turn: int = 1,
    attempt: int = 1,
    percentile: float = 50,
    timeout: float = 30.0,
    sleep: Callable[[float], object] = real_threads.sleep,
) -> Block:
    """Run it and write it down as `path`.parquet and `path`.json; `cores` are the client's, `turn` the round's number.

    `sleep` waits while the load goes on, and ends it by raising an exception; see `Loop`.
    The payloads' order follows from the schedule's seed. The verdict vouches for latency's `percentile`. If it is
    interrupted, the block is written, too, as incomplete, before the exception goes on.
    Raises Unavailable where the server is gone before anything was sent, OSError where the disk is full.
    """
    order = payloads.order(len(sent), len(schedule), schedule.seed)
    models = tuple(dict.fromkeys((*arm.workload.steps, arm.target.model)))
    before = server.statistics()
    kept = journal.Journal(path.with_suffix(".journal"))
    loop = OpenLoop(arm, server.url, lambda sample: None, timeout, kept, sleep)
    gpu, server_cpu, wall = server.gpu(), server.cpu_seconds(), time.monotonic()
    complete = False
    try:
        loop.run(Plan(schedule.times, order, sent))
        complete = True
    finally:
        with interrupts.defer_interrupts():
            cpu, wall = loop.cpu, time.monotonic() - wall
            spent = risen(server_cpu, server.cpu_seconds())
            steps = {}
            with contextlib.suppress(Unavailable):  # it died meanwhile: its requests have failed
                steps = difference(before, server.statistics(), models)
            if gpu:
                used = server.gpu() or {"energy_joules": None}
                joules = risen(gpu["energy_joules"], used["energy_joules"])
                gpu = None if joules is None else {**used, "energy_joules": joules}
            kept.close()
            names = [payload.name for payload in sent]
            records, reasons = journal.read(kept.path)
            result = summarise(records, schedule.seconds, reasons)
            facts = Facts(cpu / wall / cores, loop.hub_stall, complete, due=len(schedule))
            del records  # a map of the file that goes now
            parquet.to_parquet(kept.path, names, {"arm": str(arm), "arrivals": schedule.spec, "seed": schedule.seed})
            block = Block(
                workload=arm.workload.name,
                arm=str(arm),
                placement=arm.placement,
                mode=str(arm.mode),
                round=turn,
                attempt=attempt,
                control=arm.control,
                seed=schedule.seed,
                arrivals=schedule.spec,
                schedule=schedule.digest,
                seconds=schedule.seconds,
                client_cpu=cpu,
                server_cpu=spent,
                gpu=gpu,
                facts=asdict(facts),
                steps=steps,
                summary=result,
                **judge(result, facts, percentile).as_dict(),
                path=path.with_suffix(".json"),
            )
            block.write()
    return block


def risen(before: float | None, after: float | None) -> float | None:
    """By how much a counter has; None where it is not known, or began anew because its process did."""
    return None if before is None or after is None or after < before else after - before
