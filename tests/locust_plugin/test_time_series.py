"""Laws of the series behind the charts: on a virtual clock, hours in a second or two."""

import json

import numpy as np
import pytest

from loadgen.locust_plugin.live_view import KEPT, LATE, RUNS, LiveRun
from loadgen.locust_plugin.time_series import POINTS, RECENT, SECOND, TAIL, TimeSeries
from loadgen.samples.sample import COMPLETED, DROPPED, FAILED, REJECTED, TIMED_OUT, Sample
from tests.locust_plugin.test_live import DUES, MS, RATE, SECONDS, sample

EXACT = ("latency_p50", "latency_p95", "latency_p99")


def feed(live: LiveRun, dues, of) -> list[Sample]:
    """Samples in the order in which they finish."""
    made = sorted((of(due) for due in dues), key=lambda each: each.done or each.fired)
    for each in made:
        live.add(each)
    return made


def read(live: LiveRun, **arguments) -> dict:
    return json.loads(live.chart(**arguments))


def noisy(seed: int = 0):
    """Makes samples with latencies that differ, and now and then another end than an answer."""
    random = np.random.default_rng(seed)
    ends = [COMPLETED] * 16 + [REJECTED, FAILED, TIMED_OUT, DROPPED]
    return lambda due: sample(due, server=random.gamma(2, 40), status=random.choice(ends))


def counted(live: LiveRun, dues, of) -> tuple[dict, list[Sample]]:
    made = feed(live, dues, of)
    live.end(int((SECONDS + 3) * SECOND))
    return read(live), made


def test_every_second_has_the_percentiles_of_exactly_the_samples_that_finished_in_it():
    live = LiveRun("arm", DUES, SECONDS)
    chart, made = counted(live, DUES, noisy())
    for number, end in enumerate(chart["recent"]["t"]):
        within = [each for each in made if np.ceil(end) - 1 <= each.done / SECOND < np.ceil(end)]
        latencies = [each.latency * 1e3 for each in within if each.status == COMPLETED]
        if latencies:
            for name in EXACT:
                expected = np.percentile(latencies, float(name.partition("_p")[2]))
                assert chart["recent"][name][number] == pytest.approx(expected, rel=1e-3)


def test_the_points_of_the_whole_run_are_folds_over_samples_and_not_means_of_percentiles():
    seconds = POINTS * 3  # three seconds a point
    dues = np.arange(5 * seconds) / 5
    live = LiveRun("arm", dues, seconds)
    made = feed(live, dues, lambda due: sample(due, server=900 if due % 3 < 1 else 9))
    live.end((seconds + 3) * SECOND)
    whole = read(live)["whole"]
    assert whole["width"] == 3 and len(whole["t"]) <= POINTS + TAIL
    latencies = np.array([each.latency * 1e3 for each in made if 30 <= each.done / SECOND < 33])
    for name in EXACT:
        rank = np.sort(latencies)[int(np.ceil(float(name[9:]) / 100 * len(latencies))) - 1]
        assert whole[name][10] == pytest.approx(rank, rel=4e-3)
    assert whole["completed"][10] == pytest.approx(5, rel=0.1)
    assert whole["offered"][10] == 5


def test_all_that_ended_is_in_the_chart_once_by_how_it_ended():
    live = LiveRun("arm", DUES, SECONDS)
    chart, made = counted(live, DUES, noisy())
    rates = {"completed": {COMPLETED}, "refused": {REJECTED}, "lost": {FAILED, TIMED_OUT, DROPPED}}
    for name, statuses in rates.items():
        # The last point may be too short for a rate.
        within = [each for each in made if each.status in statuses and each.done < SECONDS * SECOND]
        assert sum(chart["recent"][name][:SECONDS]) == pytest.approx(len(within), abs=0.1)
    assert chart["recent"]["offered"][:SECONDS] == [RATE] * SECONDS
    assert chart["recent"]["in_flight"][-1] == 0


def test_in_flight_is_what_is_due_and_not_finished_at_the_end_of_each_second():
    live = LiveRun("arm", DUES, SECONDS)
    made = feed(live, DUES, lambda due: sample(due, server=700))
    live.end((SECONDS + 3) * SECOND)
    recent = read(live)["recent"]
    for end, shown in zip(recent["t"], recent["in_flight"], strict=True):
        true = sum(each.due <= end * SECOND for each in made) - sum(each.done < end * SECOND for each in made)
        assert abs(shown - true) <= 1  # what finished at the very end of a second belongs to the next


def test_a_closed_loop_has_no_offered_rate_and_nothing_in_flight():
    live = LiveRun("arm", None, SECONDS)
    feed(live, DUES[:500], sample)
    recent = read(live, now_ns=12 * SECOND)["recent"]
    assert set(recent["offered"]) == set(recent["in_flight"]) == {None}
    assert recent["completed"][5] == RATE


def test_asking_only_for_what_is_new_gives_the_same_chart_as_asking_for_all():
    live, known, since = LiveRun("arm", DUES, SECONDS), {}, 0
    of, rest = noisy(), list(DUES)
    for now in range(1, SECONDS + 2):
        while rest and rest[0] < now:
            live.add(of(rest.pop(0)))
        new = read(live, since=since, now_ns=now * SECOND)
        known = {t: each for t, each in known.items() if t <= since}
        known |= dict(zip(new["recent"]["t"], zip(*list(new["recent"].values())[1:], strict=True), strict=True))
        assert len(new["recent"]["t"]) <= KEPT + 2
        since = new["settled"]
    everything = read(live, now_ns=(SECONDS + 1) * SECOND)["recent"]
    assert list(known) == everything["t"]
    assert list(known.values()) == list(zip(*list(everything.values())[1:], strict=True))


def test_a_second_that_is_not_over_and_what_may_still_come_late_is_not_shown():
    live = LiveRun("arm", DUES, SECONDS)
    feed(live, DUES[DUES < 5], sample)
    assert read(live, now_ns=5 * SECOND + LATE - 1)["recent"]["t"] == [1, 2, 3, 4]
    assert read(live, now_ns=5 * SECOND + LATE)["recent"]["t"] == [1, 2, 3, 4, 5]
    assert read(live, now_ns=0)["recent"]["t"] == read(live, now_ns=-SECOND)["recent"]["t"] == []


def test_samples_of_a_worker_that_was_silent_for_a_minute_are_counted_in_the_seconds_in_which_they_finished():
    live, silent = LiveRun("arm", DUES, SECONDS), LiveRun("arm", DUES, SECONDS)
    feed(live, DUES, sample)
    feed(silent, DUES[::2], sample)
    feed(silent, DUES[1::2], sample)
    for each in (live, silent):
        each.end((SECONDS + 3) * SECOND)
    for name in ("completed", "in_flight", "latency_p50"):
        assert read(silent)["recent"][name] == read(live)["recent"][name]


def test_what_is_observed_is_the_mean_of_its_second_and_missing_where_nothing_was():
    live = LiveRun("arm", DUES, SECONDS)
    feed(live, DUES[DUES < 9], sample)
    for instant, value in ((2.1, 10), (2.6, 30), (4.5, 7)):
        live.observe("cpu", value, round(instant * SECOND))
    assert read(live, now_ns=7 * SECOND)["recent"]["cpu"] == [None, None, 20, None, 7, None]
    assert "cpu" not in read(LiveRun("arm", DUES, SECONDS), now_ns=7 * SECOND)["recent"]


@pytest.mark.parametrize("hours", [1, 24])
def test_an_hour_takes_no_more_memory_than_its_first_minutes(hours):
    """Faster than real: every so-manyth second has two samples, which take as much memory here as many would."""
    seconds, stride = hours * 3600, hours * 3
    live, sizes = LiveRun("arm", None, seconds), []
    for second in range(0, seconds, stride):
        live.add(sample(second))
        live.add(sample(second + 0.5))
        live.observe("cpu", 5, second * SECOND)
        if second % 600 == 0 and second:
            series = live._series
            assert len(series._recent) <= RECENT + 2 and len(series._open) <= 2
            assert len(series._whole) <= POINTS + TAIL and len(series._fresh) <= KEPT + 2
            sizes.append(len(live.chart(now_ns=second * SECOND)))
    assert max(sizes) < 120_000
    live.end(seconds * SECOND)
    assert len(read(live)["whole"]["t"]) <= POINTS + TAIL
    assert not live._series._recent and not live._recent


def test_answers_long_after_the_schedule_take_no_more_points():
    table = np.array([[0, 0, 1, 1, 1, 1, 3]]) * MS
    for seconds, points in ((10, 0), (2 * POINTS, POINTS + TAIL)):
        series = TimeSeries(None, seconds)
        for second in range(0, 1500):
            series.settle(second, table)
        assert len(series._whole) == points
        chart = series.read(1500 * SECOND, {})
        assert len(chart["recent"]["t"]) == RECENT
        assert len((chart["whole"] or {"t": []})["t"]) == points


def test_a_session_keeps_a_bounded_number_of_runs_and_each_arm_its_colour(monkeypatch):
    monkeypatch.setattr(LiveRun, "runs", [])
    monkeypatch.setattr(LiveRun, "_arms", {})
    for number in range(3 * RUNS):
        LiveRun.begin(f"arm {number % (2 * RUNS)}", DUES, SECONDS, 0)
    assert len(LiveRun.runs) == RUNS
    assert [run.colour for run in LiveRun.runs] == [int(run.arm.split()[1]) for run in LiveRun.runs]
