"""What an arm's metrics count: every sample once, and what is due, fired and in flight at an instant."""

from itertools import pairwise

import numpy as np
import pytest

from loadgen.metrics.arm_metrics import LAG_BOUNDS, LATENCY_BOUNDS, ArmMetrics, Histogram
from loadgen.samples.sample import COMPLETED, DROPPED, REJECTED, UNFINISHED, Sample
from loadgen.samples.verdict import Finding, Validity

SECOND = 10**9
DUES = np.array([0.0, 1.0, 2.0, 3.0])
VALID = Validity(())


class Clock:
    """A run that has come so far."""

    def __init__(self, elapsed=0.0, fired=0):
        self.elapsed, self.fired = round(elapsed * SECOND), fired

    def at(self, elapsed, fired):
        self.elapsed, self.fired = round(elapsed * SECOND), fired


def sample(index, status=COMPLETED, lag=0.001, latency=0.25):
    due = index * SECOND
    fired = 0 if lag is None else due + round(lag * SECOND)
    return Sample(index, 0, due, fired=fired, done=due + round(latency * SECOND), status=status)


def test_due_and_fired_follow_the_clock_and_in_flight_is_what_has_not_ended():
    arm, run = ArmMetrics(), Clock()
    arm.begin(DUES, run)
    assert (arm.due, arm.fired, arm.in_flight) == (1, 0, 0)
    run.at(2.5, fired=3)
    arm.add(sample(0))
    assert (arm.due, arm.fired, arm.in_flight, arm.active) == (3, 3, 2, True)


def test_after_a_run_due_is_what_the_books_hold_and_nothing_is_in_flight():
    arm, run = ArmMetrics(), Clock(9, fired=3)
    arm.begin(DUES, run)
    for each in (sample(0), sample(1, REJECTED), sample(2, UNFINISHED), sample(3, UNFINISHED, lag=None)):
        arm.add(each)
    arm.end(VALID)
    assert (arm.due, arm.fired, arm.in_flight, arm.active) == (4, 3, 0, False)
    assert arm.due == sum(arm.finished.values())


def test_runs_of_an_arm_add_up_and_no_counter_ever_falls():
    arm, seen = ArmMetrics(), []
    for _ in range(2):
        run = Clock()
        arm.begin(DUES, run)
        for index in range(4):
            run.at(index, fired=index + 1)
            seen.append((arm.due, arm.fired))
            arm.add(sample(index))
        arm.end(VALID)
        seen.append((arm.due, arm.fired))
    assert seen == sorted(seen) and seen[-1] == (8, 8)
    assert arm.runs == {"VALID": 2, "INVALID": 0}


def test_what_a_lost_worker_fired_stays_counted():
    """Its arrivals are in the books as unfinished, and nobody knows which of them it had fired."""
    arm = ArmMetrics()
    arm.begin(DUES, Clock(9, fired=4))
    for index in range(4):
        arm.add(sample(index, UNFINISHED, lag=None if index else 0.0))
    arm.end(VALID)
    assert (arm.due, arm.fired, arm.in_flight) == (4, 4, 0)
    arm.begin(DUES, Clock(0, fired=1))
    assert (arm.fired, arm.in_flight) == (5, 1)


def test_a_closed_loop_has_no_due_times_so_what_is_fired_is_due():
    arm = ArmMetrics()
    arm.begin(None, Clock(3, fired=5))
    assert (arm.due, arm.fired) == (5, 5)


def test_the_lag_is_of_all_that_was_fired_and_the_latency_of_good_answers():
    arm = ArmMetrics()
    for each in (sample(0), sample(1, DROPPED), sample(2, REJECTED), sample(3, UNFINISHED, lag=None)):
        arm.add(each)
    assert arm.lag.buckets()[-1] == ("+Inf", 3.0)
    assert arm.latency.buckets()[-1] == ("+Inf", 1.0)
    assert arm.latency.sum == pytest.approx(0.25) and arm.lag.sum == pytest.approx(0.003)


def test_the_rules_that_a_run_broke_are_counted():
    arm, broken = ArmMetrics(), Validity((Finding("errors", "3 failed", "none", "mend"),))
    for verdict in (broken, VALID, broken):
        arm.begin(DUES, Clock())
        arm.end(verdict)
    assert arm.broken == {"errors": 2} and arm.valid is False and arm.runs == {"VALID": 1, "INVALID": 2}


def test_a_run_that_nobody_ended_is_ended_by_the_next():
    arm = ArmMetrics()
    arm.begin(DUES, Clock(1, fired=2))
    arm.add(sample(0))
    arm.begin(DUES, Clock())
    assert (arm.due, arm.fired, arm.in_flight) == (2, 2, 0)


def test_a_value_on_a_bound_is_in_its_bucket():
    """Prometheus: "le" means less or equal."""
    histogram = Histogram((0.1, 0.2))
    for value in (0.1, 0.15, 0.2, 0.3):
        histogram.observe(value)
    assert histogram.buckets() == [("0.1", 1), ("0.2", 3), ("+Inf", 4)]


@pytest.mark.parametrize("bounds", [LAG_BOUNDS, LATENCY_BOUNDS])
def test_buckets_ascend_and_no_step_is_larger_than_two_and_a_half(bounds):
    steps = [after / before for before, after in pairwise(bounds)]
    assert min(steps) > 1 and max(steps) <= 2.5 + 1e-9
