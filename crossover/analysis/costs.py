"""What a request costs at each placement, in money, from CPU seconds and bytes at stated prices."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from crossover.analysis.estimate import Estimate
from crossover.analysis.jackknife import jackknife

NAMES = ("cpu", "client", "server", "gb")
MOST = 1_000_000
"""The highest price: beyond it there is a typing error, and at 1e308 there are no sums any more."""


@dataclass(frozen=True)
class Prices:
    """In one currency. The defaults are about what rented cores and outgoing traffic cost in 2024, in US dollars."""

    client: float = 0.04
    """Of a core of the client's for an hour: 0 where clients are other people's devices."""
    server: float = 0.04
    """Of a core of the server's for an hour."""
    gb: float = 0.05
    """Of 10^9 bytes between client and server, both ways."""

    def as_dict(self) -> dict:
        """Return the fields, for summary.json."""
        return asdict(self)


def parse_prices(text: str) -> Prices:
    """Read `cpu=0.04,gb=0.09`: cpu is both sides' core hour, client= and server= one side's; others stay as they are.

    Raises ValueError, in one line, for an unknown name, one that comes twice, or what is no number from 0 to MOST.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, given, value = part.strip().partition("=")
        if name not in NAMES:
            raise ValueError(f"unknown price {name!r}; there are {', '.join(NAMES)}, e.g. cpu=0.04,gb=0.09")
        if name in found:
            raise ValueError(f"the price {name} is given twice")
        if not given or not value:
            raise ValueError(f"the price {name} has no number; e.g. {name}=0.04")
        try:
            found[name] = float(value)
        except ValueError:
            raise ValueError(f"the price {name}={value} is no number; e.g. cpu=0.04,gb=0.09") from None
        if not 0 <= found[name] <= MOST:
            raise ValueError(f"the price {name}={value} is no number from 0 to {MOST}")
    # A side's own price goes before that of both sides, in whatever order they come.
    both = {side: found["cpu"] for side in ("client", "server") if "cpu" in found}
    return Prices(**{**both, **{name: value for name, value in found.items() if name != "cpu"}})


@dataclass(frozen=True)
class Spent:
    """What one arm spent in one round."""

    client_cpu: float
    """CPU seconds of the client's process per request."""
    server_cpu: float | None
    """CPU seconds of the server's processes per request; None where they cannot be counted."""
    byte_count: float
    """Bytes of the bodies of request and answer, per request."""

    def cost(self, prices: Prices) -> float:
        """Return the cost per million requests. CPU seconds that are not known cost nothing, in either arm."""
        cpu = self.client_cpu * prices.client + (self.server_cpu or 0.0) * prices.server
        return 1e6 * cpu / 3600 + self.cost_of_traffic(prices)

    def cost_of_traffic(self, prices: Prices) -> float:
        """Return the part of the bytes in the cost per million requests."""
        return 1e6 * self.byte_count * prices.gb / 1e9


@dataclass(frozen=True)
class Costs:
    """What both arms cost per million requests, and how sure their ratio is."""

    baseline: float
    candidate: float
    ratio: Estimate | None
    """The logarithm of candidate / baseline; None where one of them costs nothing."""
    prices: Prices
    server_known: bool
    """False: the server's CPU seconds are not known, so that it is not known which arm is cheaper."""
    baseline_traffic: float = 0.0
    """Of `baseline`, what its bytes cost; the rest is CPU."""
    candidate_traffic: float = 0.0
    break_even_gb: Estimate | None = None
    """The price of a GB at which both arms cost the same, at these prices of cores: above it the arm with fewer bytes
    is cheaper. Below 0 it is cheaper at any price. None: not known, or neither moves fewer bytes in each round."""

    def as_dict(self) -> dict:
        """Return the fields as JSON holds them, the ratio as a dict or None.

        Sums without the server's CPU are no costs of a request: they are None.
        """
        names = ("baseline", "candidate", "ratio", "break_even_gb")
        known = {"ratio": self.ratio and self.ratio.as_dict()}
        known["break_even_gb"] = self.break_even_gb and self.break_even_gb.as_dict()
        return {**asdict(self), **(known if self.server_known else dict.fromkeys(names))}


def compare_costs(rounds: Sequence[tuple[Spent, Spent]], instants: Sequence[float], prices: Prices) -> Costs:
    """Compare (the baseline's, the candidate's) spending, round by round; `instants` are the rounds', in seconds.

    Raises ValueError without rounds.
    """
    if not rounds:
        raise ValueError("there are no rounds to compare")
    # One round without the server's CPU seconds would make the arms' costs sums of different things.
    known = all(each.server_cpu is not None for both in rounds for each in both)
    costs = np.array([[each.cost(prices) for each in both] for both in rounds])
    when = np.asarray(instants, float)
    order = np.argsort(when, kind="stable")
    costs, when, ratio = costs[order], when[order], None
    if (costs > 0).all():
        ratio = jackknife(np.mean, np.log(costs[:, 1] / costs[:, 0]), when)
    baseline, candidate = costs.mean(0)
    traffic = np.array([[each.cost_of_traffic(prices) for each in both] for both in rounds]).mean(0)
    even = find_break_even([rounds[at] for at in order], when, prices) if known else None
    return Costs(float(baseline), float(candidate), ratio, prices, known, float(traffic[0]), float(traffic[1]), even)


def find_break_even(rounds: Sequence[tuple[Spent, Spent]], instants: np.ndarray, prices: Prices) -> Estimate | None:
    """Estimate the price of a GB at which both arms cost the same; None where neither moves fewer bytes in each round.

    It is what the candidate's CPU costs less, per GB that it moves more; means over the rounds, in order of `instants`.
    """
    free, one = replace(prices, gb=0.0), replace(prices, client=0.0, server=0.0, gb=1.0)
    cpu = np.array([second.cost(free) - first.cost(free) for first, second in rounds])
    traffic = np.array([second.cost(one) - first.cost(one) for first, second in rounds])
    if traffic.min() <= 0 <= traffic.max():
        return None
    values = np.column_stack([cpu, traffic])
    return jackknife(lambda some: -some[:, 0].mean() / some[:, 1].mean(), values, instants)
