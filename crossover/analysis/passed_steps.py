"""Which of the server's steps requests of two arms pass: the network, which both share, and what one prepares there.

What is shared is the covariate under load (loaded_pairs), and is left out of the difference without the shared step.
"""

from collections.abc import Sequence
from math import log1p

import numpy as np

from crossover.analysis.estimate import Estimate
from crossover.analysis.recommendation import MARGIN
from crossover.analysis.unloaded_pairs import mean_over_time
from crossover.measurement.pairs import Pairs
from crossover.measurement.trial import Trial

TrialPair = tuple[Trial, Trial]
"""The baseline's trial of a round and the candidate's."""


def find_passed_steps(rounds: Sequence[TrialPair], steps: Sequence[str]) -> list[set[str]]:
    """Return those of the steps that requests of the baseline pass, and of the candidate, by what the server says.

    They pass it in most of their trials: in a single one, it may have been another user's request.
    """
    n = len(rounds)
    return [{step for step in steps if 2 * sum(step in pair[arm].steps for pair in rounds) > n} for arm in (0, 1)]


def find_shared_steps(rounds: Sequence[TrialPair], steps: Sequence[str]) -> tuple[str, ...]:
    """Return those of the steps that requests of both arms pass."""
    passed = find_passed_steps(rounds, steps)
    return tuple(step for step in steps if all(step in each for each in passed))


def find_own_steps(rounds: Sequence[TrialPair], steps: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return those of the steps that only requests of the baseline pass, and those that only the candidate's do."""
    first, second = find_passed_steps(rounds, steps)
    return tuple(step for step in steps if step in first - second), tuple(s for s in steps if s in second - first)


def find_same_steps(
    rounds: Sequence[TrialPair], steps: Sequence[str], measured: Sequence[Pairs] = ()
) -> tuple[str, ...]:
    """Return the shared steps that have the same work in both arms.

    Left out are those whose CPU seconds in unloaded pairs differ by more than the margin, for certain: a step that
    decodes a smaller file in one arm is part of the difference between them.
    """
    found = []
    for step in find_shared_steps(rounds, steps):
        work = compare_network(measured, (step,))
        low, high = work.interval() if work else (0.0, 0.0)
        if not (low > log1p(MARGIN) or high < -log1p(MARGIN)):
            found.append(step)
    return tuple(found)


def compare_network(measured: Sequence[Pairs], shared: Sequence[str]) -> Estimate | None:
    """Return the logarithm of the ratio of the shared steps' CPU seconds in unloaded pairs; None where not recorded."""
    parts = [each.sum_cpu(shared) for each in measured] if shared else []
    spent = np.concatenate([np.empty((0, 2)), *parts])
    if not len(spent):
        return None
    # Both requests use the same cores, so that no slow noise is in their ratio.
    return mean_over_time(np.log(spent[:, 1] / spent[:, 0]), sum(each.seconds for each in measured), slow=0.0)[0]
