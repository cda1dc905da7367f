"""One load offered by all client processes, and what it cost client, server and GPU."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.gpu.arms import Ask, AskRaw
from benchmarks.gpu.clients import ClientProcesses, Offered, Task
from crossover.experiments.capacity.search import CLIENT_RULES
from crossover.measurement.server_statistics import difference
from loadgen.samples.sample import COMPLETED, STATUSES
from loadgen.samples.summary import summarise
from loadgen.samples.validity import judge
from loadgen.samples.verdict import Facts
from serving import gpu
from serving.server import Server, Unavailable
from workloads.payloads import Payload

BUSY = 0.9
"""Share of its core from which on a client process is taken to be at its limit."""
FEW = 50
"""Answers below which a rate is that of all, with beginning and end."""
SETTLE = 0.2
"""Share of a load without pauses that is left out at its beginning."""


@dataclass(frozen=True)
class Power:
    """Readings of the cards while a load went on: (instant s, joules so far, utilisation 0 to 1)."""

    readings: list[tuple[float, float, float]]

    def between(self, began: float, ended: float) -> tuple[float | None, float | None]:
        """Return (mean watts, mean utilisation) of the readings in a stretch of time; None without a card."""
        inside = [each for each in self.readings if began <= each[0] <= ended]
        if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
            return None, None
        (first, before, _), (last, after, _) = inside[0], inside[-1]
        return (after - before) / (last - first), float(np.mean([each[2] for each in inside]))


class PowerMeter:
    """Reads a server's cards a few times a second, as something to be called while a load goes on."""

    def __init__(self, server: Server, every: float = 0.2):
        """Read once, to see whether there are cards."""
        self.server, self.every, self.present = server, every, True
        self.readings: list[tuple[float, float, float]] = []
        self.sm_clock: int | None = None
        self.read()

    def read(self) -> None:
        """Add a reading; without cards nothing is asked again."""
        reading = self.server.gpu() if self.present else None
        self.present = reading is not None
        if reading:
            self.readings.append((time.monotonic(), reading["energy_joules"], reading["utilisation"]))

    def watch(self) -> None:
        """Add a reading if it is time; the third also reads the clock (MHz), while the card is at work."""
        if self.present and time.monotonic() - self.readings[-1][0] >= self.every:
            self.read()
            if len(self.readings) == 3:
                self.sm_clock = next((card.sm_clock for card in gpu.read_cards()), None)


@dataclass(frozen=True)
class Load:
    """What a load came to."""

    offered: Offered
    seconds: float
    steps: dict[str, dict]
    """Of Triton's statistics: `server_statistics.difference`."""
    server_cpu: float | None
    """CPU seconds of the server."""
    watts: float | None
    utilisation: float | None
    sm_clock: int | None = None

    @property
    def answered(self) -> np.ndarray:
        """The records of completed requests."""
        return self.offered.records[self.offered.records["status"] == STATUSES.index(COMPLETED)]

    @property
    def unanswered(self) -> int:
        """Arrivals without a good answer."""
        return len(self.offered.records) - len(self.answered)

    @property
    def rate(self) -> float:
        """Answers per second while users never pause, without the beginning and the end; of few answers, of all."""
        done = self.answered["done"] / 1e9
        begin = SETTLE * self.seconds
        inside = (done > begin) & (done <= self.seconds)
        return float(inside.sum() / (self.seconds - begin) if inside.sum() >= FEW else len(done) / done.max())

    def percentile(self, q: float) -> float:
        """Return the latency percentile in ms over all arrivals; those without a good answer count as infinite."""
        records = self.offered.records
        good = records["status"] == STATUSES.index(COMPLETED)
        latency = np.where(good, (records["done"] - records["due"]) / 1e6, np.inf)
        # Between a finite and an infinite value interpolation gives nan.
        value = float(np.percentile(latency, q, method="higher")) if len(latency) else np.nan
        return value

    def costs(self, client_cores: int) -> dict:
        """Return CPU ms per answer of both sides, joules per answer, utilisation, and the mean batch of each step."""
        count = max(1, len(self.answered))
        # Not of the whole wall time: power is read while arrivals are due.
        rate = count / max(self.seconds, float(self.answered["done"].max(initial=0)) / 1e9)
        return {
            "client_cpu_ms": self.offered.cpu_seconds / count * 1e3,
            "server_cpu_ms": None if self.server_cpu is None else self.server_cpu / count * 1e3,
            "client_share": self.offered.cpu_seconds / self.seconds / client_cores,
            "joules": None if self.watts is None else self.watts / rate,
            "watts": self.watts,
            "utilisation": self.utilisation,
            "batch": {model: step["mean_batch"] for model, step in self.steps.items()},
        }

    def client_limits(self) -> list[str]:
        """Return the rules of a measurement's validity that the client broke: then it may have been the limit."""
        facts = Facts(self.offered.busiest, self.offered.stall, True)
        summary = summarise(self.offered.records, self.seconds, self.offered.reasons)
        rules = {finding.rule for finding in judge(summary, facts, 50).findings}
        return sorted(rules & CLIENT_RULES)

    def falls_behind(self) -> bool:
        """Return whether the server was offered more than it answers, by the validity rule on backlogs."""
        summary = summarise(self.offered.records, self.seconds, self.offered.reasons)
        facts = Facts(None, 0.0, True)
        return any(finding.rule == "backlog" for finding in judge(summary, facts, 50).findings)

    def waits_for_client(self, limit: float) -> bool:
        """Return whether requests over the limit (ms) spent most of their time before a client worker took them."""
        records = self.answered
        slow = records[records["done"] - records["due"] > limit * 1e6]
        waited = (slow["began"] - slow["due"]) / np.maximum(slow["done"] - slow["due"], 1)
        return bool(len(slow) and np.median(waited) > 0.5) or self.offered.busiest > BUSY


def offer(
    server: Server, clients: ClientProcesses, ask: Ask | AskRaw, sent: Sequence[Payload], task: Task, count: int = 0
) -> Load:
    """Offer a task's load to an arm by `count` client processes (0: all).

    Raises Unavailable if the server or a client process is gone, or if nothing was answered.
    """
    before, cpu, meter = server.statistics(), server.cpu_seconds(), PowerMeter(server)
    offered = clients.run(task, sent, count, meter.watch)
    end = server.cpu_seconds()
    workload = ask.make()
    models = (*workload.steps, workload.placements[ask.placement].model)
    load = Load(
        offered,
        task.seconds,
        difference(before, server.statistics(), tuple(dict.fromkeys(models))),
        None if cpu is None or end is None or end < cpu else end - cpu,  # less than before: a stub ended meanwhile
        *Power(meter.readings).between(offered.began, offered.began + task.seconds),
        meter.sm_clock,
    )
    if not len(load.answered):
        reason = next(iter(offered.reasons[1:]), "no arrival was due")
        raise Unavailable(f"{ask.placement}: none of {len(offered.records)} requests was answered: {reason}")
    return load
