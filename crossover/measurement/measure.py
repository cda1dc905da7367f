"""Measure one trial: offer a schedule to an arm once, and record what client, server and network spent on it."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from arrivals import Schedule
from common import real_threads
from crossover.measurement import step_cpu
from crossover.measurement.conditions import time_loop
from crossover.measurement.core_use import CoreUse
from crossover.measurement.foreign_requests import find_most_asked, find_route
from crossover.measurement.remedies import REMEDIES
from crossover.measurement.server_statistics import count_inferences, difference
from crossover.measurement.trial import Trial
from loadgen import interrupts
from loadgen.arm import Arm
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.metrics import exporter
from loadgen.samples import journal, parquet
from loadgen.samples.summary import summarise
from loadgen.samples.validity import judge
from loadgen.samples.verdict import Facts
from serving.server import Server, Unavailable
from workloads.payloads import Payload
from workloads.payloads import order as draw_order


@dataclass(frozen=True)
class Counters:
    """The server's counters at one instant."""

    statistics: dict[str, dict]
    gpu: dict | None
    cpu_seconds: float | None
    gateway_seconds: float | None
    step_cpu: dict[str, dict[int, float]]
    use: CoreUse
    """Of the server's cores."""
    client_use: CoreUse
    """Of the cores that this process may run on."""

    @classmethod
    def read(cls, server: Server) -> "Counters":
        """Read them all. Raises Unavailable if the server does not answer."""
        use = CoreUse.read(server.cores), CoreUse.read(sorted(os.sched_getaffinity(0)))
        seconds = server.cpu_seconds(), server.gateway_seconds()
        return cls(server.statistics(), server.gpu(), *seconds, step_cpu.read(server), *use)

    def spent(self, server: Server, models: tuple[str, ...]) -> tuple[dict, dict[str, dict]]:
        """Return (what was spent since, the server's statistics now; none if it is gone).

        The former are a trial's fields: CPU seconds, `steps`, `gpu`, and what `others` used. What a server that died or
        was restarted in between cannot report is None or missing.
        """
        server_cpu = increase(self.cpu_seconds, server.cpu_seconds())
        gateway_cpu = increase(self.gateway_seconds, server.gateway_seconds())
        together = None if server_cpu is None else server_cpu + (gateway_cpu or 0.0)
        # On these cores; a gateway on others is none of theirs.
        server_cpu = server_cpu if server.gateways_apart else together
        others = self.use.share_of_others(server_cpu)
        # The server uses none of the client's cores, unless they are its own. Of a server on this machine whose cores
        # are not known, nobody knows: what it uses is not others' use.
        shared = bool(set(self.use.cores) & set(self.client_use.cores))
        unknown = not self.use.cores and server.is_here
        client_others = self.client_use.share_of_others(None if unknown else server_cpu if shared else 0.0)
        steps, cpu = {}, {}
        statistics: dict[str, dict] = {}
        with contextlib.suppress(Unavailable):  # it died during the trial; its requests have failed
            statistics = server.statistics()
            steps = difference(self.statistics, statistics, models)
            counts = [count_inferences(each) for each in (self.statistics, statistics)]
            cpu = step_cpu.per_inference(self.step_cpu, step_cpu.read(server), *counts)
        gpu = None
        if self.gpu and (reading := server.gpu()):
            joules = increase(self.gpu["energy_joules"], reading["energy_joules"])
            gpu = None if joules is None else {**reading, "energy_joules": joules}
        neighbours = {"others": others, "client_others": client_others}
        spent = {"server_cpu": together, "gateway_cpu": gateway_cpu, "steps": steps, "step_cpu": cpu, "gpu": gpu}
        return {**spent, **neighbours}, statistics


def measure(
    server: Server,
    arm: Arm,
    schedule: Schedule,
    payloads: Sequence[Payload],
    path: Path,
    core_count: int,
    round_number: int = 1,
    attempt: int = 1,
    percentile: float = 50,
    timeout: float = 30.0,
    sleep: Callable[[float], object] = real_threads.sleep,
    given_up: int = 0,
) -> Trial:
    """Offer the schedule to the arm and write the trial as `path`.parquet and `path`.json.

    Args:
        server: The server to ask, and whose counters are read before and after.
        arm: Who preprocesses, and how the client works.
        schedule: The due times; its seed also draws the order of the payloads.
        payloads: The inputs to send, one or more.
        path: Where the trial is written, without a suffix; `path`.journal holds its samples meanwhile.
        core_count: How many cores the client has: its CPU share is judged by them.
        round_number: The number of the round that the trial belongs to, from 1.
        attempt: How often this trial has been tried, from 1.
        percentile: The latency percentile (0 to 100) for which the verdict demands enough samples.
        timeout: The deadline of one request, in seconds.
        sleep: Waits while the load goes on, and ends it by raising an exception; see `Loop`.
        given_up: How many requests of an earlier trial the server may still be working on.

    Returns:
        The trial. After an interruption it is written, too, as incomplete, before the exception goes on.

    Raises:
        Unavailable: The server was gone before anything was sent.
        OSError: The disk is full, or the directory cannot be written.
    """
    if server.gateways and not arm.placed.gateway:
        server = replace(server, gateways=())
    order = draw_order(len(payloads), len(schedule), schedule.seed)
    models = tuple(dict.fromkeys((*arm.workload.steps, arm.target.model)))
    loop_ms = {"client": time_loop(None), "server": time_loop(server.cores[0]) if server.cores else None}
    route = find_route(server, arm.target.model)
    before = Counters.read(server)
    samples = journal.Journal(path.with_suffix(".journal"))
    metrics = exporter.find_arm(arm)
    loop = OpenLoop(arm, server.url, metrics.add, timeout, samples, sleep)
    metrics.begin(schedule.times, loop)
    began, started, complete = time.time(), time.monotonic(), False
    try:
        loop.run(Plan(schedule.times, order, payloads))
        complete = True
    finally:
        # A second Ctrl-C waits until the trial is on the disk.
        with interrupts.defer_interrupts():
            client_cpu, wall = loop.cpu, time.monotonic() - started
            spent, statistics = before.spent(server, models)
            samples.close()
            records, reasons = samples.read()
            result = summarise(records, schedule.seconds, reasons)
            share, due = client_cpu / wall / core_count, len(schedule)
            facts = Facts(share, loop.hub_stall, complete, ended=loop.ended, steady=schedule.steady, due=due)
            sent = int((records["sent"] > 0).sum())
            if found := find_most_asked(before.statistics, statistics, route, sent):
                model, counted, own = found
                facts = replace(facts, model=model, counted=counted, own=own + given_up)
            verdict = judge(result, facts, percentile, REMEDIES)
            metrics.end(verdict)
            del records  # it maps the journal, which the next line removes
            names = [payload.name for payload in payloads]
            parquet.to_parquet(samples.path, names, {"arm": str(arm), "arrivals": schedule.spec, "seed": schedule.seed})
            trial = Trial(
                workload=arm.workload.name,
                arm=str(arm),
                placement=arm.placement,
                mode=str(arm.mode),
                round=round_number,
                attempt=attempt,
                control=arm.control,
                seed=schedule.seed,
                arrivals=schedule.spec,
                schedule=schedule.digest,
                seconds=schedule.seconds,
                began=began,
                client_cpu=client_cpu,
                shares=loop.split_cpu(),
                **spent,
                loop_ms=loop_ms,
                facts=asdict(facts),
                summary=result,
                **verdict.as_dict(),
                path=path.with_suffix(".json"),
            )
            trial.write()
    return trial


def increase(before: float | None, after: float | None) -> float | None:
    """Return by how much a counter rose; None where it is unknown, or was reset because its process was restarted."""
    return None if before is None or after is None or after < before else after - before
