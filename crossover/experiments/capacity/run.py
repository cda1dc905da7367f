"""How much can an arm carry, and how does it take bursts?

    python -m loadgen.capacity image audio --slo 100 --percentile 99

The capacity is the highest Poisson rate at which the percentile of latency is at most the SLO, by MLPerf's rule: so few
of a probe's requests are over it that the percentile is not, with 99 % confidence. It is sought by doubling, then by
bisection; then the arm is offered shares of it, from evenly spaced to very bursty. Everything lies in
reports/<time>-capacity/: report.html, capacity.json, and each probe as a trial.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from common import atomic_write
from crossover.experiments.burst_shapes import bursts
from crossover.experiments.capacity.probe import Prober, list_curve, summarise
from crossover.experiments.capacity.result import KIND
from crossover.experiments.capacity.search import burst_requests, probe_requests, search
from crossover.experiments.experiment import ServerExperiment, run_command
from crossover.experiments.options import add_run_options, add_server_options, check_run_options, check_server_options
from crossover.measurement.unloaded_latency import SLO_FACTOR, derive_slo
from loadgen.arm import Arm, Mode
from workloads.workload import Workload

PERCENTILES = (99, 95, 90)  # the highest is taken with which there is time for all of LOADS
LOADS = (0.5, 0.7, 0.9)  # for the bursts; with the lowest percentile, too, as many as there is time for
START = 0.3  # the first probe's rate, in requests per back-to-back time
PROBES, TYPICAL = 12, 0.65  # for the estimate: a search is as long as 12 probes at 1 request per back-to-back time


class Capacity(ServerExperiment):
    """Searches for the capacity of every arm, then offers it bursts.

    Interrupted, it repeats its search from the trials that are there: the same outcomes lead to the same probes.
    """

    kind = KIND
    identity = ("workloads", "seconds", "library", "slo", "percentile", "arms", "loads")

    def __init__(self, options):
        super().__init__(options)
        self.result: dict[str, dict] = {}

    def measure(self) -> None:
        """Search the capacity of every arm of each workload, and offer it bursts."""
        self.begin()
        end, names = time.monotonic() + self.options.seconds, self.options.workloads
        for done, workload in enumerate(names.values()):
            self.measure_workload(workload, (end - time.monotonic()) / (len(names) - done))
        self.complete()

    def write(self) -> None:
        """Write run.json, and the result so far: which probe comes next depends on what the one before came to."""
        super().write()
        atomic_write.write_json(self.directory / KIND.file, self.result)

    def measure_workload(self, workload: Workload, budget: float) -> None:
        """Find the capacity of each arm, then offer it bursts; about `budget` seconds."""
        name = workload.name
        if name in self.described["workloads"]:
            self.show_unloaded_latency(workload)  # to warm up
        else:
            self.described["workloads"][name] = self.choose_limits(workload, budget)
            self.write()
        described = self.described["workloads"][name]
        slowest = max(described["back_to_back_seconds"].values())
        about = {key: described[key] for key in ("subject", "placements")}
        result = self.result[name] = {**about, "capacity": [], "curve": [], "burstiness": []}
        for placement in self.arms(workload):
            arm = Arm(workload, placement, Mode("async", len(self.cores)), self.library(workload))
            limits = described["slo_ms"], described["percentile"]
            inputs, seed = self.inputs[name], self.options.seed
            prober = Prober(self.retries, arm, inputs, self.directory, len(self.cores), *limits, seed)
            # What an interruption leaves of the search is part of the result, too.
            try:
                search(prober.probe, float(f"{START / slowest:.2g}"))
            finally:
                if prober.outcomes:
                    result["capacity"].append(summarise(prober))
                    result["curve"] += list_curve(prober)
                self.write()
            rate = result["capacity"][-1]["rate"]
            for load in described["loads"] if rate else ():
                result["burstiness"] += prober.measure_bursts(rate, load)
                self.write()

    def choose_limits(self, workload: Workload, budget: float) -> dict:
        """Choose the SLO, and the percentile and the loads of the bursts for which `budget` seconds are enough.

        Returned as the workload's part of run.json; printed with the time that it takes.
        """
        options, means = self.options, self.show_unloaded_latency(workload)
        slo = options.slo or derive_slo(means)

        def predict(plan: tuple[float, Sequence[float]]) -> float:
            return estimate(max(means.values()), slo, *plan) * len(self.arms(workload))

        # The first plan for which there is time; the quickest if there is time for none.
        possible = list_plans(options.percentile, options.loads)
        percentile, loads = plan = next((each for each in possible if predict(each) <= budget), possible[-1])
        rule = "--slo" if options.slo else f"{SLO_FACTOR} times the slower placement's unloaded latency"
        minutes = f"about {predict(plan) / 60:.2g} min"
        if predict(plan) > budget:
            minutes += ", more than --seconds; one workload, one of --arms or a lower --slo are shorter"
        elif len(loads) < len(possible[0][1]):
            shown = f"only at {loads[0]:g} of the capacity" if loads else "not shown"
            minutes += f"; bursts {shown}, for want of time: all take {predict((percentile, LOADS)) / 60:.2g} min"
        print(f"{workload.name}: p{percentile:g} at most {slo:g} ms ({rule}); {minutes}", flush=True)
        arms = [Arm(workload, each, Mode("async"), self.library(workload)) for each in self.arms(workload)]
        return {
            **workload.describe(self.arms(workload)),
            "back_to_back_seconds": means,
            "slo_ms": slo,
            "percentile": percentile,
            "loads": list(loads),
            "library": next((arm.chosen for arm in arms if arm.chosen), ""),
            "payloads": [payload.name for payload in self.inputs[workload.name]],
        }


def list_plans(percentile: float, loads: Sequence[float] | None) -> list[tuple[float, Sequence[float]]]:
    """List (percentile, loads of the burstiness table), from the most informative to the quickest.

    0 and None stand for what the user leaves open.
    """
    percentiles = [percentile] if percentile else PERCENTILES
    if loads is not None:
        return [(each, loads) for each in percentiles]
    return [*((each, LOADS) for each in percentiles), *((percentiles[-1], some) for some in (LOADS[1:2], ()))]


def estimate(service: float, slo: float, percentile: float, loads: Sequence[float]) -> float:
    """Estimate the seconds that an arm takes: its search, and its burstiness table.

    `service` is its unloaded latency in seconds, `slo` in ms.
    """
    typical = TYPICAL / service
    seconds = PROBES * TYPICAL * probe_requests(typical, slo, percentile) / typical
    return seconds + sum(len(bursts()) * burst_requests(percentile) / (typical * load) for load in loads)


def parse_loads(text: str | None) -> list[float] | None:
    """Parse --loads, shares of the capacity with commas; None if it is left out. Raises ValueError."""
    if text is None:
        return None
    loads = [float(each) for each in text.split(",") if each]
    if not all(0 < load <= 1 for load in loads):
        raise ValueError(f"--loads are shares of the capacity, above 0 and at most 1, not {text!r}")
    return loads


def check(options: argparse.Namespace) -> None:
    """Check the options. Raises ValueError for a bad one."""
    options.loads = parse_loads(options.loads)
    if options.slo < 0 or not np.isfinite(options.slo):
        raise ValueError(f"--slo must be a positive number of ms, or 0 for its default, not {options.slo:g}")
    if options.percentile and not 50 <= options.percentile <= 99.9:
        raise ValueError(f"--percentile must lie between 50 and 99.9, not {options.percentile:g}")
    check_server_options(options)
    check_run_options(options)


def main() -> int:
    """Run `python -m loadgen.capacity`. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.capacity", description=__doc__.partition("\n")[0])
    add_run_options(parser, 1800, "for everything; decides about percentile and loads")
    parser.add_argument("--slo", type=float, default=0, help=f"ms; default: {SLO_FACTOR} unloaded latencies")
    parser.add_argument("--percentile", type=float, default=0, help="held to the SLO; default: 99, 95 or 90")
    parser.add_argument("--loads", help="shares of the capacity for the bursts; default: 0.5,0.7,0.9 or fewer")
    add_server_options(parser)
    return run_command(parser, check, Capacity)
