"""The experiment of the original project: does it matter how the client works, and how the requests arrive?

    python -m loadgen.study image audio --seconds 1800

Naive sequential, threaded and asynchronous clients, with 1, 2, 4, ... workers, are offered uniform and Poisson arrivals
of the same mean rate; and, the video question, the same rate as 16 cameras of random phase and as 16 synchronised ones.
In rounds: each holds every condition once, in an order drawn anew, and every client gets the same arrivals. Everything
lies in reports/<time>-study/: report.html, study.json, study.png, and the blocks they are made from.
"""

import argparse
import random
import sys

import numpy as np

from loadgen import contrasts
from loadgen.arms import PLACEMENTS, Arm
from loadgen.bursts import CAMERAS
from loadgen.conditions import LAWS, VIDEO, clients, reference
from loadgen.experiment import Experiment, checked, conducted, exactly, flags
from loadgen.measure import measure
from loadgen.progress import Progress, quietly
from loadgen.workloads import WORKLOADS, Workload

UTILISATION = 0.7  # of what the slower sequential placement could do at the very most; loadgen.alone offers less, to
# keep queues out of what it measures: here they are what is measured, as clients and arrivals differ only in waiting
SHARE = {"image": 0.4, "audio": 0.6}  # of the time
FRAMES = 2  # of each camera in a block, at least: one frame each of random phase would be Poisson arrivals
OVERHEAD = 1.0  # seconds a block takes beyond its schedule


class Study(Experiment):
    def __init__(self, options):
        super().__init__(options, "study")
        self.progress = Progress()

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
        options, name = self.options, workload.name
        means = self.back_to_back(workload)
        rate = options.rate or float(f"{UTILISATION / max(means.values()):.2g}")
        conditions = self.conditions(workload)
        share = options.seconds * SHARE[name] / sum(SHARE[each] for each in options.workloads)
        seconds = share / options.rounds / len(conditions) - OVERHEAD
        n = CAMERAS * max(FRAMES, int(seconds * rate / CAMERAS))
        about = options.rounds * len(conditions) * (n / rate + OVERHEAD)
        minutes = f"about {about / 60:.2g} min"
        if n == CAMERAS * FRAMES and about > share:
            minutes += f", more than its part of --seconds: {CAMERAS} cameras send {FRAMES} frames at least"
        rounds = f"{options.rounds} rounds of {len(conditions)} conditions with {n} requests each"
        print(f"{name}: {rate:g}/s, {rounds}; {minutes}", flush=True)
        self.described["workloads"][name] = {
            "back_to_back_seconds": means,
            "rate": rate,
            "requests": n,
            "rounds": options.rounds,
            "library": conditions[0][0].chosen,
            "payloads": [payload.name for payload in self.sent[name]],
        }
        self.write({})
        self.progress.begin(options.rounds * len(conditions), 0, n / rate + OVERHEAD)
        own = []
        for turn in range(1, options.rounds + 1):
            seed = options.seed + turn - 1
            for arm, arrivals in random.Random(f"{name} {seed}").sample(conditions, len(conditions)):
                self.progress.now(f"{name} round {turn}/{options.rounds}: {arm}, {arrivals}")
                path = self.directory / name / f"{arm.slug}-{arrivals.replace(' ', '-')}" / f"round-{turn:02}"
                schedule = exactly(LAWS[arrivals], rate, n, seed)
                own.append(measure(self.server, arm, schedule, self.sent[name], path, len(self.cores), turn))
            self.progress.tell(contrasts.running(self.described, own))
        self.progress.end()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.study", description=__doc__.partition("\n")[0])
    flags(parser, 1800, "of measurement, altogether (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="at least 6 for intervals (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0, help="requests per second; default: found by measurement")
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


if __name__ == "__main__":
    sys.exit(quietly(main))
