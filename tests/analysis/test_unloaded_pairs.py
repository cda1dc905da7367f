"""Unloaded pairs, on simulated machines whose truth is known."""

import json

import numpy as np
import pytest

from crossover.analysis.unloaded_pairs import compare_unloaded, correlation_of_batch_means, mean_over_time
from tests.simulations import coverage, worlds
from tests.simulations.coverage import holds_enough, holds_too_many
from tests.simulations.worlds import WORLDS

PHOTOGRAPHS, AA = WORLDS["photographs"], WORLDS["A/A"]


@pytest.mark.parametrize("seconds", [20, 40, 90])
@pytest.mark.parametrize("name", ["photographs", "A/A", "quiet, sd 5 %"])
def test_unloaded_intervals_hold_the_truth_in_93_to_97_percent_of_comparisons(name, seconds):
    world = WORLDS[name]
    found = coverage.cover(
        [each.ratio for each in coverage.unloaded(world, seconds, 250, seconds)], worlds.unloaded_truth(world)
    )
    assert holds_enough(found) and not holds_too_many(found, 0.975), found


@pytest.mark.parametrize("name", list(WORLDS))
def test_unloaded_intervals_are_not_too_narrow_where_the_share_of_time_on_other_cores_is_not_known(name):
    """Where nothing slow is in the ratio they hold the truth more often than they need to."""
    found = coverage.cover(
        [each.ratio for each in coverage.unloaded(WORLDS[name], 40, 200, 1, known=False)],
        worlds.unloaded_truth(WORLDS[name]),
    )
    assert holds_enough(found), found


def test_what_is_known_of_the_noise_makes_the_interval_narrower():
    halves = [
        np.median([each.ratio.half_width() for each in coverage.unloaded(AA, 40, 60, 2, known)])
        for known in (True, False)
    ]
    assert halves[0] < 0.85 * halves[1]


def test_noise_that_the_known_causes_do_not_explain_is_charged_for():
    """A slow wave in the ratio of arms that claim to use the same cores."""
    first, _, when = pairs(200)
    second = first * np.exp(0.05 * np.sin(when * 2 * np.pi / 12) + np.random.default_rng(1).normal(0, 0.01, 200))
    assert compare_unloaded(first, second, when, apart=0.0).ratio == compare_unloaded(first, second, when).ratio


def test_a_quiet_machine_decides_to_two_percent_within_40_seconds():
    found = coverage.unloaded(WORLDS["quiet, sd 5 %"], 40, 100, 2)
    assert np.median([each.ratio.half_width() for each in found]) < 0.02


def test_batches_that_forget_how_long_the_speed_remembers_would_be_caught():
    found = coverage.cover(coverage.batch_means(PHOTOGRAPHS, 40, 12, 300, 3), worlds.unloaded_truth(PHOTOGRAPHS))
    assert not holds_enough(found), found


def pairs(n: int = 60, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    speed = rng.lognormal(0, 0.1, n)
    return speed * rng.lognormal(4, 0.02, n), speed * rng.lognormal(4.1, 0.02, n), np.arange(n) * 0.5


def test_pairs_may_come_in_any_order():
    first, second, when = pairs()
    order = np.random.default_rng(2).permutation(len(when))
    assert compare_unloaded(first[order], second[order], when[order]) == compare_unloaded(first, second, when)


def test_exchanged_arms_have_the_inverse_ratio_and_interval():
    first, second, when = pairs()
    one, other = compare_unloaded(first, second, when), compare_unloaded(second, first, when)
    low, high = one.ratio.ratios()
    assert other.ratio.ratios() == pytest.approx((1 / high, 1 / low))
    assert other.milliseconds.interval() == pytest.approx([-each for each in one.milliseconds.interval()[::-1]])


def test_the_difference_in_milliseconds_is_that_of_the_means():
    first, second, when = pairs()
    found = compare_unloaded(first, second, when)
    assert found.milliseconds.value == pytest.approx(found.candidate_ms - found.baseline_ms)


def test_a_pair_without_an_answer_is_left_out_and_counted():
    first, second, when = pairs()
    whole = compare_unloaded(first, second, when)
    broken = np.append(first, [np.nan, 50]), np.append(second, [50, np.nan]), np.append(when, [3, 4])
    found = compare_unloaded(*broken)
    assert (found.pairs, found.unanswered) == (60, 2) and found.ratio == whole.ratio


def test_too_few_pairs_have_an_estimate_without_an_interval():
    found = compare_unloaded([10, 11, 12], [20, 22, 24], [0, 1, 2])
    assert found.ratio.ratio == pytest.approx(2) and found.ratio.ratios() == (0, np.inf)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["ratio"]["error"] is None


@pytest.mark.parametrize(
    ("first", "second", "when", "says"),
    [
        ([1, 2], [1], [0, 1], "as many"),
        ([], [], [], "no pair was answered"),
        ([np.nan], [1], [0], "no pair was answered"),
        ([0], [1], [0], "not positive"),
    ],
)
def test_pairs_that_are_none_are_refused(first, second, when, says):
    with pytest.raises(ValueError, match=says):
        compare_unloaded(first, second, when)


def test_values_that_never_vary_have_an_interval_of_no_width():
    found, _ = mean_over_time(np.full(40, 0.3), 40.0)
    assert found.interval() == pytest.approx((0.3, 0.3))


def test_a_slow_wave_widens_the_interval_more_than_the_same_values_shuffled():
    """Its period is twelve seconds: long for a batch, short for the whole."""
    when = np.arange(200) * 0.2
    wave = 0.05 * np.sin(when * 2 * np.pi / 12) + np.random.default_rng(1).normal(0, 0.01, 200)
    shuffled = np.random.default_rng(2).permutation(wave)
    slow, fresh = mean_over_time(wave, 40)[0], mean_over_time(shuffled, 40)[0]
    assert slow.error > 2 * fresh.error


@pytest.mark.parametrize("length", [0.5, 4, 30])
def test_batch_means_of_the_speed_are_related_as_the_formula_says(length):
    """By numerical integration of exp(-|s - t| / 6) over both batches."""
    at = (np.arange(200) + 0.5) / 200 * length
    found = correlation_of_batch_means(4, length, 6.0)
    for lag in range(4):
        expected = np.exp(-np.abs(np.subtract.outer(at, at + lag * length)) / 6).mean()
        assert found[0, lag] == found[lag, 0] == pytest.approx(expected, rel=1e-3)
