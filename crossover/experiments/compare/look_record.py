"""The looks at a comparison, as run.json keeps them: each spends some of the error that all of them may have together.

Rounds and unloaded pairs are paid for apart (crossover.analysis.looks): a look at three rounds shows no interval of the
loaded ratio, but that of the pairs.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from crossover.analysis import answer
from crossover.analysis.jackknife import LEAST_ROUNDS
from crossover.experiments.compare.result import pair_modes
from crossover.measurement.pairs import Pairs
from crossover.measurement.trial import Trial


def list_looks(run: dict, measured: Sequence[Trial]) -> dict[str, list[float]]:
    """Return workload -> seconds of trials at each look: those of run.json, and this one if there is more to see.

    Too few rounds for an interval show nothing, and are no look.
    """
    looks = {name: list(each) for name, each in run.get("looks", {}).items()}
    for name, described in run["workloads"].items():
        own = [trial for trial in measured if trial.workload == name]
        chosen, paired = pair_modes(own, next(iter(described["placements"])))
        sound = answer.keep_sound(paired[chosen]) if chosen else []
        if len(sound) >= LEAST_ROUNDS:
            add_look(looks, name, answer.count_seconds(sound))
    return looks


def list_unloaded_looks(
    run: dict, measured: Sequence[Trial], unloaded: Mapping[str, Sequence[Pairs]]
) -> dict[str, list[float]]:
    """Return workload -> seconds of unloaded pairs at each look, as `list_looks` does of trials.

    Their interval is shown as soon as the workload has a trial, however few rounds there are: a look of its own.
    """
    looks = {name: list(each) for name, each in run.get("unloaded_looks", {}).items()}
    for name in dict.fromkeys(trial.workload for trial in measured):
        pairs = unloaded.get(name, ())
        found = answer.compare_pairs(pairs)
        if found and np.isfinite(found.ratio.error):
            add_look(looks, name, sum(each.seconds for each in pairs))
    return looks


def add_look(looks: dict[str, list[float]], name: str, seconds: float) -> None:
    """Note that a workload's data of so many seconds were looked at, unless there is nothing new to see in them."""
    if seconds > max(looks.get(name, ()), default=0.0):
        looks.setdefault(name, []).append(seconds)
