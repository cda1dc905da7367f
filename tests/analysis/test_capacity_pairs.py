"""How many times the load one arm carries that the other does: on simulated queues, and on lines that are known."""

import json

import numpy as np
import pytest
from scipy import stats

from crossover.analysis.capacity_pairs import (
    FIRST,
    CapacityTurn,
    choose_rate,
    compare_capacities,
    find_larger,
)
from tests.simulations.capacity import LIMIT, QUEUES, capacity, simulate
from tests.simulations.coverage import cover

ALPHA = 1e-3


@pytest.mark.parametrize("scatter", QUEUES.values(), ids=list(QUEUES))
@pytest.mark.parametrize("factor", [1.0, 1.4])
def test_the_ratio_of_two_capacities_is_in_its_interval_in_93_to_97_percent_of_comparisons(scatter, factor):
    found = cover(
        [each.ratio for each in simulate(scatter, factor, 200, 20, 1)], capacity(scatter, factor) - capacity(scatter)
    )
    assert stats.binom.cdf(found.hits, found.total, 0.93) > ALPHA, found
    assert stats.binom.sf(found.hits - 1, found.total, 0.97) > ALPHA, found


def test_equal_arms_are_told_apart_in_at_most_five_percent():
    """A bisection of each arm told them apart in 10 to 58 %."""
    found = simulate(QUEUES["lognormal, cv 0.5"], 1.0, 300, 20, 2)
    apart = sum(bool(find_larger(each)) for each in found)
    assert stats.binom.sf(apart - 1, len(found), 0.05) > ALPHA


def test_an_arm_that_carries_half_as_much_again_is_found_in_most_comparisons():
    found = simulate(QUEUES["constant"], 1.5, 100, 20, 3)
    assert sum(find_larger(each) == "candidate" for each in found) > 90


def test_an_arms_own_capacity_is_in_its_interval():
    scatter = QUEUES["lognormal, cv 0.5"]
    found = cover([each.baseline for each in simulate(scatter, 1.0, 200, 20, 4)], capacity(scatter))
    assert stats.binom.cdf(found.hits, found.total, 0.92) > ALPHA, found


def turns(n=20, baseline=50.0, candidate=80.0, noise=0.0, seed=1) -> list[CapacityTurn]:
    """Percentiles that rise with the fourth power of the rate, from a limit of 100 ms at these capacities."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        rates = np.array([baseline, candidate]) * rng.lognormal(0, 0.1, 2)
        ms = 100 * (rates / [baseline, candidate]) ** 4 * rng.lognormal(0, noise, 2)
        found.append(CapacityTurn(*map(float, (*rates, *ms))))
    return found


def test_a_capacity_is_where_the_line_reaches_the_limit():
    found = compare_capacities(turns(), 100)
    assert (found.baseline.ratio, found.candidate.ratio) == pytest.approx((50, 80))
    assert found.ratio.ratio == pytest.approx(1.6) and find_larger(found) == "candidate"
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["turns"] == 19


def test_exchanged_arms_have_the_inverse_ratio():
    given = turns(noise=0.2)
    swapped = [
        CapacityTurn(each.candidate_rate, each.baseline_rate, each.candidate_ms, each.baseline_ms) for each in given
    ]
    low, high = compare_capacities(given, 100).ratio.ratios()
    assert compare_capacities(swapped, 100).ratio.ratios() == pytest.approx((1 / high, 1 / low))


def test_a_probe_that_broke_down_does_not_draw_the_line():
    given = turns()
    given[5] = CapacityTurn(90.0, 80.0, np.inf, 100.0)
    assert compare_capacities(given, 100).baseline.ratio == pytest.approx(50)


@pytest.mark.parametrize("given", [turns(11), turns(20, noise=0)[:3]])
def test_few_turns_have_no_interval(given):
    assert compare_capacities(given, 100).ratio.ratios() == (0, np.inf)


def test_an_arm_that_never_comes_near_the_limit_has_no_interval():
    given = [CapacityTurn(each.baseline_rate, each.candidate_rate, each.baseline_ms, 1.0) for each in turns()]
    found = compare_capacities(given, 100)
    assert found.ratio.ratios() == (0, np.inf) and find_larger(found) == ""
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("given", "limit", "says"),
    [
        (turns(1), 100, "two turns"),
        (turns(3), 0, "above 0"),
        ([*turns(2), CapacityTurn(0.0, 1.0, 1.0, 1.0)], 100, "above 0"),
    ],
)
def test_turns_that_are_none_are_refused(given, limit, says):
    with pytest.raises(ValueError, match=says):
        compare_capacities(given, limit)


def test_a_rate_goes_up_after_a_probe_within_the_limit_and_down_after_one_beyond():
    assert choose_rate(100, 40, LIMIT, 0) == pytest.approx(125) and choose_rate(100, 60, LIMIT, 0) == pytest.approx(80)
    assert choose_rate(100, 50, LIMIT, FIRST) == pytest.approx(110)
    assert choose_rate(choose_rate(100, np.inf, LIMIT, FIRST), 1, LIMIT, FIRST) == pytest.approx(100)
