"""Unloaded latency: how long a request takes that has the server to itself, and what follows for load and SLO."""

from collections.abc import Sequence

import numpy as np

from crossover.measurement.offer import offer, sequential
from loadgen.arm import Arm, Mode
from loadgen.samples.summary import milliseconds
from serving.server import Server
from workloads import payloads
from workloads.workload import Workload

UTILISATION = 0.5  # offered load as a share of what the slowest sequential client could do at the very most: above it
# queues multiply what the machine's noise does to a service time (of M/D/1: 1.7 times at 0.5, 2.8 at 0.7, 9 at 0.9)
SLO_FACTOR = 5  # times the slower placement's unloaded latency, if none is given
MOST = 1000  # requests


def measure_unloaded(server: Server, arm: Arm, sent: list[payloads.Payload], seconds: float = 0) -> np.ndarray:
    """Measure the seconds of each of many requests, one at a time, from a client's taking it up to its answer.

    Every payload is asked once to warm up and once to be measured; if `seconds` are given, all are asked again as often
    as takes about that long, and only those are returned. Raises Unavailable if a request is not answered.
    """
    alone, kinds = sequential(arm), len(sent)

    def ask(n: int) -> np.ndarray:
        return milliseconds(offer(server, alone, np.zeros(n), sent, strict=True), "began", "done") / 1e3

    ask(kinds)
    times = ask(kinds)
    if seconds:
        times = ask(int(np.clip(seconds / times.mean(), 2 * kinds, max(2 * kinds, MOST))) // kinds * kinds)
    return times


def measure_unloaded_latency(
    server: Server, workload: Workload, placements: Sequence[str], library: str, sent: list[payloads.Payload]
) -> dict[str, float]:
    """Measure the mean unloaded latency of each of these placements (s). Raises Unavailable without an answer."""
    arms = [Arm(workload, placement, Mode("sequential"), library) for placement in placements]
    return {arm.placement: float(measure_unloaded(server, arm, sent).mean()) for arm in arms}


def derive_rate(means: dict[str, float]) -> float:
    """Derive a rate that every arm can carry, per second, from the mean unloaded latency of each placement (s)."""
    return float(f"{UTILISATION / max(means.values()):.2g}")


def derive_slo(means: dict[str, float]) -> float:
    """Derive the SLO in ms, the same for both placements, from the mean unloaded latency of each (s)."""
    return float(f"{SLO_FACTOR * max(means.values()) * 1e3:.2g}")
