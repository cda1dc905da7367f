"""How many requests per second a server answers that always has several: a capacity without any limit of latency.

For an arm's capacity within an SLO there is an experiment, `crossover.experiments.capacity`.
"""

from dataclasses import replace

import numpy as np

from crossover.measurement.offer import offer
from loadgen.arm import Arm, Mode
from loadgen.samples.sample import COMPLETED, STATUSES
from serving.server import Server
from workloads import payloads

IN_FLIGHT = 4
MOST = 2000  # requests


def measure_saturation(
    server: Server, arm: Arm, sent: list[payloads.Payload], unloaded: float, seconds: float = 8.0
) -> float:
    """Measure the answers per second while IN_FLIGHT requests are always in flight.

    `unloaded` is what a request takes alone, in seconds: as many are sent as one after the other would take `seconds`.
    Raises Unavailable if not one is answered.
    """
    n = int(np.clip(seconds / unloaded, 2 * len(sent), max(2 * len(sent), MOST)))
    records = offer(server, replace(arm, mode=Mode("threads", IN_FLIGHT)), np.zeros(n), sent)
    return int((records["status"] == STATUSES.index(COMPLETED)).sum()) / (records["done"].max() / 1e9)
