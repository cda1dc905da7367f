"""The jackknife over rounds that follow each other quickly, and the line through a covariate."""

import numpy as np
import pytest

from crossover.analysis.estimate import Estimate
from crossover.analysis.jackknife import LEAST_ROUNDS, correlate, find_slope, jackknife, predict


def test_the_line_is_read_off_where_it_is_asked_for():
    speeds = np.array([-0.2, 0.1, 0.4, 0.5])
    assert predict(0.3 + 2 * speeds, speeds, 0.0) == pytest.approx(0.3)
    assert predict(0.3 + 2 * speeds, speeds, 0.1) == pytest.approx(0.5)


def test_the_jackknife_of_a_mean_is_students_interval_where_rounds_are_far_apart():
    values = np.random.default_rng(1).normal(0, 1, 12)
    found = jackknife(np.mean, values, np.arange(12) * 1e6)
    assert found.error == pytest.approx(1.05 * values.std(ddof=1) / np.sqrt(12)) and found.freedom == 11


def test_rounds_that_are_near_and_alike_are_charged_for():
    values = np.repeat([1.0, -1.0, 0.5, -0.5], 5) + np.random.default_rng(1).normal(0, 0.05, 20)
    near, far = (jackknife(np.mean, values, np.arange(20) * gap) for gap in (5.0, 600.0))
    assert near.error > 1.5 * far.error


@pytest.mark.parametrize("first", [1, LEAST_ROUNDS, 10])
def test_rounds_of_a_continued_run_are_unrelated_to_those_before(first):
    """The same values, with a day between the first ones and the rest: the interval is narrower."""
    values = np.repeat([1.0, -1.0, 0.5, -0.5], 5)
    instants = np.arange(20) * 5.0
    together = jackknife(np.mean, values, instants)
    apart = jackknife(np.mean, values, instants + 86400.0 * (np.arange(20) >= first))
    assert apart.value == together.value and apart.error < together.error


def test_fewer_rounds_than_the_least_have_an_estimate_and_no_interval():
    values = np.arange(1.0, LEAST_ROUNDS + 1)
    few, enough = (jackknife(np.mean, values[:n], np.arange(n) * 5.0) for n in (LEAST_ROUNDS - 1, LEAST_ROUNDS))
    assert few.value == values[:-1].mean() and few.error == np.inf
    assert np.isfinite(enough.error)


def test_a_covariate_costs_a_degree_of_freedom():
    values = np.arange(8.0)
    found = jackknife(lambda ms, speeds: float((ms - speeds).mean()), values, values * 5, values / 2)
    assert (found.value, found.freedom) == (1.75, 6)


def test_what_does_not_vary_has_no_correlation_and_no_slope():
    varied, flat = np.array([1.0, 2.0, 4.0]), np.ones(3)
    assert correlate(varied, 3 - 2 * varied) == pytest.approx(-1)
    assert correlate(varied, flat) is correlate(flat, varied) is correlate(varied[:2], varied[:2]) is None
    assert find_slope(varied, flat) == 0


def test_an_estimate_has_an_interval_at_any_confidence():
    found = Estimate(np.log(1.1), 0.02, np.inf)
    assert found.ratios(0.95) == pytest.approx((1.1 * np.exp(-0.0392), 1.1 * np.exp(0.0392)), rel=1e-4)
    assert found.half_width(0.99) > found.half_width(0.95)
    assert Estimate(0.0, 0.0, np.inf).interval() == (0.0, 0.0)
