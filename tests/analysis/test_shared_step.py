"""The difference without the shared step, on simulated machines whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from crossover.analysis.shared_step import StageRound, compare_without_shared_step
from tests.simulations import coverage, worlds
from tests.simulations.coverage import holds_enough, holds_too_many
from tests.simulations.worlds import WORLDS, World

PHOTOGRAPHS, AA = WORLDS["photographs"], WORLDS["A/A"]


def stage_rounds(world: World, n: int, comparisons: int, seed: int) -> list[list[StageRound]]:
    drawn = worlds.loaded(world, comparisons, n, seed)
    return [
        [
            StageRound(*(value[:, None][arm] for value in (whole, shared) for arm in (0, 1)), float(instant))
            for whole, shared, instant in zip(drawn.latency[i], drawn.shared[i], drawn.instants[i], strict=True)
        ]
        for i in range(comparisons)
    ]


def test_the_difference_without_the_shared_step_holds_the_truth():
    """Both decode for as long, so that nothing is left; the whole differs by 8 %, as decoding delays the network."""
    found = [compare_without_shared_step(each) for each in stage_rounds(PHOTOGRAPHS, 20, 300, 5)]
    covered = coverage.cover([each.milliseconds for each in found], 0.0)
    assert holds_enough(covered) and not holds_too_many(covered, 0.98), covered
    assert covered.half < 1.0


def test_a_slower_network_shows_in_the_shared_step_only():
    [given] = stage_rounds(replace(AA, slower=1.3, speed=0.02), 30, 1, 6)
    found = compare_without_shared_step(given)
    assert found.shared.interval()[0] > np.log(1.2)
    assert abs(found.milliseconds.value) < 0.5
    json.dumps(found.as_dict(), allow_nan=False)


def test_requests_and_their_means_give_the_same():
    rng = np.random.default_rng(1)
    drawn = [(*rng.uniform(50, 60, (2, 9)), *rng.uniform(30, 40, (2, 9))) for _ in range(8)]
    whole = [StageRound(*each, 5.0 * i) for i, each in enumerate(drawn)]
    names = ("baseline_ms", "candidate_ms", "baseline_shared_ms", "candidate_shared_ms")
    means = [[np.mean(getattr(each, name), keepdims=True) for name in names] for each in whole]
    short = [StageRound(*each, 5.0 * i) for i, each in enumerate(means)]
    assert compare_without_shared_step(whole) == compare_without_shared_step(short)


@pytest.mark.parametrize(
    ("values", "says"), [((1, 2, np.nan, 1), "leave its round out"), ((1, 2, 0, 1), "took no time")]
)
def test_stages_that_are_none_are_refused(values, says):
    with pytest.raises(ValueError, match=says):
        compare_without_shared_step([StageRound(*(np.array([value]) for value in values), 0.0)])
    with pytest.raises(ValueError, match="no rounds"):
        compare_without_shared_step([])


def test_where_nothing_is_left_there_is_a_difference_but_no_ratio():
    given = [StageRound(*(np.array([value]) for value in (10.0, 12.0, 10.5, 10.0)), float(i)) for i in range(6)]
    found = compare_without_shared_step(given)
    assert found.ratio is None and found.milliseconds.value == pytest.approx(2.5)
