"""Do intervals of two arms' capacities hold the truth? On simulated queues.

python -m tests.simulations.capacity 500
"""

import sys
from functools import cache

import numpy as np

from crossover.analysis.capacity_pairs import (
    WINDOW,
    CapacityPairs,
    CapacityTurn,
    choose_rate,
    compare_capacities,
)
from tests.simulations.coverage import Coverage, cover

LIMIT, PERCENTILE, REQUESTS = 50.0, 95, 200
SERVICE = 10.0
"""Mean ms of the baseline."""
QUEUES = {"constant": 0.0, "lognormal, cv 0.5": 0.47}
"""Log standard deviation of service times."""


def percentiles(rng: np.random.Generator, rates: np.ndarray, scatter: float, means: np.ndarray) -> np.ndarray:
    """ms, for probes of these rates (per second) at single-server queues with these mean service times (ms)."""
    shape = len(rates), REQUESTS
    gaps = rng.exponential(1, shape) / rates[:, None] * 1e3
    service = means[:, None] * np.exp(rng.normal(-(scatter**2) / 2, scatter, shape))
    waited, latency = np.zeros(len(rates)), np.empty(shape)
    for i in range(REQUESTS):
        waited = latency[:, i] = np.maximum(0, waited - gaps[:, i]) + service[:, i]
    return np.percentile(latency, PERCENTILE, axis=1)


def simulate(
    scatter: float, factor: float, comparisons: int, turns: int, seed: int, speed: float = 0.1, memory: float = 2.0
) -> list[CapacityPairs]:
    """Comparisons of an arm with one `factor` times as quick, on a machine whose log speed has that standard deviation
    and forgets within `memory` probes."""
    rng, kept = np.random.default_rng(seed), np.exp(-1 / memory)
    rates = 70.0 * np.exp(rng.normal(0, 0.15, (comparisons, 2))) * np.array([1, factor])
    log_speed, drawn = rng.normal(0, speed, comparisons), []
    for turn in range(turns):
        ms = np.empty_like(rates)
        for arm in (0, 1):
            log_speed = kept * log_speed + np.sqrt(1 - kept**2) * rng.normal(0, speed, comparisons)
            means = SERVICE * np.exp(log_speed) / (factor if arm else 1)
            ms[:, arm] = percentiles(rng, rates[:, arm], scatter, means)
        drawn.append(np.column_stack([rates, ms]))
        rates = np.vectorize(choose_rate)(rates, ms, LIMIT, turn)
    return [compare_capacities([CapacityTurn(*map(float, one[i])) for one in drawn], LIMIT) for i in range(comparisons)]


@cache
def capacity(scatter: float, factor: float = 1.0, speed: float = 0.1) -> float:
    """The logarithm of the rate at which a probe's log percentile is at the limit on average, of those near it."""
    rng, steps, n = np.random.default_rng(3), np.linspace(0.5, 1.0, 21) * 100 * factor, 1500
    rates = np.repeat(steps, n)
    means = SERVICE / factor * np.exp(rng.normal(0, speed, len(rates)))
    logs = np.log(percentiles(rng, rates, scatter, means) / LIMIT).reshape(-1, n)
    near = np.where(np.abs(logs) <= WINDOW, logs, np.nan)
    return float(np.interp(0, np.maximum.accumulate(np.nanmean(near, 1)), np.log(steps)))


def main() -> None:
    comparisons = int((*sys.argv[1:], 500)[0])
    print(f"{'service, speed, factor, turns':<44}{'ratio':>18}{'baseline':>18}{'equal arms told apart':>24}")
    for name, scatter in QUEUES.items():
        for speed in (0.0, 0.1):
            for factor in (1.0, 1.4):
                for turns in (12, 20):
                    found = simulate(scatter, factor, comparisons, turns, 1, speed)
                    base = capacity(scatter, 1.0, speed)
                    ratio: Coverage = cover([x.ratio for x in found], capacity(scatter, factor, speed) - base)
                    one = cover([x.baseline for x in found], base)
                    apart = f"{100 * ratio.winners / comparisons:.1f} %" if factor == 1 else ""
                    label = f"{name}, {speed:g}, {factor:g}, {turns}"
                    print(f"{label:<44}{ratio!s:>18}{one!s:>18}{apart:>24}", flush=True)


if __name__ == "__main__":
    main()
