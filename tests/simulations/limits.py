"""Worlds in which the intervals hold the truth less often than they say: the limits in docs/statistics.md.

python -m tests.simulations.limits 1000     # the number of simulated comparisons
"""

import sys

import numpy as np

from crossover.analysis.capacity_pairs import TURNS
from crossover.analysis.loaded_pairs import LoadedRound, compare_loaded
from crossover.analysis.unloaded_pairs import compare_unloaded
from tests.simulations.capacity import Queue, cover_baseline, cover_ratio, simulate
from tests.simulations.coverage import Coverage, cover

STEADY = {"service": 0.01, "requests": 81, "percentile": 90, "speed": 0.0}
QUEUES = {
    "constant and exponential service": Queue(**STEADY, kinds=("constant", "exponential")),
    "Pareto 2.2 and constant service": Queue(**STEADY, kinds=("Pareto 2.2", "constant")),
}


def drift(comparisons: int, memory: float, sd: float = 0.05, seconds: float = 37.5, gap: float = 0.25) -> Coverage:
    """Unloaded pairs of equal arms, one of which a slow factor pulls for `memory` seconds at a time."""
    rng, n, kept = np.random.default_rng(1), int(seconds / gap), np.exp(-gap / memory)
    found = []
    for _ in range(comparisons):
        slow = [rng.normal(0, sd)]
        for _ in range(n - 1):
            slow.append(kept * slow[-1] + np.sqrt(1 - kept**2) * rng.normal(0, sd))
        first, second = 100 * np.exp(rng.normal(0, 0.03, (2, n)))
        second *= np.exp(slow)
        found.append(compare_unloaded(first, second, np.arange(n) * gap, 0.08).ratio)
    return cover(found, 0.0)


def outliers(comparisons: int, rounds: int, share: float = 0.05, times: float = 10.0) -> Coverage:
    """Rounds of which one in 20 is ten times as slow in the candidate's arm."""
    rng, found = np.random.default_rng(2), []
    for _ in range(comparisons):
        ratios = np.log(times) * (rng.random(rounds) < share) + rng.normal(0, 0.05, rounds)
        made = [LoadedRound(np.ones(1), np.exp([each]), 5.0 * i) for i, each in enumerate(ratios)]
        found.append(compare_loaded(made).ratio)
    return cover(found, share * np.log(times))


def main() -> None:
    comparisons = int((*sys.argv[1:], 1000)[0])
    for name, queue in QUEUES.items():
        found = simulate(queue, 1.0, comparisons, TURNS, 1)
        own = [cover_baseline(queue, found, arm) for arm in (0, 1)]
        print(f"capacity, {name}: ratio {cover_ratio(queue, 1.0, found)}; own {own[0]}, {own[1]}", flush=True)
    for memory in (6.0, 30.0):
        print(f"unloaded, one arm wanders for {memory:g} s: {drift(comparisons, memory)}", flush=True)
    for rounds in (10, 20, 34):
        print(f"loaded, a round in 20 ten times as slow, {rounds} rounds: {outliers(comparisons, rounds)}", flush=True)


if __name__ == "__main__":
    main()
