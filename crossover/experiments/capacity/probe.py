"""Probes one arm: each probe is a trial of Poisson arrivals, given up as soon as it cannot tell anything more."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, inf
from pathlib import Path

from arrivals import Poisson, Schedule
from common import real_threads
from common.figures import significant
from crossover.analysis.capacity_pairs import WINDOW
from crossover.experiments.burst_shapes import bursts, exactly
from crossover.experiments.capacity.search import (
    Probe,
    burst_requests,
    find_start,
    is_over,
    judge_trial,
    most_over,
    probe_requests,
)
from crossover.measurement import resume
from crossover.measurement.measure import measure
from crossover.measurement.offer import wait_until_idle
from crossover.measurement.retry import Retries
from crossover.measurement.trial import Trial, read_trial
from crossover.report.format import bracketed, ms
from loadgen.arm import Arm
from loadgen.samples import journal
from loadgen.samples.sample import FAILED, STATUSES, UNFINISHED
from serving.server import Server
from workloads.payloads import Payload

CHECK = 0.5  # seconds between two looks whether a probe is hopeless


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


def count_over(journal_path: Path, limit: float) -> int:
    """Count the requests that have finished so far and are over a limit (ms), or were not answered."""
    return int(is_over(journal.read(journal_path)[0], limit).sum()) if journal_path.exists() else 0


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
    """Of the arrivals: the first probe's, and of every burst."""
    linked: bool = False
    """Whether a link of --link lies between client and server."""
    trials: int = 0
    """How many there are so far."""
    probes: list[Probe] = field(default_factory=list)
    """Those so far, in their order."""

    def __post_init__(self):
        self.retries.set_deadline(inf)

    @property
    def name(self) -> str:
        """What the arm is called while it is probed; all arms have the same client."""
        return f"{self.arm.workload.name} {self.arm.placement}"

    @property
    def server(self) -> Server:
        """The server that the trials are measured on; another one after it was restarted."""
        return self.retries.server

    def find_start(self, start: float) -> float | None:
        """Look for the rate at which the turns start, from a first one; None if the arm carries no rate, or all."""

        def probe(rate: float) -> Probe:
            seed = self.seed + len(self.probes)
            return self.probe(None, rate, probe_requests(rate, self.slo, self.percentile), seed, self.slo)

        return find_start(probe, start)

    def take_turn(self, turn: int, rate: float, requests: int, seed: int) -> Probe:
        """Probe a rate (per second) in a turn; given up where the percentile is too high for the estimate to use it."""
        return self.probe(turn, rate, requests, seed, self.slo * exp(WINDOW))

    def probe(self, turn: int | None, rate: float, requests: int, seed: int, hopeless: float) -> Probe:
        """Measure a Poisson trial, which is given up once the percentile is certainly above `hopeless` (ms)."""
        trial = self.measure_trial(
            exactly(Poisson, rate, requests, seed), hopeless, most_over(requests, self.percentile)
        )
        found = judge_trial(trial, turn, rate, self.slo, self.percentile, self.linked)
        name = f"p{self.percentile:g}"
        what = f"{name} {ms(found.ms)} ms, within {significant(self.slo)} ms"
        if found.over:
            value = f"{name} {ms(found.ms)} ms, over" if found.complete and found.ms else f"given up, as {name} is over"
            what = f"{value} {significant(self.slo)} ms (slow: the {found.slow})"
        where = "start" if turn is None else f"turn {turn + 1}"
        print(f"  {where:<7} {self.name}: {significant(rate)}/s: {what}", flush=True)
        self.probes.append(found)
        return found

    def measure_trial(self, schedule: Schedule, hopeless: float = inf, most: float = inf) -> Trial:
        """Return the trial of that schedule: the one of an interrupted run, or measured now.

        It is given up once more than `most` requests take longer than `hopeless` (ms). Raises Unavailable if the server
        is gone.
        """
        self.trials += 1
        path = self.directory / self.arm.workload.name / self.arm.slug / f"round-{self.trials:02}"
        existing = resume.existing_trial(path, self.arm, schedule)
        if existing and (existing.facts["complete"] or was_given_up(existing, hopeless, most)):
            return existing

        def measure_once(attempt: int) -> Trial:
            return self.offer(schedule, path, hopeless, most, attempt)

        return self.retries.measure_until_valid(measure_once, inexplicable_failures)

    def offer(self, schedule: Schedule, path: Path, hopeless: float, most: float, attempt: int) -> Trial:
        """Offer the schedule once the server is idle, and give it up once it is hopeless."""
        journal_path = path.with_suffix(".journal")
        # What is left of the probe before would count against this one.
        wait_until_idle(self.server, self.arm, self.payloads)
        number, cores = self.trials, self.core_count
        sleep = abort_when(lambda: count_over(journal_path, hopeless) > most)
        inputs, percentile = self.payloads, self.percentile
        earlier = self.retries.given_up  # another instance of the model may still be at work on some of these
        try:
            trial = measure(
                self.server,
                self.arm,
                schedule,
                inputs,
                path,
                cores,
                number,
                attempt,
                percentile,
                sleep=sleep,
                given_up=earlier,
            )
        except Hopeless:
            trial = read_trial(path.with_suffix(".json"))
        self.retries.note_given_up(trial)
        return trial

    def measure_bursts(self, capacity: float, load: float) -> list[dict]:
        """Offer a share `load` of the capacity (per second) in every shape; rows of the burstiness table."""
        rows, n = [], burst_requests(self.percentile)
        for name, (make, cv) in bursts().items():
            trial = self.measure_trial(exactly(make, capacity * load, n, self.seed))
            latency = trial.summary["latency"]
            row = {"arm": str(self.arm), "load": load, "arrivals": name, "cv": cv, "p50": latency["p50"]}
            rows.append({**row, "p99": latency["p99"], "requests": trial.completed, "valid": trial.valid})
            p99 = bracketed(latency["p99"], trial.completed, trial.valid)
            print(f"  {self.name}: {load:g} of {significant(capacity)}/s, {name}: p99 {p99} ms", flush=True)
        return rows


def was_given_up(trial: Trial, hopeless: float, most: float) -> bool:
    """Return whether an incomplete trial was given up: more than `most` requests took longer than `hopeless` (ms).

    What Ctrl-C left unfinished is not over it yet.
    """
    done = trial.records[trial.records["status"] != STATUSES.index(UNFINISHED)]
    return is_over(done, hopeless).sum() > most
