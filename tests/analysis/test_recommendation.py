"""The rule of the recommendation, what it costs to look more than once, and prices."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from crossover.analysis import looks
from crossover.analysis.costs import Costs, Prices, Spent, compare_costs, parse_prices
from crossover.analysis.estimate import Estimate
from crossover.analysis.recommendation import (
    BETTER,
    CHEAPER,
    EQUIVALENT,
    UNDECIDED,
    advise,
    find_cheaper,
    predict,
    recommend,
)
from tests.simulations import verdicts
from tests.simulations.worlds import AA

ALPHA = 1e-3
MEASURED = [270.0]


def between(low: float, high: float) -> Estimate:
    """With the interval from low to high at a first look."""
    half = np.log(high / low) / 2
    return Estimate(np.log(low * high) / 2, half / stats.norm.ppf(0.98), np.inf)


def costing(ratio: float, error: float = 0.0) -> Costs:
    return Costs(1.0, ratio, Estimate(np.log(ratio), error, np.inf), Prices(), True)


DEAR, SAME, CHEAP = costing(2.0), costing(1.02), costing(0.5)


@pytest.mark.parametrize(
    ("low", "high", "costs", "kind", "choice"),
    [
        (1.06, 1.20, None, BETTER, "baseline"),
        (1.06, 1.20, CHEAP, BETTER, "baseline"),
        (0.80, 0.94, DEAR, BETTER, "candidate"),
        (0.95, 1.04, CHEAP, CHEAPER, "candidate"),
        (1.01, 1.04, CHEAP, CHEAPER, "candidate"),
        (0.80, 1.04, CHEAP, CHEAPER, "candidate"),
        (0.97, 1.20, DEAR, CHEAPER, "baseline"),
        (0.97, 1.04, None, EQUIVALENT, ""),
        (0.97, 1.04, SAME, EQUIVALENT, ""),
        (1.01, 1.04, None, EQUIVALENT, ""),
        (1.045, 1.20, None, BETTER, "baseline"),
        (0.97, 1.055, CHEAP, CHEAPER, "candidate"),
        (0.955, 1.055, None, EQUIVALENT, ""),
        (0.97, 1.06, CHEAP, UNDECIDED, ""),
        (0.94, 1.04, DEAR, UNDECIDED, ""),
        (1.02, 1.10, None, UNDECIDED, ""),
        (0.70, 1.40, CHEAP, UNDECIDED, ""),
    ],
)
def test_every_interval_has_its_verdict(low, high, costs, kind, choice):
    found = recommend(between(low, high), MEASURED, costs)
    assert (found.kind, found.choice) == (kind, choice)
    assert (found.low, found.high) == pytest.approx((low, high))
    # The one-sided bounds at 96 % are the ends of the 92 % interval.
    share = stats.norm.ppf(0.96) / stats.norm.ppf(0.98)
    assert np.log(found.at_most / found.at_least) == pytest.approx(share * np.log(high / low), rel=1e-3)
    json.dumps(found.as_dict(), allow_nan=False)


def test_what_is_quicker_by_less_than_the_margin_is_told_without_a_recommendation():
    assert recommend(between(1.02, 1.10), MEASURED).quicker == "baseline"
    assert recommend(between(0.98, 1.10), MEASURED).quicker == ""


def test_exchanged_arms_have_the_exchanged_recommendation():
    other = {"baseline": "candidate", "candidate": "baseline", "": ""}
    for low, high in ((1.06, 1.2), (0.95, 1.04), (0.8, 1.04), (0.97, 1.2)):
        for cost in (0.5, 1.0, 2.0):
            one = recommend(between(low, high), MEASURED, costing(cost))
            two = recommend(between(1 / high, 1 / low), MEASURED, costing(1 / cost))
            assert (two.kind, two.choice) == (one.kind, other[one.choice])


def test_the_margin_is_the_callers():
    assert recommend(between(0.92, 1.09), MEASURED, margin=0.1).kind == EQUIVALENT
    with pytest.raises(ValueError, match="margin"):
        recommend(between(0.9, 1.1), MEASURED, margin=0)


def test_without_an_interval_nothing_is_decided_or_advised():
    found = recommend(Estimate(0.2, np.inf, 3), MEASURED, CHEAP)
    assert (found.kind, found.low, found.high, found.more_seconds) == (UNDECIDED, 0, np.inf, None)


# Costs ------------------------------------------------------------------------------------------------------------


def test_only_what_is_cheaper_for_certain_and_by_more_than_the_margin_counts():
    assert find_cheaper(costing(0.5), 0.96, 0.05) == "candidate"
    assert find_cheaper(costing(2.0), 0.96, 0.05) == "baseline"
    assert find_cheaper(costing(0.97), 0.96, 0.05) == ""
    assert find_cheaper(costing(0.9, 0.1), 0.96, 0.05) == ""
    assert find_cheaper(Costs(1, 0.5, Estimate(-1, 0, np.inf), Prices(), False), 0.96, 0.05) == ""
    assert find_cheaper(None, 0.96, 0.05) == ""


def test_costs_are_cpu_hours_and_gigabytes_at_their_prices():
    prices = Prices(client=0.036, server=0.072, gb=0.1)
    assert Spent(0.01, 0.05, 1e5).cost(prices) == pytest.approx(0.1 + 1.0 + 10.0)
    assert Spent(0.01, None, 1e5).cost(prices) == pytest.approx(0.1 + 10.0)


def test_a_placement_that_moves_work_and_bytes_is_cheaper_with_an_interval():
    rng = np.random.default_rng(1)
    noise = rng.lognormal(0, 0.05, (20, 2))
    spent = [(Spent(0.03 * u, 0.08 * v, 6e5), Spent(0.005 * u, 0.09 * v, 2e5)) for u, v in noise]
    found = compare_costs(spent, np.arange(20) * 5.0, Prices())
    low, high = found.ratio.ratios()
    assert low < found.candidate / found.baseline < high < 0.5 and find_cheaper(found, 0.96, 0.05) == "candidate"
    json.dumps(found.as_dict(), allow_nan=False)
    assert (found.baseline_traffic, found.candidate_traffic) == pytest.approx((30, 10))
    assert found.candidate - found.candidate_traffic == pytest.approx(1e6 * 0.095 * 0.04 / 3600, rel=0.1)


def test_what_costs_nothing_is_cheaper_than_what_costs_something():
    spent = [(Spent(0.0, 0.0, 0.0), Spent(0.01, 0.0, 0.0))] * 8
    found = compare_costs(spent, range(8), Prices())
    assert found.ratio is None and find_cheaper(found, 0.96, 0.05) == "baseline"
    assert find_cheaper(compare_costs(spent, range(8), Prices(0, 0, 0)), 0.96, 0.05) == ""


def test_the_break_even_price_is_the_one_at_which_both_arms_cost_the_same():
    """A candidate with 2 ms more CPU and 100 kB less: 0.04 per core-hour buys them at 0.000222 of 10^9 bytes."""
    noise = np.random.default_rng(1).normal(0, 1e-4, (20, 2))
    spent = [(Spent(0.010 + a, 0.020, 700e3), Spent(0.002 + b, 0.030, 600e3)) for a, b in noise]
    found = compare_costs(spent, np.arange(20) * 5.0, Prices())
    low, high = found.break_even_gb.interval()
    assert low < 1e6 * 0.002 / 3600 * 0.04 / (1e6 * 100e3 / 1e9) < high < 1.2 * low
    at = compare_costs(spent, np.arange(20) * 5.0, Prices(gb=found.break_even_gb.value))
    assert at.candidate == pytest.approx(at.baseline)
    assert found.as_dict()["break_even_gb"]["value"] == found.break_even_gb.value
    # A cheaper arm with fewer bytes is cheaper at any price; with as many bytes, or bytes of either sign, none decides.
    cheap = [(first, replace(second, server_cpu=0.005)) for first, second in spent]
    assert compare_costs(cheap, range(20), Prices()).break_even_gb.interval()[1] < 0
    same = [(first, replace(second, byte_count=700e3)) for first, second in spent]
    assert compare_costs(same, range(20), Prices()).break_even_gb is None
    unknown = [(replace(first, server_cpu=None), second) for first, second in spent]
    assert compare_costs(unknown, range(20), Prices()).as_dict()["break_even_gb"] is None


def test_prices_are_read_by_name():
    assert parse_prices("cpu=0.1,gb=0.2") == Prices(0.1, 0.1, 0.2)
    assert parse_prices("client=0, cpu=0.1") == Prices(0, 0.1, Prices().gb)
    assert parse_prices("gb=1e-3").gb == 1e-3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "unknown price ''"),
        ("cpu=cheap", "cpu=cheap is no number"),
        ("cpu", "the price cpu has no number"),
        ("gb=-1", "no number from 0 to 1000000"),
        ("gb=nan", "no number from 0 to 1000000"),
        ("gb=inf", "no number from 0 to 1000000"),
        ("cpu=1e308,gb=1e308", "cpu=1e308 is no number from 0 to 1000000"),
        ("disk=1", "unknown price 'disk'; there are cpu, client, server, gb"),
        ("gb=1,gb=2", "given twice"),
    ],
)
def test_prices_that_are_none_are_refused_in_one_line(text, says):
    with pytest.raises(ValueError, match=says) as refusal:
        parse_prices(text)
    assert "\n" not in str(refusal.value)


# Looking more than once -------------------------------------------------------------------------------------------


def test_all_looks_together_spend_five_percent():
    spent = [looks.spend(k) for k in range(1, 40)]
    assert spent[0] == pytest.approx(0.04) and all(np.diff(spent) > 0) and spent[-1] == pytest.approx(0.05)


def test_a_first_look_has_a_confidence_of_96_percent():
    assert looks.confidence([270]) == pytest.approx(0.96)


@pytest.mark.parametrize("factor", [1.3, 2, 5])
def test_the_second_limit_is_that_of_the_joint_normal_distribution(factor):
    first, second = looks.limits([1, factor])
    related = 1 / np.sqrt(factor)
    joint = stats.multivariate_normal(cov=[[1, related], [related, 1]])
    inside = joint.cdf([first, second], lower_limit=[-first, -second])
    assert 1 - inside == pytest.approx(looks.spend(2), abs=1e-5)


def test_four_looks_are_beyond_their_limits_in_five_percent_of_walks():
    at = np.array([1, 1.5, 3, 4])
    steps = np.random.default_rng(1).normal(size=(200_000, 4)) * np.sqrt(np.diff(at, prepend=0))
    beyond = (np.abs(steps.cumsum(1)) / np.sqrt(at) > looks.limits(at)).any(1)
    assert beyond.mean() == pytest.approx(looks.spend(4), abs=0.002)


def test_the_unit_of_information_does_not_matter():
    assert looks.limits([1, 2, 5]) == pytest.approx(looks.limits([60, 120, 300]))


@pytest.mark.parametrize("information", [[], [0], [-1], [2, 2], [3, 1]])
def test_looks_that_add_nothing_are_refused(information):
    with pytest.raises(ValueError, match="grow"):
        looks.confidence(information)


def test_following_the_advice_finds_a_false_winner_in_at_most_five_percent():
    found = verdicts.simulate(0.0, 0.16, 250, seed=1)
    wrong = sum(each.false_winner for each in found)
    assert stats.binom.sf(wrong - 1, len(found), 0.05) > ALPHA
    assert any(len(each.verdicts) > 2 for each in found)


def test_looking_on_without_paying_for_it_would_be_caught(monkeypatch):
    monkeypatch.setattr(looks, "confidence", lambda information, alpha=0.05: 1 - alpha)
    found = verdicts.simulate(0.0, 0.16, 400, seed=2, stop=False)
    assert stats.binom.sf(sum(each.false_winner for each in found) - 1, len(found), 0.05) < ALPHA


def test_five_looks_whatever_they_say_find_a_false_winner_in_at_most_five_percent():
    found = verdicts.simulate(0.0, 0.16, 250, seed=2, stop=False)
    assert max(len(each.verdicts) for each in found) == 5
    assert stats.binom.sf(sum(each.false_winner for each in found) - 1, len(found), 0.05) > ALPHA


def test_on_a_simulated_machine_five_looks_find_a_false_winner_in_at_most_five_percent():
    found = verdicts.simulate_machine(AA, 100, seed=5, stop=False)
    assert max(len(each.verdicts) for each in found) >= 4
    assert stats.binom.sf(sum(each.false_winner for each in found) - 1, len(found), 0.05) > ALPHA


@pytest.mark.parametrize("costs", [None, verdicts.CHEAP], ids=["no costs", "half price"])
@pytest.mark.parametrize("truth", [1.049, 1.051])
def test_at_the_margin_a_verdict_is_false_in_at_most_five_percent(truth, costs):
    """Just within, nothing is better; just beyond, nothing is equivalent or no worse."""
    found = verdicts.simulate(np.log(truth), 0.1, 400, seed=3, costs=costs)
    assert stats.binom.sf(sum(each.false_verdict for each in found) - 1, len(found), 0.05) > ALPHA


# Advice -----------------------------------------------------------------------------------------------------------


def test_the_time_advised_decides_in_about_half_of_the_comparisons_that_are_told_one():
    found = verdicts.simulate(None, 0.08, 400, seed=4, looks=2)
    told, decided = verdicts.advised(found)
    assert told > 80 and stats.binomtest(decided, told, 0.5).pvalue > ALPHA
    without = [each for each in found if each.verdicts[0].kind == UNDECIDED and not each.verdicts[0].more_seconds]
    assert without


def test_more_time_is_advised_where_the_noise_is_larger():
    times = [advise(Estimate(0.0, error, np.inf), MEASURED, "", 0.05) for error in (0.023, 0.028)]
    assert 0 < times[0] < times[1] and not times[0] % 30


def test_a_ratio_at_the_margin_is_not_promised_a_verdict():
    assert advise(Estimate(np.log(1.05), 0.01, np.inf), MEASURED, "", 0.05) is None


def test_the_chance_of_a_verdict_grows_with_the_time():
    chances = [predict(Estimate(0.0, 0.03, 19.0), MEASURED, "", 0.05, factor) for factor in (1.5, 3.0, 6.0)]
    assert chances[0] < chances[1] < chances[2]
