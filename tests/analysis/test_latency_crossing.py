"""Where two arms are equally quick: on curves that are known, measured with noise at a few points."""

import json

import numpy as np
import pytest
from scipy import stats

from crossover.analysis.latency_crossing import find_crossing, find_turns, holds_throughout, judge_point

DRAWS = 400


def measured(x, baseline, candidate, error=0.02, seed=1, unit=""):
    """The crossing of two arms whose latencies in ms are known to `error` of themselves at each point."""
    rng, both = np.random.default_rng(seed), np.array([baseline, candidate], float)
    both = both * np.exp(rng.normal(0, error, both.shape))
    drawn = both * np.exp(rng.normal(0, error, (DRAWS, *both.shape)))
    logs, half = np.log(both[1] / both[0]), 1.96 * error * np.sqrt(2)
    sides = [judge_point(*np.exp([log, log - half, log + half])) for log in logs]
    return find_crossing(x, both[1] - both[0], sides, drawn[:, 1] - drawn[:, 0], unit)


def test_ratios_with_a_step_say_no_more_than_between_which_points():
    """1.3, 1.3, 0.7, 0.7 at 1, 2, 4, 8 gave "2.69 (2.66 to 2.72)"."""
    found = measured([1, 2, 4, 8], [10, 10, 10, 10], [13, 13, 7, 7], error=0.002)
    assert found.x == pytest.approx(3, abs=0.1) and (found.low, found.high) == pytest.approx((2, 4), abs=0.05)


def test_over_a_link_it_is_the_additive_laws():
    """602 and 201 KB, ratios of 1.11 at 1000 and 0.78 at 100 Mbit/s, at 10 as the law says. Log x gave 507."""
    x = np.array([10, 100, 1000])
    baseline, candidate = 53.7 + 4816 / x, 63.3 + 1608 / x
    found = measured(x, baseline, candidate, error=0.002, unit="Mbit/s")
    assert found.x == pytest.approx(334, rel=0.03) and found.low < 334 < found.high < 400
    assert found.law == "a + b / x"


def test_what_grows_with_the_input_is_linear_in_it():
    x = np.array([0.2, 1.1, 2.1, 12.2])
    found = measured(x, 50 + 8 * x, 60 + 5 * x, error=0.002)
    assert found.x == pytest.approx(10 / 3, rel=0.1) and found.low < 10 / 3 < found.high
    assert found.law == "a + b x"


@pytest.mark.parametrize(
    ("unit", "curve"),
    [
        ("", lambda x: (20 + 3 * x, 30 + 1.0 * x)),
        ("", lambda x: (20 + 0.25 * x**2, 30 + 0.5 * x)),
        ("", lambda x: (20 + 8 * np.sqrt(x), 34 + 0 * x)),
        ("Mbit/s", lambda x: (20 + 90 / x, 35 + 30 / x)),
        ("Mbit/s", lambda x: (20 + 90 / x + 30 / x**2, 35 + 30 / x)),
    ],
    ids=["linear", "quadratic", "root", "link", "link with a queue"],
)
@pytest.mark.parametrize("error", [0.01, 0.05])
def test_an_interval_holds_the_crossing_whatever_the_curve(unit, curve, error):
    fine, x = np.linspace(1, 12, 100_001), np.array([1.0, 2.0, 6.0, 12.0])
    truth = fine[np.abs(np.subtract(*curve(fine))).argmin()]
    found = [each for seed in range(200) if (each := measured(x, *curve(x), error, seed, unit))]
    hits = sum(each.low <= truth <= each.high for each in found)
    assert len(found) > 100 and stats.binom.cdf(hits, len(found), 0.95) > 1e-3, f"{hits} of {len(found)}"


def test_a_point_near_the_crossing_narrows_the_interval():
    """By the line through it and its neighbour alone, which says little, the interval was more than twice as wide."""
    widths = []
    for points in ([1, 2, 6, 12], [1, 2, 5.5, 6, 12]):
        x = np.array(points, float)
        found = [each for seed in range(60) if (each := measured(x, 20 + 3 * x, 30 + x, 0.03, seed))]
        widths.append(np.median([each.high - each.low for each in found]))
    assert widths[1] < widths[0]


def test_two_points_alone_say_no_more_than_that_it_lies_between_them():
    found = measured([1, 4], [10, 10], [14, 7], error=0.005)
    assert (found.low, found.high) == pytest.approx((1, 4)) and found.x == pytest.approx(2.7, abs=0.1)


def test_its_interval_narrows_with_the_error():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    near, far = (measured(x, 20 + 3 * x, 29 + 0 * x, error) for error in (0.005, 0.03))
    assert near.low < 3 < near.high and near.high - near.low < (far.high - far.low) / 2


def test_exchanged_arms_cross_at_the_same_place():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    drawn = np.random.default_rng(1).normal(0, 0.5, (DRAWS, 4)) + 9 - 3 * x
    sides = ["baseline", "baseline", "candidate", "candidate"]
    one = find_crossing(x, 9 - 3 * x, sides, drawn)
    other = find_crossing(x, 3 * x - 9, sides[::-1], -drawn)
    assert one == other


def test_undecided_points_between_belong_to_the_interval():
    found = measured([1, 2, 4, 8], [20, 20, 20, 20], [26, 20.2, 19.9, 14], error=0.01)
    assert 1 <= found.low < 2.5 and 3.5 < found.high <= 8


def test_what_is_within_the_margin_is_no_side():
    """1.005 to 0.995 gave "the client is quicker below 2.8"."""
    assert judge_point(1.005, 1.003, 1.007) == judge_point(0.995, 0.993, 0.997) == ""
    assert measured([1, 2, 4, 8], [200] * 4, [201, 200.6, 199.5, 199], error=0.0001) is None


def test_a_side_is_certain_and_material():
    assert judge_point(1.2, 1.1, 1.3) == "baseline" and judge_point(0.8, 0.7, 0.9) == "candidate"
    assert judge_point(1.2, 0.9, 1.6) == judge_point(1.2, None, None) == ""
    assert judge_point(1.2, 1.1, 1.3, margin=0.25) == ""


@pytest.mark.parametrize("values", [[13, 7, 13], [13, 10, 7, 10, 13], [13, 13, 13], [10, 10, 10]])
def test_where_it_turns_more_than_once_or_never_there_is_no_one_crossing(values):
    assert measured(2.0 ** np.arange(len(values)), [10] * len(values), values, error=0.005) is None


def test_turns_are_between_decided_points():
    assert find_turns(["", "baseline", "", "candidate", "", "baseline"]) == [(1, 3), (3, 5)]


def test_throughout_is_said_of_enough_points_and_of_all_of_them():
    assert holds_throughout(["baseline"] * 3, 3)
    assert not holds_throughout(["baseline"], 1) and not holds_throughout(["baseline"], 4)
    assert not holds_throughout(["baseline"] * 3, 4) and not holds_throughout(["baseline", "", "baseline"], 3)
    assert not holds_throughout(["baseline", "baseline", "candidate"], 3) and not holds_throughout([""] * 3, 3)


@pytest.mark.parametrize("x", [[0, 1], [2, 1], [1, 1]])
def test_points_that_do_not_ascend_are_refused(x):
    with pytest.raises(ValueError, match="ascend"):
        find_crossing(x, [1, -1], ["baseline", "candidate"], np.zeros((3, 2)))


def test_a_crossing_is_data_for_json():
    found = measured([1, 2, 4, 8], [10] * 4, [13, 13, 7, 7])
    assert set(json.loads(json.dumps(found.as_dict()))) == {"x", "low", "high", "law"}
