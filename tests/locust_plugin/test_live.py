"""Laws of the live view: the figures of a run's row, on a virtual clock."""

import numpy as np
import pytest

from loadgen.locust_plugin.histograms import STAGES
from loadgen.locust_plugin.live_view import (
    LATE,
    RUNS_PER_ARM,
    SECOND,
    WINDOW,
    LiveRun,
    describe_findings,
)
from loadgen.samples.sample import COMPLETED, DROPPED, FAILED, REJECTED, TIMED_OUT, UNFINISHED, Sample
from loadgen.samples.verdict import Finding, Validity

MS = 10**6
RATE, SECONDS = 50, 60
DUES = np.arange(RATE * SECONDS) / RATE


def sample(due: float, lag=0.2, wait=1.0, prepare=4.6, server=12.3, status=COMPLETED) -> Sample:
    """Due in seconds, the stages in ms; lag is part of wait."""
    instants = np.cumsum([due * 1e3, wait, prepare, server]) * MS
    due, began, prepared, done = map(round, instants.tolist())
    return Sample(0, 0, due, due + round(lag * MS), began, prepared, prepared, done, status)


def live_at(now: float, dues=DUES, of=sample, **stages) -> LiveRun:
    """A run in which everything answered by `now` seconds has been reported."""
    live = LiveRun("arm", dues, SECONDS)
    for each in (of(due, **stages) for due in DUES):
        if each.done <= now * SECOND:
            live.add(each)
    return live


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr(LiveRun, "runs", [])
    monkeypatch.setattr(LiveRun, "_begun", 0)
    return LiveRun.runs


def test_a_row_says_why_a_run_is_invalid():
    findings = [Finding("errors", "3 failed of 40", "none", ""), Finding("dispatch lag", "p99 9 ms", "1 ms", "")]
    assert describe_findings(Validity(tuple(findings))) == "INVALID: errors: 3 failed of 40; dispatch lag: p99 9 ms"


def test_rates_are_those_of_the_last_ten_seconds():
    row = live_at(31).row(31 * SECOND)
    assert (row["offered"], row["completed"]) == (RATE, RATE)


def test_rates_are_right_from_the_first_seconds_on():
    row = live_at(3).row(3 * SECOND)
    assert row["offered"] == pytest.approx(RATE, abs=1)
    assert row["completed"] == pytest.approx(RATE, abs=1)


def test_before_anything_can_be_known_the_row_is_empty_and_not_an_error():
    for now in (0, LATE, -SECOND):
        row = LiveRun("arm", DUES, SECONDS).row(now)
        assert (row["offered"], row["completed"], row["in_flight"]) == (None, None, 1 if now == LATE else 0)
        assert row["latency_p50"] is None


def test_in_flight_is_what_is_due_and_not_finished_wherever_it_waits():
    row = live_at(31, server=500).row(31 * SECOND)
    assert row["in_flight"] == pytest.approx(RATE * 0.5056, abs=1)


def test_samples_that_come_up_to_a_second_late_change_neither_rates_nor_what_is_in_flight():
    assert live_at(30).row(31 * SECOND) == live_at(31).row(31 * SECOND)


def test_stages_are_told_to_within_a_third_of_a_percent():
    row = live_at(31).row(31 * SECOND)
    for stage, ms in zip(STAGES, (0.2, 1.0, 4.6, 12.3, 17.9), strict=True):
        assert row[f"{stage}_p50"] == pytest.approx(ms, rel=3e-3)


def test_the_99th_percentile_is_that_of_the_slowest_hundredth():
    row = live_at(31, of=lambda due: sample(due, lag=7 if due % 1 == 0 else 0.1, wait=7)).row(31 * SECOND)
    assert row["lag_p50"] == pytest.approx(0.1, rel=3e-3)
    assert row["lag_p99"] == pytest.approx(7, rel=3e-3)


def test_a_row_forgets_what_is_older_than_the_window():
    for now, slowest in ((30, 906), (32, 14.6)):
        row = live_at(now, of=lambda due: sample(due, server=900 if due < 20 else 9)).row(now * SECOND)
        assert row["latency_p99"] == pytest.approx(slowest, rel=3e-3)


def test_what_went_wrong_is_counted_from_the_start_and_has_no_part_in_the_stages():
    live = live_at(31)
    for status, times in ((FAILED, 4), (REJECTED, 3), (TIMED_OUT, 2), (DROPPED, 1)):
        for _ in range(times):
            live.add(sample(5, server=9000, status=status))
    row = live.row(31 * SECOND)
    assert [row[name] for name in ("failed", "rejected", "timed_out", "dropped")] == [4, 3, 2, 1]
    assert row["latency_p99"] < 20


def test_a_dropped_arrival_is_not_in_flight_and_its_lag_counts():
    live = LiveRun("arm", [1.0, 2.0], SECONDS)
    live.add(Sample(0, 0, due=SECOND, fired=SECOND + 3 * MS, status=DROPPED))
    row = live.row(5 * SECOND)
    assert (row["in_flight"], row["completed"]) == (1, 0)
    assert row["lag_p50"] == pytest.approx(3, rel=3e-3)


def test_a_closed_loop_offers_nothing_has_nothing_in_flight_and_never_lags():
    row = live_at(31, dues=None, lag=0).row(31 * SECOND)
    assert (row["offered"], row["in_flight"], row["completed"], row["lag_p99"]) == (None, None, RATE, 0)


def test_an_ended_run_tells_of_the_whole_of_it_and_stays_as_it_is():
    live = live_at(61, server=9)
    live.add(sample(59.99, server=2000))
    live.end(63 * SECOND)
    row = live.row(63 * SECOND)
    assert (row["offered"], row["in_flight"]) == (RATE, 0)
    assert row["completed"] == pytest.approx((len(DUES) + 1) / 61.9956, rel=1e-3)
    assert row["latency_p50"] == pytest.approx(14.6, rel=3e-3)
    live.add(sample(1))
    assert live.row(100 * SECOND) == row


def test_the_whole_of_a_run_counts_also_what_left_the_window_long_ago():
    live = live_at(61, of=lambda due: sample(due, server=10 if due < 36 else 100))
    live.end(61 * SECOND)
    assert live.row()["server_p50"] == pytest.approx(10, rel=3e-3)


def test_a_run_stopped_early_offered_what_was_due_until_then():
    live = live_at(20)
    for due in DUES[(DUES > 19.99) & (DUES <= 20)]:
        live.add(sample(due, status=UNFINISHED))
    live.end(21 * SECOND, stopped=20.0)  # what comes between is the time until every thread has ended
    row = live.row()
    assert (row["offered"], row["state"]) == (pytest.approx(RATE, rel=2e-3), "20, stopped, of 60")
    assert row["in_flight"] == 1  # due at 20 s sharp, and never finished


def test_a_run_that_a_fault_ended_was_not_stopped_by_its_user():
    states = []
    for broken in (False, True):
        live = live_at(20)
        live.end(21 * SECOND, stopped=20.0, broken=broken)
        states.append((live.state, live.row()["state"]))
    assert states == [("stopped", "20, stopped, of 60"), ("ended", "20, broken off, of 60")]


def test_the_row_of_an_ended_run_has_the_verdict_that_comes_after_its_end():
    live = live_at(61)
    live.end(61 * SECOND)
    live.verdict = "VALID up to p99"
    assert live.row()["verdict"] == "VALID up to p99"


def test_the_row_of_an_ended_run_has_the_percentiles_of_its_summary_and_names_those_of_too_few_answers():
    live, counts = LiveRun("arm", None, 60), (1, 5, 89, 460)
    few = []
    for count in counts:
        live = LiveRun("arm", None, 60)
        for i in range(count):
            live.add(sample(i / 100))
        few.append(live.row(6 * SECOND)["few"])
        live.end(60 * SECOND)
        live.settle({"p50": 14.61, "p90": 15.0, "p95": 68.5, "p99": None})
        row = live.row()
        assert (row["latency_p50"], row["latency_p95"], row["latency_p99"]) == (14.61, 68.5, None)
        assert row["few"] == few[-1]
    every = ["latency_p50", "latency_p95", "latency_p99"]
    assert few == [every, every, every[1:], []]


def test_memory_is_bounded_by_the_window():
    live = LiveRun("arm", None, 3600)
    for second in range(600):
        for tenth in range(10):
            live.add(sample(second + tenth / 10))
        assert len(live._recent) * SECOND <= WINDOW + 4 * LATE


def test_the_session_keeps_the_last_runs_of_every_arm_and_a_new_one_ends_those_before(session):
    for arm in ["a", *["b"] * (RUNS_PER_ARM + 2)]:
        live = LiveRun.begin(arm, DUES, SECONDS, 0)
    assert [(run.arm, run.number) for run in session] == [("a", 1), *(("b", n) for n in range(4, RUNS_PER_ARM + 4))]
    assert ["ended" in run.row(0)["state"] for run in session] == [True] * RUNS_PER_ARM + [False]
    assert live is session[-1]
