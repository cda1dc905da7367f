"""The experiment of the original project: does it matter how the client works, and how the requests arrive?

    python -m loadgen.study image audio --seconds 1800

Naive sequential, threaded and asynchronous clients, with 1, 2, 4, ... workers, are offered uniform and Poisson arrivals
of the same mean rate; and, the video question, the same rate as 16 cameras of random phase and as 16 synchronised ones.
In rounds: each holds every condition once, in an order drawn anew, and every client gets the same arrivals. Everything
lies in reports/<time>-study/: report.html, study.json, study.png, and the blocks they are made from.
"""

import argparse
import random
from pathlib import Path

import numpy as np

from crossover.experiments.burst_shapes import CAMERAS
from crossover.experiments.client_modes import result as client_modes_result
from crossover.experiments.client_modes.conditions import LAWS, VIDEO, clients, reference
from crossover.experiments.experiment import Experiment, checked, conducted, exactly, flags
from crossover.measurement import resume
from crossover.measurement.retry import SPARE
from loadgen.arm import PLACEMENTS, Arm
from loadgen.arrivals.schedule import Schedule
from workloads.workload import WORKLOADS, Workload

UTILISATION = 0.7  # of what the slower sequential placement could do at the very most
# A comparison offers less, to keep queues out of what it measures. Here they are what is measured, as clients and
# arrivals differ only in waiting.
SHARE = {"image": 0.4, "audio": 0.6}  # of the time
FRAMES = 2  # of each camera in a block, at least: one frame each of random phase would be Poisson arrivals
OVERHEAD = 1.0  # seconds a block takes beyond its schedule


class Study(Experiment):
    own = ("rounds", "rate")

    def __init__(self, options):
        super().__init__(options, "study")

    def run(self) -> None:
        self.begin()
        for name in self.options.workloads:
            self.workload(WORKLOADS[name])
        self.described["complete"] = True
        self.write({})

    def conditions(self, workload: Workload) -> list[tuple[Arm, str]]:
        """Every client under uniform and Poisson arrivals, and an asynchronous one that is sent video."""
        n = len(self.cores)
        modes = [(mode, name) for mode in clients(n) for name in ("uniform", "Poisson")]
        modes += [(reference(n), name) for name in VIDEO]
        library = self.library(workload)
        return [(Arm(workload, placement, mode, library), name) for placement in PLACEMENTS for mode, name in modes]

    def workload(self, workload: Workload) -> None:
        name, conditions = workload.name, self.conditions(workload)
        fresh = name not in self.described["workloads"]
        if fresh:
            self.described["workloads"][name] = self.load(workload, conditions)
            self.write({})
        described = self.described["workloads"][name]
        takes = described["requests"] / described["rate"] + OVERHEAD
        rounds = [self.round(name, conditions, turn) for turn in range(1, described["rounds"] + 1)]
        own = [found for each in rounds for planned in each if (found := resume.whole(*planned[1:]))]
        there, blocks = {block.path for block in own}, sum(map(len, rounds))
        if len(there) < blocks and not fresh:
            self.back_to_back(workload)  # to warm up
        self.attempts.until(SPARE * takes * (blocks - len(there)))
        self.progress.start(blocks, len(there), takes)
        for turn, each in enumerate(rounds, 1):
            for arrivals, path, arm, schedule in each:
                if path.with_suffix(".json") not in there:
                    self.progress.show_trial(f"{name} round {turn}/{len(rounds)}: {arm}, {arrivals}")
                    own.append(self.attempts.block(arm, schedule, self.sent[name], path, len(self.cores), turn))
            self.progress.set_interim(client_modes_result.running(self.described, own))
        self.progress.finish_line()

    def load(self, workload: Workload, conditions: list[tuple[Arm, str]]) -> dict:
        """The rate that all conditions share, and how many requests of it their blocks hold."""
        options, name = self.options, workload.name
        means = self.back_to_back(workload)
        rate = options.rate or float(f"{UTILISATION / max(means.values()):.2g}")
        share = options.seconds * SHARE[name] / sum(SHARE[each] for each in options.workloads)
        seconds = share / options.rounds / len(conditions) - OVERHEAD
        n = CAMERAS * max(FRAMES, int(seconds * rate / CAMERAS))
        about = options.rounds * len(conditions) * (n / rate + OVERHEAD)
        minutes = f"about {about / 60:.2g} min"
        if n == CAMERAS * FRAMES and about > share:
            minutes += f", more than its part of --seconds: {CAMERAS} cameras send {FRAMES} frames at least"
        rounds = f"{options.rounds} rounds of {len(conditions)} conditions with {n} requests each"
        print(f"{name}: {rate:g}/s, {rounds}; {minutes}", flush=True)
        return {
            "back_to_back_seconds": means,
            "rate": rate,
            "requests": n,
            "rounds": options.rounds,
            "library": conditions[0][0].chosen,
            "payloads": [payload.name for payload in self.sent[name]],
        }

    def round(self, name: str, conditions: list[tuple[Arm, str]], turn: int) -> list[tuple[str, Path, Arm, Schedule]]:
        """Every condition once, in an order drawn for this round: (arrivals, where its block goes, arm, schedule)."""
        described, seed = self.described["workloads"][name], self.options.seed + turn - 1
        found = []
        for arm, arrivals in random.Random(f"{name} {seed}").sample(conditions, len(conditions)):
            path = self.directory / name / f"{arm.slug}-{arrivals.replace(' ', '-')}" / f"round-{turn:02}"
            schedule = exactly(LAWS[arrivals], described["rate"], described["requests"], seed)
            found.append((arrivals, path, arm, schedule))
        return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.study", description=__doc__.partition("\n")[0])
    flags(parser, 1800, "of measurement, altogether (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="at least 6 for intervals (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0, help="requests per second; default: found by measurement")
    resume.flag(parser)
    options = parser.parse_args()
    try:
        checked(options)
        if options.rounds < 1:
            raise ValueError(f"--rounds must be at least 1, not {options.rounds}")
        if options.rate < 0 or not np.isfinite(options.rate):
            raise ValueError(f"--rate must be a positive number, not {options.rate:g}")
        experiment = Study(options)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    return conducted(experiment)
