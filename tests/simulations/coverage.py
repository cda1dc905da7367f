"""How often do 95 % intervals hold the truth? The tables of docs/statistics.md.

python -m tests.simulations.coverage unloaded 1000     # also: loaded, centred; the number of simulated comparisons
"""

import sys
from dataclasses import dataclass

import numpy as np
from scipy import stats

from crossover.analysis.estimate import Estimate
from crossover.analysis.loaded_pairs import LoadedPairs, LoadedRound, compare_loaded
from crossover.analysis.unloaded_pairs import UnloadedPairs, compare_unloaded, mean_over_time
from tests.simulations import worlds
from tests.simulations.worlds import WORLDS, Rounds, World

ALPHA = 1e-3
"""How seldom a test of a simulated share may fail by chance."""
SPEECH = {
    "speech, 4 % decoding": World(network=0.5, decoding=0.02),
    "speech, decoding a sixth": World(network=0.5, decoding=0.1),
}


@dataclass(frozen=True)
class Coverage:
    """Of simulated comparisons: how many intervals held the truth, how many excluded a ratio of 1, their width."""

    total: int
    hits: int
    winners: int
    half: float
    """Median half width, in logarithms."""

    @property
    def share(self) -> float:
        return self.hits / self.total

    def __str__(self) -> str:
        return f"{100 * self.share:5.1f} % +-{100 * self.half:4.1f} %"


def cover(estimates: list[Estimate], truth: float) -> Coverage:
    low, high = np.array([each.interval() for each in estimates]).T
    hits, winners = ((low <= value) & (value <= high) for value in (truth, 0))
    return Coverage(len(estimates), int(hits.sum()), int((~winners).sum()), float(np.median(high - low) / 2))


def holds_enough(found: Coverage, least: float = 0.93) -> bool:
    """Whether a share of at least `least` may have made these hits."""
    return stats.binom.cdf(found.hits, found.total, least) > ALPHA


def holds_too_many(found: Coverage, most: float = 0.97) -> bool:
    return stats.binom.sf(found.hits - 1, found.total, most) < ALPHA


def unloaded(world: World, seconds: float, comparisons: int, seed: int, known: bool = True) -> list[UnloadedPairs]:
    """Of which the share of time on different cores is known, or not."""
    ms, instants = worlds.unloaded(world, comparisons, seconds, seed)
    apart = world.apart if known else None
    return [compare_unloaded(*arms, when, apart) for arms, when in zip(ms, instants, strict=True)]


def as_rounds(drawn: Rounds, comparison: int) -> list[LoadedRound]:
    """What `compare_loaded` takes, with a single arrival in each round that has the round's mean log ratio."""
    return [
        LoadedRound(np.ones(1), np.exp([ratio]), float(instant), *map(float, cpu))
        for ratio, cpu, instant in zip(
            drawn.ratios[comparison], drawn.cpu[comparison], drawn.instants[comparison], strict=True
        )
    ]


def loaded(world: World, rounds: int, comparisons: int, seed: int, unloaded: float = 20.0, **load) -> list[LoadedPairs]:
    """With so many seconds of unloaded pairs, which show what the placements do to the network."""
    drawn = worlds.loaded(world, comparisons, rounds, seed, **load)
    network = find_network(world, comparisons, seed, unloaded)
    return [compare_loaded(as_rounds(drawn, i), network[i]) for i in range(comparisons)]


def find_network(world: World, comparisons: int, seed: int, seconds: float = 20.0) -> list[Estimate]:
    return [mean_over_time(each, seconds, slow=0.0)[0] for each in worlds.network(world, comparisons, seconds, seed)]


def centred(world: World, rounds: int, comparisons: int, seed: int) -> list[Estimate]:
    """What not to do: the mean log ratio as it is, with the regression's residuals for its standard error."""
    drawn, found = worlds.loaded(world, comparisons, rounds, seed), []
    for ratios, cpu in zip(drawn.ratios, drawn.cpu, strict=True):
        apart = np.log(cpu[:, 1] / cpu[:, 0])
        apart -= apart.mean()
        residual = ratios - ratios.mean() - apart * (apart @ ratios) / (apart @ apart)
        found.append(Estimate(ratios.mean(), np.sqrt(residual @ residual / (rounds - 2) / rounds), rounds - 2))
    return found


def batch_means(world: World, seconds: float, batches: int, comparisons: int, seed: int) -> list[Estimate]:
    """The textbook's: so many batches, Student's t, no thought of how long the speed remembers."""
    ms, _ = worlds.unloaded(world, comparisons, seconds, seed)
    found = []
    for values in np.log(ms[:, 1] / ms[:, 0]):
        means = np.array([each.mean() for each in np.array_split(values, batches)])
        found.append(Estimate(values.mean(), means.std(ddof=1) / np.sqrt(batches), batches - 1))
    return found


def print_unloaded(comparisons: int) -> None:
    lengths = (20, 30, 40, 60, 90)
    print(f"{'unloaded pairs':<40}" + "".join(f"{f'{seconds} s':>18}" for seconds in lengths), flush=True)
    sixth = WORLDS["photographs, decoding a sixth"]
    rows = {name: (world, True) for name, world in {**WORLDS, **SPEECH}.items()}
    rows |= {f"{name}, share unknown": (WORLDS[name], False) for name in ("photographs", "A/A", "quiet, sd 5 %")}
    for seed, (name, (world, known)) in enumerate(rows.items()):
        truth = worlds.unloaded_truth(world)
        cells = [cover([x.ratio for x in unloaded(world, s, comparisons, seed, known)], truth) for s in lengths]
        print(f"{name:<40}" + "".join(f"{each!s:>18}" for each in cells), flush=True)
    truth = worlds.unloaded_truth(sixth)
    cells = [cover(batch_means(sixth, s, 12, comparisons, 1), truth) for s in lengths]
    print(f"{'decoding a sixth: 12 batches':<40}" + "".join(f"{each!s:>18}" for each in cells), flush=True)


def print_loaded(comparisons: int) -> None:
    lengths = (10, 20, 34)
    heads = "".join(f"{f'{n} rounds, {kind}':>22}" for n in lengths for kind in ("adjusted", "plain"))
    print(f"{'loaded pairs':<32}{heads}", flush=True)
    loads = {name: (world, {}) for name, world in WORLDS.items()}
    loads["photographs, 65 % load"] = WORLDS["photographs"], {"rate": 7.5}
    loads["speech"] = World(network=0.3, decoding=0.012), {"rate": 1.6, "seconds": 3.1}
    for seed, (name, (world, load)) in enumerate(loads.items()):
        truth, cells = worlds.loaded_truth(world, **load), []
        for rounds in lengths:
            found = loaded(world, rounds, comparisons, seed, 40.0 if name == "speech" else 20.0, **load)
            cells += [cover([x.ratio for x in found], truth), cover([x.plain for x in found], truth)]
        print(f"{name:<32}" + "".join(f"{each!s:>22}" for each in cells), flush=True)


def print_centred(comparisons: int) -> None:
    for name in ("A/A", "photographs"):
        world = WORLDS[name]
        for rounds in (10, 20, 34):
            found = cover(centred(world, rounds, comparisons, rounds), worlds.loaded_truth(world))
            winners = f"; 1 excluded in {100 * found.winners / found.total:.0f} %"
            print(f"centred, {name:<14}{rounds:>3} rounds {found}{winners}", flush=True)


TABLES = {"unloaded": print_unloaded, "loaded": print_loaded, "centred": print_centred}


def main() -> None:
    name, comparisons = (*sys.argv[1:], "unloaded")[0], int((*sys.argv[2:], 1000)[0])
    if name not in TABLES:
        sys.exit(f"unknown table {name!r}; try one of {', '.join(TABLES)}")
    TABLES[name](comparisons)


if __name__ == "__main__":
    main()
