"""How much can an arm carry, and how does it take bursts?

    python -m loadgen.capacity image audio --slo 100 --percentile 99

The capacity is the highest Poisson rate at which the percentile of latency is at most the SLO, by MLPerf's rule: so few
of a probe's requests are over it that the percentile is not, with 99 % confidence. It is sought by doubling, then by
bisection; then the arm is offered shares of it, from evenly spaced to very bursty. Everything lies in
reports/<time>-capacity/: report.html, capacity.json, and each probe as a block.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from crossover.experiments.burst_shapes import burst, bursts
from crossover.experiments.capacity.probe import Probing, capacity, curve
from crossover.experiments.capacity.search import requests, search
from crossover.experiments.experiment import Experiment, checked, conducted, flags
from crossover.measurement import resume
from crossover.measurement.unloaded_latency import SLO_FACTOR, derive_slo
from loadgen.arm import PLACEMENTS, Arm, Mode
from workloads.workload import IMAGE, WORKLOADS, Workload

PERCENTILES = (99, 95, 90)  # the highest is taken with which there is time for all of LOADS
LOADS = (0.5, 0.7, 0.9)  # for the bursts; with the lowest percentile, too, as many as there is time for
START = 0.3  # the first probe's rate, in requests per back-to-back time
PROBES, TYPICAL = 12, 0.65  # for the estimate: a search is as long as 12 probes at 1 request per back-to-back time


class Capacity(Experiment):
    own = ("slo", "percentile", "arms", "loads")

    def __init__(self, options):
        super().__init__(options, "capacity")
        self.result: dict[str, dict] = {}

    def run(self) -> None:
        self.begin()
        end, names = time.monotonic() + self.options.seconds, self.options.workloads
        for done, name in enumerate(names):
            self.workload(WORKLOADS[name], (end - time.monotonic()) / (len(names) - done))
        self.described["complete"] = True
        self.write(self.result)

    def workload(self, workload: Workload, budget: float) -> None:
        name = workload.name
        if name in self.described["workloads"]:
            self.back_to_back(workload)  # to warm up
        else:
            self.described["workloads"][name] = self.limits(workload, budget)
            self.write(self.result)
        described = self.described["workloads"][name]
        slo, percentile, service = described["slo_ms"], described["percentile"], described["back_to_back_seconds"]
        found = self.result[name] = {"capacity": [], "curve": [], "burstiness": []}
        for placement in self.options.arms:
            arm = Arm(workload, placement, Mode("async", len(self.cores)), self.library(workload))
            probing = Probing(
                self.attempts, arm, self.sent[name], self.directory, len(self.cores), slo, percentile, self.options.seed
            )
            try:
                search(probing.probe, float(f"{START / max(service.values()):.2g}"))
            finally:
                if probing.outcomes:
                    found["capacity"].append(capacity(probing))
                    found["curve"] += curve(probing)
                self.write(self.result)
            most = found["capacity"][-1]["rate"]
            for load in described["loads"] if most else ():
                found["burstiness"] += probing.bursts(most, load)
                self.write(self.result)

    def limits(self, workload: Workload, budget: float) -> dict:
        """The SLO, and the percentile and the loads of the bursts that there is time for, in seconds."""
        options, means = self.options, self.back_to_back(workload)
        slo = options.slo or derive_slo(means)

        def about(plan: tuple[float, Sequence[float]]) -> float:
            return estimate(max(means.values()), slo, *plan) * len(options.arms)

        possible = plans(options.percentile, options.loads)
        percentile, loads = plan = next((each for each in possible if about(each) <= budget), possible[-1])
        rule = "as given" if options.slo else f"{SLO_FACTOR} times the slower placement's time"
        minutes = f"about {about(plan) / 60:.2g} min"
        if about(plan) > budget:
            minutes += ", more than --seconds; one workload, one of --arms or a lower --slo are shorter"
        elif len(loads) < len(possible[0][1]):
            shown = f"only at {loads[0]:g} of the capacity" if loads else "not shown"
            minutes += f"; bursts {shown}, for want of time: all take {about((percentile, LOADS)) / 60:.2g} min"
        print(f"{workload.name}: p{percentile:g} at most {slo:g} ms ({rule}); {minutes}", flush=True)
        return {
            "back_to_back_seconds": means,
            "slo_ms": slo,
            "percentile": percentile,
            "loads": list(loads),
            "library": Arm(workload, "client", Mode("async"), self.library(workload)).chosen,
            "payloads": [payload.name for payload in self.sent[workload.name]],
        }


def plans(percentile: float, loads: Sequence[float] | None) -> list[tuple[float, Sequence[float]]]:
    """(percentile, loads of the burstiness table), from the most telling to the quickest, of what was not given."""
    percentiles = [percentile] if percentile else PERCENTILES
    if loads is not None:
        return [(each, loads) for each in percentiles]
    return [*((each, LOADS) for each in percentiles), *((percentiles[-1], some) for some in (LOADS[1:2], ()))]


def estimate(service: float, slo: float, percentile: float, loads: Sequence[float]) -> float:
    """Seconds for an arm: its search, and its burstiness table."""
    typical = TYPICAL / service
    seconds = PROBES * TYPICAL * requests(typical, slo, percentile) / typical
    return seconds + sum(len(bursts()) * burst(percentile) / (typical * load) for load in loads)


def shares(given: str | None) -> list[float] | None:
    if given is None:
        return None
    loads = [float(each) for each in given.split(",") if each]
    if not all(0 < load <= 1 for load in loads):
        raise ValueError(f"--loads are shares of the capacity, above 0 and at most 1, not {given!r}")
    return loads


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.capacity", description=__doc__.partition("\n")[0])
    flags(parser, 1800, "for everything; decides about percentile and loads (default: %(default)s)")
    parser.add_argument(
        "--slo", type=float, default=0, help=f"ms; default: {SLO_FACTOR} times what one request takes alone"
    )
    parser.add_argument("--percentile", type=float, default=0, help="held to the SLO; default: 99, 95 or 90")
    parser.add_argument("--arms", default=",".join(PLACEMENTS), help="placements, with commas (default: %(default)s)")
    parser.add_argument("--loads", help="shares of the capacity for the bursts; default: 0.5,0.7,0.9 or fewer")
    resume.flag(parser)
    options = parser.parse_args()
    try:
        options.arms = list(dict.fromkeys(options.arms.split(",")))
        for placement in options.arms:
            Arm(IMAGE, placement, Mode("sequential"))
        options.loads = shares(options.loads)
        if options.slo < 0 or not np.isfinite(options.slo):
            raise ValueError(f"--slo must be a positive number of ms, not {options.slo:g}")
        if options.percentile and not 50 <= options.percentile <= 99.9:
            raise ValueError(f"--percentile must lie between 50 and 99.9, not {options.percentile:g}")
        checked(options)
        experiment = Capacity(options)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    return conducted(experiment)
