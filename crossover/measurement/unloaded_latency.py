"""Unloaded latency, of one request at a time; from it follow a load to offer and a latency objective."""

from collections.abc import Mapping, Sequence

import numpy as np

from loadgen.arm import PLACEMENTS, Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import Sample, tabulate
from loadgen.samples.summary import summarise
from serving.server import Server, Unavailable
from workloads import payloads
from workloads.workload import Workload

UTILISATION = 0.5
"""Offered load as a share of the rate at which the slower placement would be busy all the time.

Above it, queues multiply the machine's own noise: an M/D/1 queue waits 1.7 times as long at 0.5, 2.8 at 0.7, 9 at 0.9.
"""
SLO_FACTOR = 5
"""The latency objective as a multiple of the slower placement's unloaded latency."""


def measure_unloaded_latency(
    server: Server, workload: Workload, library: str, inputs: Sequence[payloads.Payload]
) -> dict[str, float]:
    """Return placement -> mean seconds per request of a sequential client that never pauses.

    Every input is sent once to warm up and once to be measured. `library` is the client's preprocessing library.
    Raises Unavailable if a measured request fails.
    """
    means = {}
    order = payloads.order(len(inputs), len(inputs), seed=1)
    for placement in PLACEMENTS:
        arm = Arm(workload, placement, Mode("sequential"), library)
        # The samples of the second pass replace those of the first.
        for _ in ("warm-up", "measured"):
            samples: list[Sample] = []
            OpenLoop(arm, server.url, samples.append).run(Plan(np.zeros(len(inputs)), order, inputs))
        records, reasons = tabulate(samples)
        result = summarise(records, 1, reasons)
        if result["errors"]:
            raise Unavailable(f"{arm}: {result['errors']} of {len(inputs)} requests failed: {result['reasons']}")
        means[placement] = result["service"]["mean"] / 1e3
    return means


def derive_rate(means: Mapping[str, float]) -> float:
    """Return a rate that every arm can carry, in requests/s with two digits, from mean seconds by placement."""
    return float(f"{UTILISATION / max(means.values()):.2g}")


def derive_slo(means: Mapping[str, float]) -> float:
    """Return the latency objective of both placements, in ms with two digits, from mean seconds by placement."""
    return float(f"{SLO_FACTOR * max(means.values()) * 1e3:.2g}")
