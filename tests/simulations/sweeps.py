"""Sweeps whose truth is known: at each x, rounds of latencies in ms of both arms, and how many requests each fails.

    python -m tests.simulations.sweeps      # coverage of the crossing over a link, simulated with queues

Over the link, a tensor of 602 KB or a JPEG of 201 KB waits for the link and then for the network, one at a time each.
The client decodes in 3.7 ms on cores of its own, the server in 13.3 ms on the network's core. Alone, requests of both
take equally long at 334 Mbit/s.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossover.experiments.sweep import figures
from crossover.measurement.trial import Trial
from loadgen.samples.sample import COMPLETED
from tests.analysis.test_comparison import trial

RATES = (10.0, 100.0, 1000.0)
ARMS = ("client", "server")
UTILISATION = 0.6
TENSOR, JPEG = 4816.0, 1608.0  # kilobits: ms over a link of 1 Mbit/s


@dataclass(frozen=True)
class Round:
    """One round at one point."""

    baseline: np.ndarray
    """ms of the answered requests."""
    candidate: np.ndarray
    failed: tuple[int, int] = (0, 0)
    """Requests of either arm without a good answer."""


def even(ratios: dict[float, float], rounds: int = 8, n: int = 60, noise: float = 0.01, seed: int = 1):
    """Points at which the arms' latencies have these ratios, give or take `noise`: x -> rounds."""
    rng = np.random.default_rng(seed)

    def one(ratio: float) -> Round:
        ms = rng.normal(100, 5, n)
        return Round(ms, ms * ratio * rng.lognormal(0, noise))

    return {x: [one(ratio) for _ in range(rounds)] for x, ratio in ratios.items()}


def wait(dues: np.ndarray, service: np.ndarray | float) -> np.ndarray:
    """Return how long each arrival takes at one server, service included (Lindley's recursion)."""
    services = np.broadcast_to(service, dues.shape)
    walk = np.concatenate([[0], np.cumsum(services[:-1] - np.diff(dues))])
    return walk - np.minimum.accumulate(walk) + services


def over_link(mbit: float, dues: np.ndarray, bits: float, network: float, decode: float, speed: float) -> np.ndarray:
    """Return the latencies over that link, in ms."""
    arrived = dues + wait(dues, bits / mbit)
    return arrived - dues + wait(arrived, network * speed) + decode


def link(rng: np.random.Generator, mbit: float, n: int, speed: float = 0.03) -> Round:
    """Offer n arrivals to both arms over that link; the machine's speed differs from trial to trial."""
    slowest = max(53.7 + TENSOR / mbit, 63.3 + JPEG / mbit)
    dues = np.cumsum(rng.exponential(slowest / UTILISATION, n))
    baseline, candidate = np.exp(rng.normal(0, speed, 2))
    return Round(over_link(mbit, dues, TENSOR, 50.0, 3.7, baseline), over_link(mbit, dues, JPEG, 63.3, 0.0, candidate))


def links(seed: int, rates=RATES, rounds: int = 6, n: int = 100) -> dict[float, list[Round]]:
    """Sweep the link's rate: x -> rounds."""
    rng = np.random.default_rng(seed)
    return {mbit: [link(rng, mbit, n) for _ in range(rounds)] for mbit in rates}


def look_closer(seed: int, sweep: dict[float, list[Round]], x: float) -> dict[float, list[Round]]:
    """Return the sweep with one more point, as long as the others."""
    rng, [first, *_] = np.random.default_rng([seed, 1]), sweep.values()
    return {**sweep, x: [link(rng, x, len(first[0].baseline)) for _ in first]}


def true_crossing(statistic: Callable[[np.ndarray], float]) -> float:
    """Return the rate at which this statistic of endless trials is equal for both arms, by bisection."""
    low, high = 50.0, 900.0
    for _ in range(12):
        middle = (low * high) ** 0.5
        one = link(np.random.default_rng(1), middle, 200_000, speed=0.0)
        low, high = (low, middle) if statistic(one.candidate) > statistic(one.baseline) else (middle, high)
    return (low * high) ** 0.5


def evaluate(sweep: dict[float, list[Round]], unit: str = "Mbit/s", planned: int = 0) -> dict:
    """Return the sweep's entry in crossover.json, as the product makes it from trials."""
    trials = [each for x, rounds in sweep.items() for each in make_trials(x, rounds)]
    described = {
        **dict.fromkeys(("workload", "sweep", "network", "regime"), "simulated"),
        "placements": {name: {"words": f"the {name}"} for name in ARMS},
        "unit": unit,
        "forms": [""],
        "planned": planned or len(sweep),
        "points": [{"x": x, "label": f"{x:g}", "kilobytes": 1.0} for x in sweep],
    }
    [entry] = figures.evaluate_trials(trials, "", described)
    return entry


def make_trials(x: float, rounds: list[Round]) -> Iterator[Trial]:
    """Yield the trials of one point."""
    for number, each in enumerate(rounds, 1):
        for name, ms, failed in zip(ARMS, (each.baseline, each.candidate), each.failed, strict=True):
            about = {"path": Path(f"{x:g}", name, f"round-{number:02}.json")}
            if failed:
                books = {"scheduled": len(ms) + failed, COMPLETED: len(ms)}
                about |= {"summary": {"books": books, "achieved": 1.0}, "valid": False}
                about["findings"] = [{"rule": "errors", "measured": "", "limit": "", "change": ""}]
            yield trial(name, ms, number, **about)


def main(sweeps: int = 240) -> None:
    """Print how often the interval of the crossing over a link holds the truth, and how wide it is."""
    truth = {by: true_crossing(statistic) for by, statistic in (("p50", np.median), ("mean", np.mean))}
    print("| by, truth in Mbit/s | points | crossings found | coverage | median interval |\n|---|---|---|---|---|")
    found: dict[tuple[str, int], list[dict]] = {}
    for seed in range(sweeps):
        sweep = links(seed)
        for points in (3, 4):
            crossing = evaluate(sweep)["crossing"]
            if not crossing:
                break
            found.setdefault((crossing["by"], points), []).append(crossing)
            sweep = look_closer(seed, sweep, float(f"{crossing['x']:.2g}"))
    for (by, points), crossings in sorted(found.items(), key=lambda each: (each[0][0] == "mean", each[0][1])):
        low, high = (np.array([each[end] for each in crossings]) for end in ("low", "high"))
        hits = np.mean((low <= truth[by]) & (truth[by] <= high))
        wide = f"{np.median(low):.0f} to {np.median(high):.0f}"
        print(f"| {by}, {truth[by]:.0f} | {points} | {len(crossings)} | {hits:.1%} | {wide} |")


if __name__ == "__main__":
    main()
