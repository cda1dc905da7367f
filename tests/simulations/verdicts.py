"""How often is a recommendation false, also for a user who follows its advice and looks again?

python -m tests.simulations.verdicts 1000
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from crossover.analysis.costs import Costs, Prices
from crossover.analysis.estimate import Estimate
from crossover.analysis.loaded_pairs import compare_loaded
from crossover.analysis.recommendation import (
    BETTER,
    CHEAPER,
    EQUIVALENT,
    PRIOR,
    UNDECIDED,
    Recommendation,
    recommend,
)
from tests.simulations import worlds
from tests.simulations.coverage import as_rounds, find_network
from tests.simulations.worlds import World

ROUND = 5.0
"""Seconds of measuring for a round."""
CHEAP = Costs(1.0, 0.5, Estimate(float(np.log(0.5)), 0.0, np.inf), Prices(), True)
"""The candidate costs half as much, for certain."""


@dataclass(frozen=True)
class Followed:
    """One comparison to its end."""

    verdicts: list[Recommendation]
    truth: float

    @property
    def last(self) -> Recommendation:
        return self.verdicts[-1]

    @property
    def false_winner(self) -> bool:
        """Any interval on the way that excluded 1 on the wrong side, or at all where there is no difference."""
        wrong = {"baseline"} if self.truth < 0 else {"candidate"} if self.truth > 0 else {"baseline", "candidate"}
        return any(each.quicker in wrong for each in self.verdicts)

    @property
    def false_verdict(self) -> bool:
        """What the last one recommends does not hold of the truth."""
        last, limit = self.last, np.log1p(self.last.margin)
        worse = self.truth if last.choice == "candidate" else -self.truth
        return {
            BETTER: worse > -limit,
            CHEAPER: worse > limit,
            EQUIVALENT: abs(self.truth) > limit,
            UNDECIDED: False,
        }[last.kind]


def follow(
    estimate: Callable[[int], Estimate],
    most: int,
    truth: float,
    first: int = 20,
    looks: int = 5,
    costs: Costs | None = None,
    stop: bool = True,
) -> Followed:
    """One user's comparison: `first` rounds, then as many more as are advised, `looks` times and `most` rounds at most.

    `estimate` gives that of the first n rounds. With stop=False the user goes on, by half as many rounds again, even
    where a verdict was given.
    """
    verdicts, measured, n = [], [], first
    for _ in range(looks):
        measured.append(n * ROUND)
        verdicts.append(recommend(estimate(n), measured, costs))
        last = verdicts[-1]
        if stop and (last.kind != UNDECIDED or last.more_seconds is None):
            break
        n += round(last.more_seconds / ROUND) if last.more_seconds else n // 2
        if n > most:
            break
    return Followed(verdicts, truth)


def simulate(truth: float | None, noise: float, comparisons: int, seed: int, most: int = 800, **how) -> list[Followed]:
    """Comparisons whose rounds have normal log ratios about the truth, with that standard deviation. Without a truth
    each comparison has its own, from those that placements may have (recommendation.PRIOR)."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(comparisons):
        own = rng.normal(0, PRIOR) if truth is None else truth
        found.append(follow(partial(student, rng.normal(own, noise, most)), most, own, **how))
    return found


def student(values: np.ndarray, n: int) -> Estimate:
    return Estimate(float(values[:n].mean()), float(values[:n].std(ddof=1) / np.sqrt(n)), n - 1)


def simulate_machine(world: World, comparisons: int, seed: int, most: int = 100, **how) -> list[Followed]:
    """Comparisons on a simulated machine, with loaded pairs."""
    drawn, truth = worlds.loaded(world, comparisons, most, seed), worlds.loaded_truth(world) if not world.same else 0.0
    every = zip((as_rounds(drawn, i) for i in range(comparisons)), find_network(world, comparisons, seed), strict=True)
    return [
        follow(lambda n, own=own, network=network: compare_loaded(own[:n], network).ratio, most, truth, **how)
        for own, network in every
    ]


def advised(found: Sequence[Followed]) -> tuple[int, int]:
    """(how many were told a time at their first look, how many of them had a verdict at their second)."""
    told = [each for each in found if each.verdicts[0].more_seconds and len(each.verdicts) > 1]
    return len(told), sum(each.verdicts[1].kind != UNDECIDED for each in told)


def main() -> None:
    comparisons = int((*sys.argv[1:], 1000)[0])
    heads = ("decides", "winner", "verdict", "told", "decided")
    print(f"{'truth, noise of a round, costs':<36}" + "".join(f"{each:>11}" for each in heads))
    print(f"{'':<36}" + "".join(f"{each:>11}" for each in ("at once", "false", "false", "a time", "by then")))
    for costs in (None, CHEAP):
        for noise in (0.04, 0.08, 0.16):
            for truth in (None, 0.0, 0.03, float(np.log(1.05)), 0.08, 0.15):
                found = simulate(truth, noise, comparisons, 1, costs=costs)
                told, kept = advised(found)
                shares = (
                    sum(each.verdicts[0].kind != UNDECIDED for each in found) / comparisons,
                    sum(each.false_winner for each in found) / comparisons,
                    sum(each.false_verdict for each in found) / comparisons,
                    told / comparisons,
                    kept / max(1, told),
                )
                ratio = "any" if truth is None else f"{np.exp(truth):.3f}"
                name = f"{ratio}, {noise:g}, {'half price' if costs else 'no costs'}"
                print(f"{name:<36}" + "".join(f"{100 * each:>9.1f} %" for each in shares), flush=True)
    for name, found in (
        ("normal rounds", simulate(0.0, 0.16, comparisons, 2, stop=False)),
        ("simulated machine", simulate_machine(worlds.AA, comparisons, 2, stop=False)),
    ):
        wrong = 100 * np.mean([each.false_winner for each in found])
        print(f"A/A, {name}, five looks whatever they say: false winner {wrong:.1f} %")
    found = simulate_machine(worlds.AA, comparisons, 3)
    wrong = 100 * np.mean([each.false_winner for each in found])
    print(f"A/A, simulated machine, following the advice: false winner {wrong:.1f} %")


if __name__ == "__main__":
    main()
