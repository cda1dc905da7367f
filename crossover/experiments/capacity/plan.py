"""What there is time for: the percentile, the turns, and the loads of the bursts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from crossover.analysis.capacity_pairs import LEAST_TURNS, TURNS
from crossover.experiments.burst_shapes import bursts
from crossover.experiments.capacity.search import START, burst_requests, probe_requests

PERCENTILES = (99, 95, 90)  # the highest is taken with which there is time for all of LOADS
LOADS = (0.5, 0.7, 0.9)  # for the bursts; with the lowest percentile, too, as many as there is time for
FEWEST_TURNS = LEAST_TURNS + 1
TYPICAL = 0.75  # for the estimate: the capacity, in requests per back-to-back time
RUN_IN = 1.4  # likewise: the probes before the turns take as long as so many at the first rate
QUICKEST = 1e-3  # seconds of a request to a model that hardly computes
OVERHEAD = 0.3  # seconds of a trial, beside its requests and two that wait until the server is idle


@dataclass(frozen=True)
class Plan:
    """What is measured of each arm of a workload."""

    percentile: float
    """Of latency, that is held to the SLO."""
    turns: int
    loads: Sequence[float]
    """Shares of the capacity that bursts are offered at."""

    def estimate(self, service: float, slo: float) -> float:
        """Estimate the seconds that an arm takes: `service` is its unloaded latency in seconds, `slo` in ms."""
        overhead, first, typical = OVERHEAD + 2 * service, START / service, TYPICAL / service
        run_in = RUN_IN * probe_requests(first, slo, self.percentile) / first
        turn = probe_requests(typical, slo, self.percentile) / typical + overhead
        shapes = sum(burst_requests(self.percentile) / (typical * load) + overhead for load in self.loads)
        return run_in + self.turns * turn + len(bursts()) * shapes

    def describe_missing(self, whole: "Plan") -> str:
        """Say what this plan leaves out for want of time; empty if nothing.

        `whole` is the plan of the same percentile that leaves nothing out.
        """
        missing = []
        if len(self.loads) < len(whole.loads):
            shares = " and ".join(f"{load:g}" for load in self.loads)
            missing.append(f"bursts only at {shares} of the capacity" if shares else "no bursts")
        if self.turns < whole.turns:
            missing.append(f"{self.turns} turns instead of {whole.turns}")
        return " and ".join(missing)


def list_plans(percentile: float, loads: Sequence[float] | None) -> list[Plan]:
    """List plans from the most informative to the quickest. 0 and None stand for what the user leaves open."""
    percentiles = [percentile] if percentile else PERCENTILES
    last = percentiles[-1]
    if loads is not None:
        return [*(Plan(each, TURNS, loads) for each in percentiles), Plan(last, FEWEST_TURNS, loads)]
    fewer = [Plan(last, TURNS, LOADS[1:2]), Plan(last, TURNS, ()), Plan(last, FEWEST_TURNS, ())]
    return [*(Plan(each, TURNS, LOADS) for each in percentiles), *fewer]


def least_seconds(arms: Mapping[str, int], percentile: float, loads: Sequence[float] | None) -> float:
    """Return the seconds without which no search can be: those of the quickest plan, if requests took QUICKEST alone.

    `arms` is how many arms each workload has; 0 and None stand for what the user leaves open.
    """
    plan = list_plans(percentile, loads)[-1]
    return max(arms.values()) * len(arms) * 10 * ceil(plan.estimate(QUICKEST, 0) / 10)


def choose_plan(plans: Sequence[Plan], seconds: float, services: Sequence[float], slo: float) -> tuple[Plan, float]:
    """Return the first plan for which there is time, else the quickest, and the seconds that it is estimated to take.

    `services` are the unloaded latencies of the arms in seconds.
    """

    def estimate(plan: Plan) -> float:
        return plan.estimate(max(services), slo) * len(services)

    plan = next((each for each in plans if estimate(each) <= seconds), plans[-1])
    return plan, estimate(plan)
