"""Which share of the arrivals should the client prepare? What `mixed:best` stands for: three shares about the balance.

At the balance both sides spend the same part of their cores, so that neither is exhausted before the other; behind a
link that would be full before them, the share is the nearest one at which it is not. The balance follows from what a
request costs either side and the link, one at a time; what that does not tell (waiting, batches, shared cores) is left
to the search, in which every share is an arm like others, with its rate and interval.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crossover.measurement.network_link import DATA_SHARE
from crossover.measurement.offer import offer, sequential
from loadgen.arm import Arm, Mode
from serving.server import Server
from workloads.optional import BEST, EVEN, MIXED, change_share
from workloads.payloads import Payload
from workloads.workload import Workload

STEP, GRAIN = 0.25, 0.05
"""Between the shares that are tried, and to which the balance is rounded; it is also the lowest share there is."""
REQUESTS = 24  # at least, of each half
HALVES = ("client-half", "server-half")


@dataclass(frozen=True)
class Cost:
    """Seconds that one request costs: of CPU on either side, and of a link, in the direction that carries more."""

    client: float
    server: float
    link: float = 0.0


def list_shares(balance: float) -> list[float]:
    """Return the shares that are tried, in order: the balance, and those a STEP below and above, all of them inside."""
    found = {round(min(max(balance + step, GRAIN), 1 - GRAIN), 2) for step in (-STEP, 0, STEP)}
    return sorted(found)


def find_balance(prepared: Cost, file: Cost, client_cores: int, server_cores: int) -> float:
    """Return the share at which the busiest of client, server and link is least busy, from GRAIN in steps of it.

    `prepared` is what an arrival costs that the client prepares, `file` one that it sends as a file. Where it makes no
    difference, this is the lowest share.
    """

    def find_busiest(share: float) -> float:
        """Return the seconds per arrival of the side that is exhausted first."""
        both = ((prepared, share), (file, 1 - share))
        client = sum(part * each.client for each, part in both) / client_cores
        server = sum(part * each.server for each, part in both) / server_cores
        link = sum(part * each.link for each, part in both)
        return round(max(client, server, link), 9)  # shares that differ by rounding alone are as good

    shares = [round(n * GRAIN, 2) for n in range(1, round(1 / GRAIN))]
    return min(shares, key=find_busiest)


def measure_balance(
    server: Server, workload: Workload, arm: str, library: str, sent: list[Payload], cores: int, mbit: float
) -> float:
    """Measure the balance of a mixed placement, for a client with so many cores; EVEN where the server's are not known.

    `mbit` is the rate of the link between client and server in Mbit/s; infinite without one. Raises Unavailable if a
    request is not answered.
    """
    mixed = workload.placements[arm]
    assert mixed.split, "only a placement that splits its arrivals has a balance"
    if not server.cores or server.cpu_seconds() is None:
        return EVEN
    both = (mixed.split.client, mixed.split.server)
    halves = {name: replace(each, transport=mixed.transport) for name, each in zip(HALVES, both, strict=True)}
    whole = replace(workload, placements={**workload.placements, **dict(zip(HALVES, halves.values(), strict=True))})
    costs = [measure_cost(server, Arm(whole, name, Mode("sequential"), library), sent, mbit) for name in HALVES]
    if any(each is None for each in costs):
        return EVEN
    prepared, file = (each for each in costs if each)
    return find_balance(prepared, file, cores, len(server.cores))


def measure_cost(server: Server, arm: Arm, sent: list[Payload], mbit: float) -> Cost | None:
    """Measure what a request costs, one at a time, over a link of that rate; None if the server's CPU is unknown."""
    count = len(sent) * -(-REQUESTS // len(sent))
    offer(server, sequential(arm), np.zeros(len(sent)), sent, strict=True)  # to warm up
    server_before, client_before = server.cpu_seconds(), time.process_time()
    records = offer(server, sequential(arm), np.zeros(count), sent, strict=True)
    client, after = time.process_time() - client_before, server.cpu_seconds()
    if server_before is None or after is None:
        return None
    size = max(records["bytes_up"].mean(), records["bytes_down"].mean())
    return Cost(client / count, (after - server_before) / count, size * 8 / (mbit * 1e6 * DATA_SHARE))


def add_shares(workload: Workload, arm: str, shares: Sequence[float]) -> tuple[Workload, list[str]]:
    """Return the workload with a placement for each share in place of mixed:best, and what these are called."""
    mixed, tail = workload.placements[arm], arm.removeprefix(BEST)
    made = {f"{MIXED}:{share:g}{tail}": change_share(mixed, share) for share in shares}
    others = {name: each for name, each in workload.placements.items() if name != arm}
    return replace(workload, placements={**others, **made}), list(made)
