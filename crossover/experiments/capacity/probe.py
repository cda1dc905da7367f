"""One arm under probes: each a block of Poisson arrivals, given up as soon as it cannot pass any more."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from crossover.experiments.burst_shapes import burst, bursts
from crossover.experiments.capacity.result import bracketed
from crossover.experiments.capacity.search import Outcome, allowed, bracket, judged, over, rate, requests
from crossover.experiments.compare import tables
from crossover.experiments.experiment import exactly
from crossover.measurement import resume, trial
from crossover.measurement.measure import measure
from crossover.measurement.retry import Attempts
from crossover.measurement.trial import Block
from loadgen import real_threads
from loadgen.arm import Arm, Mode
from loadgen.arrivals import Poisson, Schedule
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples import journal
from loadgen.samples.sample import FAILED, STATUSES, UNFINISHED
from serving.server import Server
from workloads import payloads

CHECK = 0.5  # seconds between two looks whether a probe is hopeless
TRIES = 2  # at a rate, each with arrivals of its own: one hiccup of the machine must not decide
ANSWER = 120.0  # seconds for an overloaded server to work off what it has


class Hopeless(Exception):
    """What is under way cannot pass any more."""


def abort_when(hopeless: Callable[[], bool]) -> Callable[[float], None]:
    """Return a `sleep` for a load that ends it, as Ctrl-C does, once `hopeless()` is true: checked twice a second."""
    check = time.monotonic() + CHECK

    def sleep(seconds: float) -> None:
        nonlocal check
        real_threads.sleep(seconds)
        if time.monotonic() >= check:
            if hopeless():
                raise Hopeless
            check = time.monotonic() + CHECK

    return sleep


def finished(path: Path, slo: float) -> np.ndarray:
    """Of the requests that have finished so far: was it over the SLO (ms), or not answered?"""
    return over(journal.read(path)[0], slo) if path.exists() else np.zeros(0, bool)


def failed(block: Block) -> list[str]:
    """What no load explains, as a server that died; refusals and late answers tell how much it can carry."""
    return ["errors"] if block.summary["books"][FAILED] else []


@dataclass
class Probing:
    """One arm under probes: each a block, numbered as they come."""

    attempts: Attempts
    arm: Arm
    sent: list[payloads.Payload]
    directory: Path
    cores: int
    slo: float
    percentile: float
    seed: int

    def __post_init__(self):
        self.blocks = 0
        self.attempts.until(np.inf)
        self.outcomes: list[Outcome] = []

    @property
    def server(self) -> Server:
        return self.attempts.server

    def probe(self, rate: float) -> Outcome:
        """Poisson blocks at that rate, until one passes."""
        n = requests(rate, self.slo, self.percentile)
        most, seed = allowed(n, self.percentile), self.seed + TRIES * len(self.outcomes)
        for attempt in range(1, TRIES + 1):
            block = self.block(exactly(Poisson, rate, n, seed + attempt - 1), most, attempt)
            found = judged(block, rate, self.slo, self.percentile)
            said = f"passed, p{self.percentile:g} <= {tables.ms(found.bound)} ms"
            said = said if found.passed else f"no: {found.why} ({found.limit})"
            print(f"  {self.arm}: {rate:.4g}/s: {said}", flush=True)
            if found.passed:
                break
        self.outcomes.append(found)
        return found

    def block(self, schedule: Schedule, most: float = np.inf, attempt: int = 1) -> Block:
        """Measured, if an interrupted run has not; given up as soon as more than so many are over the SLO."""
        self.blocks += 1
        path = self.directory / self.arm.workload.name / self.arm.slug / f"round-{self.blocks:02}"
        there = resume.found(path, self.arm, schedule)
        if there and (there.facts["complete"] or self.hopeless(there, most)):
            return there
        return self.attempts.good(lambda _: self.offered(schedule, path, most, attempt), failed)

    def offered(self, schedule: Schedule, path: Path, most: float, attempt: int) -> Block:
        kept = path.with_suffix(".journal")
        self.settle()
        sleep = abort_when(lambda: finished(kept, self.slo).sum() > most)
        try:
            return measure(
                self.server, self.arm, schedule, self.sent, path, self.cores, self.blocks, attempt, self.percentile,
                sleep=sleep,
            )  # fmt: skip
        except Hopeless:
            return trial.at(path.with_suffix(".json"))

    def hopeless(self, block: Block, most: float) -> bool:
        """Whether it ended because of that: what Ctrl-C left unfinished is not over the SLO yet."""
        done = block.records[block.records["status"] != STATUSES.index(UNFINISHED)]
        return over(done, self.slo).sum() > most

    def settle(self) -> None:
        """Wait until the server has worked off what was asked before: it answers a request, then another at once."""
        one = Arm(self.arm.workload, self.arm.placement, Mode("sequential"), self.arm.library)
        OpenLoop(one, self.server.url, lambda sample: None, ANSWER).run(
            Plan(np.zeros(2), np.zeros(2, int), self.sent)
        )

    def bursts(self, most: float, load: float) -> list[dict]:
        """The same load in every shape."""
        rows, n = [], burst(self.percentile)
        for name, (make, cv) in bursts().items():
            block = self.block(exactly(make, most * load, n, self.seed))
            latency = block.summary["latency"]
            row = {"arm": str(self.arm), "load": load, "arrivals": name, "cv": cv, "p50": latency["p50"]}
            rows.append({**row, "p99": latency["p99"], "requests": block.completed, "valid": block.valid})
            p99 = bracketed(latency["p99"], block.completed, block.valid)
            print(f"  {self.arm}: {load:g} of {most:.4g}/s, {name}: p99 {p99} ms", flush=True)
        return rows


def capacity(probing: Probing) -> dict:
    best, worst = bracket(probing.outcomes)
    return {
        "arm": str(probing.arm),
        "rate": best and best.rate,
        "p50": best and best.p50,
        "p99": best and best.p99,
        "slo_ms": probing.slo,
        "percentile": probing.percentile,
        "bound_ms": best and best.bound,
        "requests": best.requests if best else 0,
        "not": worst and worst.rate,
        "limited_by": worst and worst.limit,
        "why": worst and worst.why,
        "probes": [asdict(outcome) for outcome in probing.outcomes],
    }


def curve(probing: Probing) -> list[dict]:
    """The probes that ran to their end, by rate."""
    kept = sorted((outcome for outcome in probing.outcomes if outcome.whole), key=rate)
    arm = str(probing.arm)
    return [
        {"arm": arm, "rate": o.rate, "p50": o.p50, "p99": o.p99, "valid": not o.why.startswith("INVALID")} for o in kept
    ]
