"""Loaded pairs, adjusted and plain, on simulated machines whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from crossover.analysis.estimate import Estimate
from crossover.analysis.loaded_pairs import LoadedRound, Losses, compare_loaded
from tests.simulations import coverage, worlds
from tests.simulations.coverage import holds_enough, holds_too_many
from tests.simulations.worlds import WORLDS

PHOTOGRAPHS, AA = WORLDS["photographs"], WORLDS["A/A"]


@pytest.mark.parametrize("name", ["photographs", "A/A", "server 10 % slower", "quiet, sd 5 %"])
def test_loaded_intervals_hold_the_truth_in_93_to_97_percent_of_comparisons(name):
    world = WORLDS[name]
    found = coverage.loaded(world, 20, 300, 1)
    for each in ([x.ratio for x in found], [x.plain for x in found]):
        covered = coverage.cover(each, worlds.loaded_truth(world))
        assert holds_enough(covered) and not holds_too_many(covered), covered


def test_the_networks_cpu_seconds_halve_the_interval_where_the_speed_wanders():
    found = coverage.loaded(PHOTOGRAPHS, 20, 100, 2)
    assert all(each.adjusted for each in found)
    halves = np.median([(each.ratio.half_width(), each.plain.half_width()) for each in found], axis=0)
    assert halves[0] < 0.04 and halves[0] < 0.6 * halves[1]


def test_an_arm_against_itself_has_a_winner_in_at_most_5_percent():
    found = coverage.cover([each.ratio for each in coverage.loaded(AA, 20, 300, 3)], 0.0)
    assert stats.binom.sf(found.winners - 1, found.total, 0.05) > coverage.ALPHA


def test_centring_the_covariate_would_be_caught():
    """The estimate keeps the speeds' noise, the interval loses it."""
    found = coverage.cover(coverage.centred(AA, 20, 200, 4), 0.0)
    assert not holds_enough(found, 0.8) and found.winners > found.total / 4


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
    assert found.why_plain == "the shared model's CPU seconds differ otherwise than in unloaded pairs"
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
    assert found.losses[1] == Losses(arrivals=200, lost=15, trials=5, repeated=15, attempts=25)
    assert not found.losses[1].are_in_every_trial


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
