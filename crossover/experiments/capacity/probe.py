"""Probes one arm: each probe is a trial of Poisson arrivals, aborted as soon as it cannot pass any more."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path

import numpy as np

from crossover.experiments.burst_shapes import bursts, exactly
from crossover.experiments.capacity.search import (
    Outcome,
    allowed_over,
    bracket,
    burst_requests,
    is_over,
    judge_trial,
    probe_requests,
)
from crossover.measurement import resume
from crossover.measurement.measure import measure
from crossover.measurement.offer import wait_until_idle
from crossover.measurement.retry import Retries
from crossover.measurement.trial import Trial, read_trial
from crossover.report.format import bracketed, ms
from loadgen import real_threads
from loadgen.arm import Arm
from loadgen.arrivals import Poisson, Schedule
from loadgen.samples import journal
from loadgen.samples.sample import FAILED, STATUSES, UNFINISHED
from serving.server import Server
from workloads.payloads import Payload

CHECK = 0.5  # seconds between two looks whether a probe is hopeless
TRIES = 2  # at a rate, each with arrivals of its own: one hiccup of the machine must not decide


class Hopeless(Exception):
    """The trial that is being measured cannot pass any more."""


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


def count_over(journal_path: Path, slo: float) -> int:
    """Count the requests that have finished so far and are over the SLO (ms), or were not answered."""
    return int(is_over(journal.read(journal_path)[0], slo).sum()) if journal_path.exists() else 0


def inexplicable_failures(trial: Trial) -> list[str]:
    """Count failures that overload does not explain, e.g. a crash, which are worth a retry.

    Rejections and timeouts are results.
    """
    return ["errors"] if trial.summary["books"][FAILED] else []


@dataclass
class Prober:
    """Measures the probes of one arm, and bursts at shares of its capacity: each a trial, numbered as they come.

    The numbers are those of the files, `round-NN`; an interrupted search repeats itself from the files that are there.
    """

    retries: Retries
    arm: Arm
    payloads: list[Payload]
    directory: Path
    core_count: int
    """The client's."""
    slo: float
    """ms"""
    percentile: float
    """Of latency, that is held to the SLO."""
    seed: int
    trials: int = 0
    """How many there are so far."""
    outcomes: list[Outcome] = field(default_factory=list)
    """Of the probes so far, in their order."""

    def __post_init__(self):
        self.retries.set_deadline(np.inf)

    @property
    def server(self) -> Server:
        """The server that the trials are measured on; another one after it was restarted."""
        return self.retries.server

    def probe(self, rate: float) -> Outcome:
        """Measure Poisson trials at a rate (per second) until one passes, TRIES at most; the last one's outcome."""
        n = probe_requests(rate, self.slo, self.percentile)
        max_over, seed = allowed_over(n, self.percentile), self.seed + TRIES * len(self.outcomes)
        for attempt in range(1, TRIES + 1):
            # Every attempt has a seed of its own, and so has every probe: none repeats another's arrivals.
            trial = self.measure_trial(exactly(Poisson, rate, n, seed + attempt - 1), max_over, attempt)
            outcome = judge_trial(trial, rate, self.slo, self.percentile)
            verdict = f"passed, p{self.percentile:g} <= {ms(outcome.bound)} ms"
            verdict = verdict if outcome.passed else f"failed: {outcome.why} (limited by the {outcome.limit})"
            print(f"  {self.arm}: {rate:.4g}/s: {verdict}", flush=True)
            if outcome.passed:
                break
        self.outcomes.append(outcome)
        return outcome

    def measure_trial(self, schedule: Schedule, max_over: float = np.inf, attempt: int = 1) -> Trial:
        """Return the trial of that schedule: the one of an interrupted run, or measured now.

        It is aborted once more than `max_over` requests are over the SLO. Raises Unavailable if the server is gone.
        """
        self.trials += 1
        path = self.directory / self.arm.workload.name / self.arm.slug / f"round-{self.trials:02}"
        existing = resume.existing_trial(path, self.arm, schedule)
        if existing and (existing.facts["complete"] or self.cannot_pass(existing, max_over)):
            return existing

        def measure_once(_: int) -> Trial:
            return self.offer(schedule, path, max_over, attempt)

        return self.retries.measure_until_valid(measure_once, inexplicable_failures)

    def offer(self, schedule: Schedule, path: Path, max_over: float, attempt: int) -> Trial:
        """Offer the schedule once the server is idle, and abort it when it cannot pass any more."""
        journal_path = path.with_suffix(".journal")
        # What is left of the probe before would count against this one.
        wait_until_idle(self.server, self.arm, self.payloads)
        number, cores = self.trials, self.core_count
        sleep = abort_when(lambda: count_over(journal_path, self.slo) > max_over)
        inputs, percentile = self.payloads, self.percentile
        try:
            return measure(
                self.server, self.arm, schedule, inputs, path, cores, number, attempt, percentile, sleep=sleep
            )
        except Hopeless:
            return read_trial(path.with_suffix(".json"))

    def cannot_pass(self, trial: Trial, max_over: float) -> bool:
        """Return whether an incomplete trial was aborted as hopeless.

        What Ctrl-C left unfinished is not over the SLO yet.
        """
        done = trial.records[trial.records["status"] != STATUSES.index(UNFINISHED)]
        return is_over(done, self.slo).sum() > max_over

    def measure_bursts(self, capacity: float, load: float) -> list[dict]:
        """Offer a share `load` of the capacity (per second) in every shape; rows of the burstiness table."""
        rows, n = [], burst_requests(self.percentile)
        for name, (make, cv) in bursts().items():
            trial = self.measure_trial(exactly(make, capacity * load, n, self.seed))
            latency = trial.summary["latency"]
            row = {"arm": str(self.arm), "load": load, "arrivals": name, "cv": cv, "p50": latency["p50"]}
            rows.append({**row, "p99": latency["p99"], "requests": trial.completed, "valid": trial.valid})
            p99 = bracketed(latency["p99"], trial.completed, trial.valid)
            print(f"  {self.arm}: {load:g} of {capacity:.4g}/s, {name}: p99 {p99} ms", flush=True)
        return rows


def summarise(prober: Prober) -> dict:
    """Return an arm's capacity for capacity.json: the highest rate that passed, the lowest that did not, and why."""
    best, worst = bracket(prober.outcomes)
    return {
        "arm": str(prober.arm),
        "rate": best and best.rate,
        "p50": best and best.p50,
        "p99": best and best.p99,
        "slo_ms": prober.slo,
        "percentile": prober.percentile,
        "bound_ms": best and best.bound,
        "requests": best.requests if best else 0,
        "not": worst and worst.rate,
        "limited_by": worst and worst.limit,
        "why": worst and worst.why,
        "probes": [asdict(outcome) for outcome in prober.outcomes],
    }


def list_curve(prober: Prober) -> list[dict]:
    """List the points of latency against load: the probes that ran to their end, by rate."""
    complete = sorted((outcome for outcome in prober.outcomes if outcome.complete), key=attrgetter("rate"))
    arm = str(prober.arm)
    return [
        {"arm": arm, "rate": each.rate, "p50": each.p50, "p99": each.p99, "valid": not each.why.startswith("INVALID")}
        for each in complete
    ]
