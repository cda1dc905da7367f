"""Unloaded and loaded pairs, and the difference without the shared step: on simulated machines whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from crossover.analysis.estimate import Estimate
from crossover.analysis.loaded_pairs import LoadedRound, Losses, compare_loaded, jackknife, predict
from crossover.analysis.shared_step import StageRound, compare_without_shared_step
from crossover.analysis.unloaded_pairs import compare_unloaded, correlation_of_batch_means, mean_over_time
from tests.simulations import coverage, worlds
from tests.simulations.worlds import WORLDS, World

ALPHA = 1e-3
PHOTOGRAPHS, AA = WORLDS["photographs"], WORLDS["A/A"]


def enough(found: coverage.Coverage, least: float = 0.93) -> bool:
    return stats.binom.cdf(found.hits, found.total, least) > ALPHA


def too_many(found: coverage.Coverage, most: float = 0.97) -> bool:
    return stats.binom.sf(found.hits - 1, found.total, most) < ALPHA


# Unloaded pairs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [20, 40, 90])
@pytest.mark.parametrize("name", ["photographs", "A/A", "quiet, sd 5 %"])
def test_unloaded_intervals_hold_the_truth_in_93_to_97_percent_of_comparisons(name, seconds):
    world = WORLDS[name]
    found = coverage.cover(
        [each.ratio for each in coverage.unloaded(world, seconds, 250, seconds)], worlds.unloaded_truth(world)
    )
    assert enough(found) and not too_many(found, 0.975), found


@pytest.mark.parametrize("name", list(WORLDS))
def test_unloaded_intervals_are_not_too_narrow_where_the_share_of_time_on_other_cores_is_not_known(name):
    """Where nothing slow is in the ratio they hold the truth more often than they need to."""
    found = coverage.cover(
        [each.ratio for each in coverage.unloaded(WORLDS[name], 40, 200, 1, known=False)],
        worlds.unloaded_truth(WORLDS[name]),
    )
    assert enough(found), found


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
    assert not enough(found), found


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


# Loaded pairs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photographs", "A/A", "server 10 % slower", "quiet, sd 5 %"])
def test_loaded_intervals_hold_the_truth_in_93_to_97_percent_of_comparisons(name):
    world = WORLDS[name]
    found = coverage.loaded(world, 20, 300, 1)
    for each in ([x.ratio for x in found], [x.plain for x in found]):
        covered = coverage.cover(each, worlds.loaded_truth(world))
        assert enough(covered) and not too_many(covered), covered


def test_the_networks_cpu_seconds_halve_the_interval_where_the_speed_wanders():
    found = coverage.loaded(PHOTOGRAPHS, 20, 100, 2)
    assert all(each.adjusted for each in found)
    halves = np.median([(each.ratio.half_width(), each.plain.half_width()) for each in found], axis=0)
    assert halves[0] < 0.04 and halves[0] < 0.6 * halves[1]


def test_an_arm_against_itself_has_a_winner_in_at_most_5_percent():
    found = coverage.cover([each.ratio for each in coverage.loaded(AA, 20, 300, 3)], 0.0)
    assert stats.binom.sf(found.winners - 1, found.total, 0.05) > ALPHA


def test_centring_the_covariate_would_be_caught():
    """The estimate keeps the speeds' noise, the interval loses it."""
    found = coverage.cover(coverage.centred(AA, 20, 200, 4), 0.0)
    assert not enough(found, 0.8) and found.winners > found.total / 4


NOTHING = Estimate(0.0, 0.003, 20)
"""What unloaded pairs show of the network's CPU seconds where the placements do nothing to them."""


def rounds(n: int = 20, seed: int = 1, shift: float = 0.0, factor: float = 1.1) -> list[LoadedRound]:
    """Eight arrivals each; the machine's speed explains nearly all, CPU seconds are the candidate's times e^shift."""
    rng, found = np.random.default_rng(seed), []
    for i in range(n):
        speeds, ms = rng.lognormal(0, 0.15, 2), rng.lognormal(4, 0.3, 8)
        noise = rng.lognormal(0, 0.02, (2, 8))
        both = ms * speeds[0] * noise[0], ms * speeds[1] * noise[1] * factor
        found.append(LoadedRound(*both, 5.0 * i, 0.08 * speeds[0], 0.08 * speeds[1] * np.exp(shift), 0.02))
    return found


def test_the_adjusted_ratio_is_the_one_at_equal_speed():
    found = compare_loaded(rounds(), NOTHING)
    low, high = found.ratio.ratios()
    assert found.adjusted and low < 1.1 < high and high / low < 1.05
    assert found.correlation > 0.95 and found.quiet and not found.overloaded


def test_the_adjustment_is_the_line_at_what_unloaded_pairs_show():
    speeds = np.array([-0.2, 0.1, 0.4, 0.5])
    assert predict(0.3 + 2 * speeds, speeds, 0.0) == pytest.approx(0.3)
    assert predict(0.3 + 2 * speeds, speeds, 0.1) == pytest.approx(0.5)


def test_what_a_placement_does_to_the_network_stays_in_the_ratio():
    """Its network needs 5 % more CPU seconds, and takes 5 % longer for it."""
    dearer = rounds(shift=0.05, factor=1.1 * np.exp(0.05))
    found = compare_loaded(dearer, Estimate(0.05, 0.003, 20))
    assert found.adjusted and found.ratio.value == pytest.approx(compare_loaded(rounds(), NOTHING).ratio.value + 0.05)
    # The pairs' error is part of the estimate's.
    assert found.ratio.error > compare_loaded(dearer, Estimate(0.05, 0.0, 20)).ratio.error


def test_without_pairs_that_show_it_nothing_is_adjusted():
    """Two runs, before and after a change, have none: the change may be in the network."""
    for network in (None, Estimate(0.0, np.inf, 3)):
        found = compare_loaded(rounds(), network)
        assert not found.adjusted and found.ratio == found.plain and "unloaded pairs do not show" in found.why_plain


def test_cpu_seconds_that_differ_otherwise_than_in_unloaded_pairs_are_not_used():
    found = compare_loaded(rounds(n=40, shift=0.5), NOTHING)
    assert not found.adjusted and found.ratio == found.plain
    assert found.why_plain == "the network's CPU seconds differ otherwise than in unloaded pairs"
    assert compare_loaded(rounds(n=40, shift=0.5), Estimate(0.5, 0.005, 20)).adjusted


def test_cpu_seconds_that_explain_nothing_are_not_used():
    cpu = np.random.default_rng(2).lognormal(-2, 0.1, (20, 2))
    given = [replace(each, baseline_cpu=a, candidate_cpu=b) for each, (a, b) in zip(rounds(), cpu, strict=True)]
    found = compare_loaded(given, NOTHING)
    assert not found.adjusted and found.ratio == found.plain and "explain too little" in found.why_plain


@pytest.mark.parametrize("arm", ["baseline_cpu", "candidate_cpu"])
def test_without_the_cpu_seconds_of_every_round_the_plain_pairs_stand(arm):
    given = rounds()
    given[3] = replace(given[3], **{arm: None})
    found = compare_loaded(given, NOTHING)
    assert not found.adjusted and found.ratio == found.plain and found.covariate is None
    assert "not known" in found.why_plain


def test_few_rounds_are_not_adjusted_and_fewer_have_no_interval():
    assert compare_loaded(rounds(8), NOTHING).why_plain == "8 rounds are too few"
    assert compare_loaded(rounds(1), NOTHING).why_plain == "1 round is too few"
    assert np.isfinite(compare_loaded(rounds(6), NOTHING).ratio.error)
    assert compare_loaded(rounds(5), NOTHING).ratio.ratios() == (0, np.inf)


def test_a_round_with_an_unanswered_arrival_is_left_out():
    given = rounds(21)
    given[4].candidate_ms[2] = np.nan
    found, without = compare_loaded(given, NOTHING), compare_loaded(given[:4] + given[5:], NOTHING)
    assert (found.rounds, found.left_out) == (20, 1) and found.ratio == without.ratio
    assert [(each.arrivals, each.lost) for each in found.losses] == [(168, 0), (168, 1)] and found.overloaded == ()


def test_an_arm_that_leaves_more_than_one_percent_unanswered_does_not_carry_the_load():
    given = rounds(20)
    # 2 of 160 may be chance, and what one trial lost an accident.
    given[4].candidate_ms[:2] = np.nan
    assert compare_loaded(given, NOTHING).overloaded == ()
    given[4].candidate_ms[:] = np.nan
    assert compare_loaded(given, NOTHING).overloaded == ()
    given[5].candidate_ms[0] = given[6].candidate_ms[0] = np.nan
    assert compare_loaded(given, NOTHING).overloaded == ("candidate",)
    for each in given:
        each.baseline_ms[0] = np.nan
    found = compare_loaded(given, NOTHING)
    assert found.overloaded == ("baseline", "candidate") and found.rounds == 0
    assert found.ratio.ratios() == (0, np.inf)


def test_what_attempts_before_the_last_have_lost_counts():
    """Three of eight in each of five trials, all of which were answered when they were measured again."""
    given = [replace(each, earlier=((), [[8, 3]] if i < 5 else ())) for i, each in enumerate(rounds())]
    found = compare_loaded(given, NOTHING)
    assert found.overloaded == ("candidate",) and found.rounds == 20
    assert found.losses[1] == Losses(arrivals=200, lost=15, trials=5, repeated=15)


def test_a_busy_machine_is_not_called_quiet():
    assert not compare_loaded([replace(each, others=0.3) for each in rounds()], NOTHING).quiet
    assert compare_loaded([replace(each, others=None) for each in rounds()], NOTHING).others is None
    found = compare_loaded([replace(each, client_others=0.3) for each in rounds()], NOTHING)
    assert not found.quiet and (found.others, found.client_others) == pytest.approx((0.02, 0.3))


def test_rounds_may_come_in_any_order_and_are_data_for_json():
    given = rounds()
    found = compare_loaded(given, NOTHING)
    assert compare_loaded(given[::-1], NOTHING) == found
    json.dumps(found.as_dict(), allow_nan=False)
    json.dumps(compare_loaded(rounds(3), NOTHING).as_dict(), allow_nan=False)


def test_rounds_that_are_none_are_refused():
    with pytest.raises(ValueError, match="no rounds"):
        compare_loaded([])
    with pytest.raises(ValueError, match="twins"):
        compare_loaded([LoadedRound(np.ones(3), np.ones(2), 0.0)])


def test_the_jackknife_of_a_mean_is_students_interval_where_rounds_are_far_apart():
    values = np.random.default_rng(1).normal(0, 1, 12)
    found = jackknife(np.mean, values, np.arange(12) * 1e6)
    assert found.error == pytest.approx(1.05 * values.std(ddof=1) / np.sqrt(12)) and found.freedom == 11


def test_rounds_that_are_near_and_alike_are_charged_for():
    values = np.repeat([1.0, -1.0, 0.5, -0.5], 5) + np.random.default_rng(1).normal(0, 0.05, 20)
    near, far = (jackknife(np.mean, values, np.arange(20) * gap) for gap in (5.0, 600.0))
    assert near.error > 1.5 * far.error


# Without the shared step ------------------------------------------------------------------------------------------


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
    assert enough(covered) and not too_many(covered, 0.98), covered
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


def test_an_estimate_has_an_interval_at_any_confidence():
    found = Estimate(np.log(1.1), 0.02, np.inf)
    assert found.ratios(0.95) == pytest.approx((1.1 * np.exp(-0.0392), 1.1 * np.exp(0.0392)), rel=1e-4)
    assert found.half_width(0.99) > found.half_width(0.95)
    assert Estimate(0.0, 0.0, np.inf).interval() == (0.0, 0.0)
