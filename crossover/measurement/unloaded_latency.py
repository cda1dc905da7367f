"""One request at a time: how long it takes, what follows: a load, and a limit that answers should keep."""

import numpy as np

from loadgen.arm import PLACEMENTS, Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import Sample, tabulate
from loadgen.samples.summary import summarise
from serving.server import Server, Unavailable
from workloads import payloads
from workloads.workload import Workload

UTILISATION = 0.5  # offered load as a share of what the slowest sequential client could do at the very most: above it
# queues multiply what the machine's noise does to a service time (of M/D/1: 1.7 times at 0.5, 2.8 at 0.7, 9 at 0.9)
SLO = 5  # times the slower placement's back-to-back time, if none is given


def back_to_back(server: Server, workload: Workload, library: str, sent: list[payloads.Payload]) -> dict[str, float]:
    """Mean seconds per request of a sequential client that never pauses, per placement; once through to warm up."""
    means = {}
    order = payloads.order(len(sent), len(sent), seed=1)
    for placement in PLACEMENTS:
        arm = Arm(workload, placement, Mode("sequential"), library)
        for _ in ("warm-up", "measured"):
            samples: list[Sample] = []
            OpenLoop(arm, server.url, samples.append).run(Plan(np.zeros(len(sent)), order, sent))
        records, reasons = tabulate(samples)
        found = summarise(records, 1, reasons)
        if found["errors"]:
            raise Unavailable(f"{arm}: {found['errors']} of {len(sent)} requests failed: {found['reasons']}")
        means[placement] = found["service"]["mean"] / 1e3
    return means


def rate(means: dict[str, float]) -> float:
    """Requests per second that every arm can carry."""
    return float(f"{UTILISATION / max(means.values()):.2g}")


def objective(means: dict[str, float]) -> float:
    """ms, the same for both placements."""
    return float(f"{SLO * max(means.values()) * 1e3:.2g}")
