"""The experiment of the original project: does it matter how the client works, and how the requests arrive?

    crossover clients image audio --seconds 1800

Naive sequential, threaded and asynchronous clients, with 1, 2, 4, ... workers, are offered uniform and Poisson arrivals
of the same mean rate; and, the video question, the same rate as 16 cameras of random phase and as 16 synchronised ones.
In rounds: each holds every condition once, in an order drawn anew, and every client gets the same arrivals. Everything
lies in reports/<time>-study/: report.html, study.json, study.png, and the trials they are made from.
"""

import random
from argparse import Namespace
from math import ceil
from pathlib import Path

import numpy as np

from arrivals.schedule import Schedule
from crossover.experiments.burst_shapes import CAMERAS, exactly
from crossover.experiments.client_modes.conditions import LAWS, VIDEO, clients, reference
from crossover.experiments.client_modes.result import KIND, summarise_interim
from crossover.experiments.options import (
    check_rounds,
    check_run_options,
    check_server_options,
)
from crossover.experiments.server_experiment import ServerExperiment
from crossover.measurement import resume
from crossover.measurement.retry import SPARE
from loadgen.arm import Arm
from workloads.workload import Workload

UTILISATION = 0.7  # of what the slower sequential placement could do at the very most
# A comparison offers less, to keep queues out of what it measures. Here they are what is measured, as clients and
# arrivals differ only in waiting.
FRAMES = 2  # of each camera in a trial, at least: one frame each of random phase would be Poisson arrivals
OVERHEAD = 1.0  # seconds a trial takes beyond its schedule


class ClientModes(ServerExperiment):
    """Rounds of every condition: a client mode under a law of arrivals.

    In a round every condition comes once, in an order drawn anew, and every client gets the same arrivals of a law.
    """

    kind = KIND
    identity = ("workloads", "seconds", "arms", "library", "rounds", "rate")

    def __init__(self, options: Namespace):
        super().__init__(options)
        workloads = options.workloads.values()
        total, rounds = sum(each.share for each in workloads), options.rounds
        conditions = {each.name: len(self.list_conditions(each)) for each in workloads}
        least = ceil(max(rounds * conditions[each.name] * OVERHEAD * total / each.share for each in workloads))
        if options.seconds < least:
            what = f"{rounds} rounds of {max(conditions.values())} conditions"
            raise ValueError(f"--seconds must be at least {least} for {what}, not {options.seconds:g}")

    def measure(self) -> None:
        """Measure every condition of each workload, round by round."""
        self.begin()
        for workload in self.options.workloads.values():
            self.measure_workload(workload)
        self.complete()

    def list_conditions(self, workload: Workload) -> list[tuple[Arm, str]]:
        """List (arm, law): every client under uniform and Poisson arrivals, and an async one that is sent video."""
        n = len(self.cores)
        modes = [(mode, name) for mode in clients(n) for name in ("uniform", "Poisson")]
        modes += [(reference(n), name) for name in VIDEO]
        library = self.library(workload)
        arms = self.arms(workload)
        return [(Arm(workload, placement, mode, library), name) for placement in arms for mode, name in modes]

    def measure_workload(self, workload: Workload) -> None:
        """Measure what is missing of all rounds."""
        name, conditions = workload.name, self.list_conditions(workload)
        fresh = name not in self.described["workloads"]
        if fresh:
            self.described["workloads"][name] = self.choose_load(workload, conditions)
            self.write()
        described = self.described["workloads"][name]
        seconds = described["requests"] / described["rate"] + OVERHEAD
        rounds = [self.plan_round(name, conditions, number) for number in range(1, described["rounds"] + 1)]
        planned = [each for plan in rounds for each in plan]
        trials = [trial for each in planned if (trial := resume.completed_trial(*each[1:]))]
        existing = {trial.path for trial in trials}
        missing = len(planned) - len(existing)
        if missing and not fresh:
            self.show_unloaded_latency(workload)  # to warm up
        # Repetitions may take a quarter more than what is missing takes without any.
        self.retries.set_deadline(SPARE * seconds * missing)
        self.progress.start(len(planned), len(existing), seconds)
        for number, plan in enumerate(rounds, 1):
            for law, path, arm, schedule in plan:
                if path.with_suffix(".json") not in existing:
                    self.progress.show_trial(f"{name} round {number}/{len(rounds)}: {arm}, {law}")
                    inputs, cores = self.inputs[name], len(self.cores)
                    trials.append(self.retries.measure(arm, schedule, inputs, path, cores, number))
            self.progress.set_interim(summarise_interim(self.described, trials))
        self.progress.finish_line()

    def choose_load(self, workload: Workload, conditions: list[tuple[Arm, str]]) -> dict:
        """Choose the rate that all conditions share, and how many requests of it their trials hold.

        Returned as the workload's part of run.json; printed with the time that it takes.
        """
        options, name = self.options, workload.name
        means = self.show_unloaded_latency(workload)
        rate = options.rate or float(f"{UTILISATION / max(means.values()):.2g}")
        share = options.seconds * workload.share / sum(each.share for each in options.workloads.values())
        seconds = share / options.rounds / len(conditions) - OVERHEAD
        n = CAMERAS * max(FRAMES, int(seconds * rate / CAMERAS))
        total = options.rounds * len(conditions) * (n / rate + OVERHEAD)
        minutes = f"about {total / 60:.2g} min"
        if n == CAMERAS * FRAMES and total > share:
            minutes += f" instead of {share / 60:.2g} (--seconds): {CAMERAS} cameras send {FRAMES} frames at least"
            minutes += "; one of --arms, fewer --rounds or a higher --rate are shorter"
        rounds = f"{options.rounds} rounds of {len(conditions)} conditions with {n} requests each"
        print(f"{name}: {rate:g}/s, {rounds}; {minutes}", flush=True)
        return {
            **workload.describe(self.arms(workload)),
            "back_to_back_seconds": means,
            "rate": rate,
            "requests": n,
            "rounds": options.rounds,
            "library": next((arm.chosen for arm, _ in conditions if arm.chosen), ""),
            "payloads": [payload.name for payload in self.inputs[name]],
        }

    def plan_round(
        self, name: str, conditions: list[tuple[Arm, str]], number: int
    ) -> list[tuple[str, Path, Arm, Schedule]]:
        """Return every condition once, in an order drawn for this round: (law, path of its trial, arm, schedule)."""
        described, seed = self.described["workloads"][name], self.options.seed + number - 1
        plan = []
        for arm, law in random.Random(f"{name} {seed}").sample(conditions, len(conditions)):
            path = self.directory / name / f"{arm.slug}-{law.replace(' ', '-')}" / f"round-{number:02}"
            # The seed depends on the round alone, so every client gets the same arrivals of a law.
            schedule = exactly(LAWS[law], described["rate"], described["requests"], seed)
            plan.append((law, path, arm, schedule))
        return plan


def check(options: Namespace) -> None:
    """Check the options. Raises ValueError for a bad one."""
    check_server_options(options)
    check_run_options(options)
    check_rounds(options)
    if options.rate < 0 or not np.isfinite(options.rate):
        raise ValueError(f"--rate must be a positive number, not {options.rate:g}")
