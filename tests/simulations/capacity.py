"""Do intervals of two arms' capacities hold the truth? On simulated queues whose speed wanders while they are probed.

The log speed of the server is an Ornstein-Uhlenbeck process, of the standard deviation and correlation time of
`worlds.World`, which goes on from probe to probe. The truth is the rate at which a probe's log percentile is at the
limit on average, over all speeds.

python -m tests.simulations.capacity 1000
"""

import sys
from dataclasses import dataclass
from functools import cache

import numpy as np

from crossover.analysis.capacity_pairs import (
    CONFIDENCE,
    WINDOW,
    CapacityComparison,
    CapacityTurn,
    choose_rate,
    compare_capacities,
)
from crossover.analysis.estimate import Estimate
from tests.simulations.coverage import Coverage, cover

GAP = 0.25
"""Seconds between two probes."""
UNKNOWN = Estimate(0.0, np.inf, 1)


@dataclass(frozen=True)
class Queue:
    """A single-server queue that begins each probe empty, and how it is probed."""

    service: float
    """Mean seconds of a request at mean speed."""
    requests: int
    percentile: float
    scatter: float = 0.1
    """Log standard deviation of each request's own noise."""
    speed: float = 0.15
    memory: float = 6.0
    slo: int = 5
    """The limit, in service times."""
    luck: float = 0.0
    """The share of probes whose percentile chance divides by three, and that of those it multiplies."""
    kinds: tuple[str, str] = ("lognormal", "lognormal")
    """How each arm's service times are distributed, a key of SERVICE; their mean is `service`."""

    @property
    def limit(self) -> float:
        """ms"""
        return self.slo * self.service * 1e3


SERVICE = {
    "lognormal": lambda rng, scatter, n: np.exp(rng.normal(-(scatter**2) / 2, scatter, n)),
    "constant": lambda rng, scatter, n: np.ones(n),
    "exponential": lambda rng, scatter, n: rng.exponential(1, n),
    "Pareto 2.2": lambda rng, scatter, n: (rng.pareto(2.2, n) + 1) * 1.2 / 2.2,
}
"""Factors of mean 1 for so many requests."""
QUEUES = {
    "photographs, p90": Queue(0.09, 81, 90),
    "photographs, p95": Queue(0.09, 165, 95),
    "speech, p90": Queue(0.3, 81, 90),
    "tiny network, p95": Queue(0.005, 700, 95),  # as many as last five seconds
    "photographs, cv 0.5": Queue(0.09, 165, 95, scatter=0.47),
    "limit of 40 services": Queue(0.01, 720, 90, slo=40),
    "one probe in 20 is lucky": Queue(0.09, 81, 90, luck=0.05),
    "photographs, steady speed": Queue(0.09, 165, 95, speed=0.0),
}


def wander(rng: np.random.Generator, queue: Queue, speeds: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    kept = np.exp(-np.maximum(seconds, 0) / queue.memory)
    return kept * speeds + np.sqrt(1 - kept**2) * rng.normal(0, queue.speed, len(speeds))


def probe(
    rng: np.random.Generator,
    queue: Queue,
    speeds: np.ndarray,
    rates: np.ndarray,
    gaps: np.ndarray,
    factor: float,
    arm: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """(ms of the percentile, log speeds after it); `gaps` at a rate of 1, of shape (requests, comparisons)."""
    due, draw = np.cumsum(gaps / rates, 0), SERVICE[queue.kinds[arm]]
    free, seen, latency = np.zeros(len(rates)), np.zeros(len(rates)), np.empty(gaps.shape)
    for i in range(len(gaps)):
        at = np.maximum(due[i], free)
        speeds, seen = wander(rng, queue, speeds, at - seen), at
        free = at + queue.service / factor * np.exp(speeds) * draw(rng, queue.scatter, len(rates))
        latency[i] = free - due[i]
    speeds = wander(rng, queue, speeds, np.maximum(free, due[-1]) - seen + GAP)
    chance = rng.random(len(rates))
    odd = np.where(chance < queue.luck, 1 / 3, np.where(chance > 1 - queue.luck, 3, 1))
    return np.percentile(latency, queue.percentile, axis=0) * 1e3 * odd, speeds


def simulate(queue: Queue, factor: float, comparisons: int, turns: int, seed: int) -> list[CapacityComparison]:
    """Comparisons of an arm with one `factor` times as quick, from rates up to a third too high or too low."""
    rng = np.random.default_rng(seed)
    speeds, drawn = rng.normal(0, queue.speed, comparisons), []
    rates = 0.7 / queue.service * np.exp(rng.normal(0, 0.15, (comparisons, 2))) * np.array([1, factor])
    for turn in range(turns):
        ms, gaps = np.empty_like(rates), rng.exponential(1, (queue.requests, comparisons))
        for arm in rng.permutation(2):
            quicker = factor if arm else 1
            ms[:, arm], speeds = probe(rng, queue, speeds, rates[:, arm], gaps, quicker, arm)
        drawn.append((rates, ms))
        rates = np.vectorize(choose_rate)(rates, ms, queue.limit, turn)
    return [
        compare_capacities([CapacityTurn(tuple(x[i]), tuple(y[i])) for x, y in drawn], queue.limit)
        for i in range(comparisons)
    ]


@cache
def capacity(queue: Queue, factor: float = 1.0, arm: int = 0) -> float:
    """The logarithm of the rate at which a probe's log percentile is at the limit on average, of those near it."""
    rng, steps, n = np.random.default_rng(3), np.linspace(0.4, 1.15, 26) / queue.service * factor, 1500
    rates = np.repeat(steps, n)
    gaps = rng.exponential(1, (queue.requests, len(rates)))
    ms, _ = probe(rng, queue, rng.normal(0, queue.speed, len(rates)), rates, gaps, factor, arm)
    logs = np.log(ms / queue.limit).reshape(-1, n)
    near = np.abs(logs) <= WINDOW
    told = near.sum(1) > n / 20  # at other rates hardly a probe is near the limit
    means = np.where(near, logs, 0).sum(1)[told] / near.sum(1)[told]
    return float(np.interp(0, np.maximum.accumulate(means), np.log(steps[told])))


def cover_ratio(queue: Queue, factor: float, found: list[CapacityComparison]) -> Coverage:
    return cover([each.ratios[0] or UNKNOWN for each in found], capacity(queue, factor, 1) - capacity(queue))


def cover_baseline(queue: Queue, found: list[CapacityComparison], arm: int = 0) -> Coverage:
    return cover([each.capacities[arm] or UNKNOWN for each in found], capacity(queue, arm=arm))


def main() -> None:
    comparisons = int((*sys.argv[1:], 1000)[0])
    heads = ("ratio", "baseline's own", "told apart")
    print(
        f"{'queue, factor, turns':<40}" + "".join(f"{each:>18}" for each in heads) + f"   ({CONFIDENCE:.0%} intervals)"
    )
    for name, queue in QUEUES.items():
        for factor in (1.0, 1.3):
            for turns in (16, 20):
                found = simulate(queue, factor, comparisons, turns, 1)
                ratio, own = cover_ratio(queue, factor, found), cover_baseline(queue, found)
                label, apart = f"{name}, {factor:g}, {turns}", f"{100 * ratio.winners / comparisons:.1f} %"
                print(f"{label:<40}{ratio!s:>18}{own!s:>18}{apart:>18}", flush=True)


if __name__ == "__main__":
    main()
