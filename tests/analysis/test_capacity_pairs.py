"""How many times the load one arm carries that the other does: on simulated queues, and on lines that are known."""

import numpy as np
import pytest
from scipy import stats

from crossover.analysis.capacity_pairs import (
    FIRST,
    LEAST_TURNS,
    TURNS,
    CapacityTurn,
    choose_rate,
    compare_capacities,
)
from tests.simulations.capacity import QUEUES, Queue, cover_baseline, cover_ratio, simulate
from tests.simulations.coverage import Coverage

ALPHA = 1e-3
PHOTOGRAPHS = QUEUES["photographs, p90"]


def holds(found: Coverage, least: float) -> bool:
    return stats.binom.cdf(found.hits, found.total, least) > ALPHA


def told_apart(found: list) -> int:
    return sum(each.find_larger() is not None for each in found)


def test_the_ratio_and_an_arms_own_capacity_are_in_their_intervals_though_the_speed_wanders():
    """By 15 %, with a correlation time of 6 s. A bisection's "99 % confidence" held in 40 to 80 % of searches."""
    found = simulate(PHOTOGRAPHS, 1.3, 150, TURNS, 1)
    assert holds(cover_ratio(PHOTOGRAPHS, 1.3, found), 0.93)
    assert holds(cover_baseline(PHOTOGRAPHS, found), 0.92)
    assert sum(each.find_larger() == 1 for each in found) > 0.75 * len(found)
    assert not any(each.find_larger() == 0 for each in found)


@pytest.mark.parametrize("queue", [PHOTOGRAPHS, QUEUES["one probe in 20 is lucky"]], ids=["steady", "lucky"])
def test_equal_arms_are_told_apart_in_at_most_five_percent(queue):
    """A bisection of each arm told them apart in 10 to 58 %."""
    found = simulate(queue, 1.0, 200, TURNS, 2)
    assert stats.binom.sf(told_apart(found) - 1, len(found), 0.05) > ALPHA


@pytest.mark.long
@pytest.mark.parametrize("name", QUEUES)
@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_on_every_queue_intervals_hold_the_truth_and_equal_arms_are_not_told_apart(name, factor):
    queue: Queue = QUEUES[name]
    found = simulate(queue, factor, 400, LEAST_TURNS + 1, 3)
    assert holds(cover_ratio(queue, factor, found), 0.93) and holds(cover_baseline(queue, found), 0.92)
    if factor == 1:
        assert stats.binom.sf(told_apart(found) - 1, len(found), 0.05) > ALPHA


def turns(n=20, capacities=(50.0, 80.0), noise=0.0, seed=1) -> list[CapacityTurn]:
    """Percentiles that rise with the fourth power of the rate, from a limit of 100 ms at these capacities."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        rates = np.array(capacities) * rng.lognormal(0, 0.1, len(capacities))
        ms = 100 * (rates / capacities) ** 4 * rng.lognormal(0, noise, len(capacities))
        found.append(CapacityTurn(tuple(rates), tuple(ms)))
    return found


def ratios(found) -> list[float]:
    return [each.ratio for each in found.capacities]


def test_a_capacity_is_where_the_line_reaches_the_limit():
    found = compare_capacities(turns(), 100)
    assert ratios(found) == pytest.approx([50, 80])
    assert found.ratios[0].ratio == pytest.approx(1.6) and found.find_larger() == 1
    assert found.turns == 19 and found.confidence == pytest.approx(0.95)


@pytest.mark.parametrize("capacities", [(50.0,), (50.0, 80.0, 40.0)])
def test_any_number_of_arms_has_capacities_and_each_is_compared_to_the_first(capacities):
    found = compare_capacities(turns(capacities=capacities), 100)
    assert ratios(found) == pytest.approx(capacities)
    assert [each.ratio for each in found.ratios] == pytest.approx([each / 50 for each in capacities[1:]])


def test_several_ratios_hold_the_truth_together():
    found = compare_capacities(turns(capacities=(50.0, 80.0, 40.0)), 100)
    assert found.confidence == pytest.approx(0.975)
    assert (found.find_larger(1), found.find_larger(2)) == (1, 0)


def test_exchanged_arms_have_the_inverse_ratio():
    given = turns(noise=0.2)
    swapped = [CapacityTurn(each.rates[::-1], each.percentiles_ms[::-1]) for each in given]
    low, high = compare_capacities(given, 100).ratios[0].ratios()
    assert compare_capacities(swapped, 100).ratios[0].ratios() == pytest.approx((1 / high, 1 / low))


def test_a_probe_that_broke_down_does_not_draw_the_line():
    given = turns()
    given[5] = CapacityTurn((90.0, 80.0), (np.inf, 100.0))
    assert ratios(compare_capacities(given, 100)) == pytest.approx([50, 80])


def test_a_lucky_probe_moves_a_capacity_by_less_than_its_interval():
    """It was final: a bisection that passed once at 1.3 times the capacity stayed above that."""
    given = turns(noise=0.1)
    given[7] = CapacityTurn((65.0, given[7].rates[1]), (60.0, given[7].percentiles_ms[1]))
    found = compare_capacities(given, 100).capacities[0]
    low, high = found.ratios()
    assert low < 50 < high and found.ratio < 53


@pytest.mark.parametrize("given", [turns(LEAST_TURNS), turns(3)])
def test_few_turns_have_no_interval(given):
    found = compare_capacities(given, 100)
    assert found.ratios[0] is None or found.ratios[0].ratios() == (0, np.inf)
    assert found.find_larger() is None


@pytest.mark.parametrize("ms", [1.0, 90.0, 110.0, np.inf])
def test_an_arm_whose_probes_were_all_on_one_side_of_the_limit_has_no_capacity(ms):
    given = [CapacityTurn(each.rates, (each.percentiles_ms[0], ms)) for each in turns()]
    found = compare_capacities(given, 100)
    assert found.capacities[1] is None and found.ratios == (None,) and found.find_larger() is None
    assert found.capacities[0].ratio == pytest.approx(50)


@pytest.mark.parametrize(
    ("given", "limit", "says"),
    [
        (turns(1), 100, "two turns"),
        (turns(3), 0, "above 0"),
        ([*turns(2), CapacityTurn((0.0, 1.0), (1.0, 1.0))], 100, "above 0"),
    ],
)
def test_turns_that_are_none_are_refused(given, limit, says):
    with pytest.raises(ValueError, match=says):
        compare_capacities(given, limit)


def test_a_rate_goes_up_after_a_probe_within_the_limit_and_down_after_one_beyond():
    assert choose_rate(100, 40, 50, 0) == pytest.approx(125) and choose_rate(100, 60, 50, 0) == pytest.approx(80)
    assert choose_rate(100, 50, 50, FIRST) == pytest.approx(110)
    assert choose_rate(choose_rate(100, np.inf, 50, FIRST), 1, 50, FIRST) == pytest.approx(100)
