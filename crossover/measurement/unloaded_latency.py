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
FEW = 12  # payloads; of more, one that stalls hardly moves the mean
PASSES = 3  # over few payloads


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
    """Measure the mean unloaded latency of each of these placements (s). Raises Unavailable without an answer.

    Each payload is asked once to warm up, and then PASSES times if there are FEW or fewer, else once.
    """
    arms = [Arm(workload, placement, Mode("sequential"), library) for placement in placements]
    means, passes = {}, PASSES if len(sent) <= FEW else 1
    for arm in arms:
        offer(server, arm, np.zeros(len(sent)), sent, strict=True)
        records = offer(server, arm, np.zeros(passes * len(sent)), sent, strict=True)
        means[arm.placement] = mean_of_medians(milliseconds(records, "began", "done") / 1e3, records["payload"])
    return means


def mean_of_medians(times: np.ndarray, numbers: np.ndarray) -> float:
    """Return the mean over payloads of their median times.

    `times` and the payloads' `numbers` have one entry per request. One request that stalled, by 70 ms where others take
    8, made the mean of a few ten times too long, and with it the SLO and the length of the probes of `capacity`.
    """
    return float(np.mean([np.median(times[numbers == number]) for number in np.unique(numbers)]))


def derive_rate(means: dict[str, float]) -> float:
    """Derive a rate that every arm can carry, per second, from the mean unloaded latency of each placement (s)."""
    return float(f"{UTILISATION / max(means.values()):.2g}")


def derive_slo(means: dict[str, float]) -> float:
    """Derive the SLO in ms, the same for both placements, from the mean unloaded latency of each (s)."""
    return float(f"{SLO_FACTOR * max(means.values()) * 1e3:.2g}")
