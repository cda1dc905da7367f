"""Laws of the summary: a fold over samples, with MLPerf's early stopping and a test for rising latency."""

import statistics
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from loadgen.samples.early_stopping import lowest_passing_limit, required_requests
from loadgen.samples.sample import DROPPED, RECORD, STATUSES, TIMED_OUT, UNFINISHED
from loadgen.samples.steady_state import find_trend
from loadgen.samples.summary import compute_rates, summarise

MS = 1_000_000
REASONS = ("", "refused", "too late", "3 requests were in flight", "bad shape", "reset", "odd")


def run(latencies, rate: float = 100) -> np.ndarray:
    """Completed requests, one every 1/rate seconds from 0 on, fired 0.1 ms late; latencies in ms."""
    latencies = np.asarray(latencies)
    records = np.zeros(len(latencies), RECORD)
    records["index"] = np.arange(len(records))
    records["due"] = records["index"] * 1e9 / rate
    for name, after in {"fired": 0.1, "began": 0.2, "prepared": 0.5, "sent": 0.6, "done": latencies}.items():
        records[name] = records["due"] + np.round(np.multiply(after, MS)).astype(int)
    records["bytes_up"], records["bytes_down"] = 1000, 50
    return records


def steady(n: int, seed: int = 1) -> np.ndarray:
    return run(10 + np.random.default_rng(seed).exponential(5, n))


def end(records: np.ndarray, which, status: str, reason: int = 0) -> np.ndarray:
    records["status"][which], records["reason"][which] = STATUSES.index(status), reason
    return records


def test_every_figure_is_what_counting_by_hand_gives():
    records, rng = steady(1000), np.random.default_rng(2)
    records["status"] = rng.choice(len(STATUSES), 1000, p=[0.8, 0.04, 0.04, 0.04, 0.04, 0.04])
    records["reason"] = np.where(records["status"] > 0, rng.choice(len(REASONS), 1000), 0)
    records["fired"][records["status"] == STATUSES.index(UNFINISHED)] = 0
    result = summarise(rng.permutation(records), 10, REASONS)
    rows = [dict(zip(RECORD.names, row, strict=True)) for row in records.tolist()]
    good = [row for row in rows if row["status"] == 0]

    def plain(values, n=100):
        values = [value / MS for value in values]
        cuts = statistics.quantiles(values, n=n, method="inclusive")
        return {"mean": statistics.fmean(values), "p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(values)}

    hand = {
        "latency": plain(row["done"] - row["due"] for row in good),
        "service": plain(row["done"] - row["began"] for row in good),
        "prepare": plain(row["prepared"] - row["began"] for row in good),
        "wait": plain(row["began"] - row["due"] for row in good),
        "wire": plain(row["done"] - row["sent"] for row in good),
        "dispatch_lag": plain(row["fired"] - row["due"] for row in rows if row["fired"]),
    }
    for name, figures in hand.items():
        assert {key: result[name][key] for key in figures} == pytest.approx(figures), name
    assert (result["bytes_up"], result["bytes_down"]) == (1000, 50)
    assert result["errors"] == 1000 - len(good)
    assert result["books"]["scheduled"] == sum(result["books"][status] for status in STATUSES) == 1000
    said = Counter(REASONS[row["reason"]] for row in rows if row["reason"])
    assert list(result["reasons"].values()) == [n for _, n in said.most_common(5)]
    assert all(said[text] == n for text, n in result["reasons"].items())


def test_nothing_scheduled_has_no_figures_and_no_rate():
    result = summarise(np.zeros(0, RECORD), 10)
    assert result["offered"] == result["sent_rate"] == result["achieved"] == result["errors"] == 0
    assert set(result["latency"].values()) == set(result["early_stopping"].values()) == {None}
    assert result["trend"] is None and result["bytes_up"] is None


def test_nothing_completed_has_rates_but_no_latency():
    result = summarise(end(steady(100), slice(None), TIMED_OUT, 1), 1, REASONS)
    assert (result["offered"], result["achieved"], result["errors"]) == (100, 0, 100)
    assert result["latency"]["p50"] is None and result["dispatch_lag"]["p50"] == pytest.approx(0.1)


def test_a_run_that_went_well_sends_and_achieves_what_it_offered():
    result = summarise(steady(1000), 10)
    assert result["sent_rate"] == pytest.approx(result["offered"], rel=1e-4)
    assert result["achieved"] == pytest.approx(result["offered"], rel=0.005)


def test_a_pacer_that_lags_sends_less_than_was_offered():
    records = steady(1000)
    records["fired"] = records["due"] * 1.1  # each second takes 1.1
    assert summarise(records, 10)["sent_rate"] == pytest.approx(100 / 1.1, rel=1e-3)


def test_a_process_that_died_sends_less_than_was_offered():
    records = steady(1000)
    dead = (np.arange(1000) % 4 == 0) & (np.arange(1000) >= 500)  # one of four, from the middle on
    records["fired"][dead] = 0
    assert summarise(end(records, dead, UNFINISHED), 10)["sent_rate"] == pytest.approx(87.5, rel=1e-3)


def test_an_arrival_that_was_dropped_was_still_offered():
    result = summarise(end(steady(1000), slice(0, 500), DROPPED, 3), 10, REASONS)
    assert result["sent_rate"] == pytest.approx(100, rel=1e-4)
    assert result["achieved"] == pytest.approx(50, rel=0.005)


def test_answers_that_come_after_the_end_lower_what_was_achieved():
    assert summarise(run(np.linspace(0, 2500, 1000)), 10)["achieved"] == pytest.approx(1000 / 12.49, rel=1e-3)


def test_several_runs_are_charged_with_the_tail_of_each():
    late, punctual = run(np.linspace(0, 2500, 1000)), run(np.zeros(1000))
    found = compute_rates([(late, 10), (punctual, 10)])
    assert found["offered"] == 100
    assert found["achieved"] == pytest.approx(2000 / (12.49 + 10), rel=1e-3)
    late["fired"] = late["due"] * 1.1
    assert compute_rates([(late, 10), (punctual, 10)])["sent_rate"] == pytest.approx(2000 / (11 + 10), rel=1e-3)


def test_requests_fired_and_answered_go_by_one_clock():
    """Where every arrival is fired and answered at once, both rates are the same, also after the schedule's end."""
    records = run(np.zeros(1000))
    for name in ("fired", "done"):
        records[name] = records["due"] + 3_000_000_000
    result = summarise(records, 10)
    assert result["sent_rate"] == result["achieved"] == pytest.approx(1000 / 12.99, rel=1e-6)
    early = records[:500]  # nothing was due in the second half, so what is late is in time for the schedule's end
    result = summarise(early, 10)
    assert result["sent_rate"] == result["achieved"] == result["offered"] == 50


def test_a_reason_without_a_text_is_an_error():
    with pytest.raises(ValueError):
        summarise(end(steady(10), 3, TIMED_OUT, 7), 1, REASONS)


@pytest.mark.parametrize(
    ("percentile", "over", "n"),
    [(99, 0, 459), (99, 1, 662), (99, 2, 838), (99, 5, 1307), (99.9, 0, 4603), (90, 1, 64), (95, 0, 90), (50, 0, 7)],
)
def test_early_stopping_needs_as_many_requests_as_mlperf(percentile, over, n):
    assert required_requests(percentile, over) == n
    assert binom.cdf(over, n, 1 - percentile / 100) <= 0.01 < binom.cdf(over, n - 1, 1 - percentile / 100)


@pytest.mark.parametrize("percentile", [50, 90, 99, 99.9])
@pytest.mark.parametrize("over", [0, 1, 2, 5, 50])
def test_the_estimate_is_the_lowest_limit_that_passes(percentile, over):
    n = required_requests(percentile, over)
    assert lowest_passing_limit(np.arange(n), percentile) == n - 1 - over  # so many are above it, and no more may be
    fewer = lowest_passing_limit(np.arange(n - 1), percentile)
    assert fewer == (n - 1 - over if over else None)


def test_the_estimate_is_seldom_below_the_true_percentile():
    rng, true = np.random.default_rng(3), -np.log(0.01)
    low = sum(lowest_passing_limit(np.sort(rng.exponential(size=1000)), 99) < true for _ in range(2000))
    assert low / 2000 <= 0.01 + 4 * (0.01 * 0.99 / 2000) ** 0.5


def test_latency_that_rises_evenly_from_nothing_grows_by_twice_its_median():
    result = find_trend(np.linspace(0, 1, 1000))
    assert (result["tau"], result["growth"]) == (1, pytest.approx(2, rel=0.01))
    assert result["p"] < 1e-15


@pytest.mark.parametrize("latencies", [np.linspace(1, 0.5, 1000), np.ones(1000)])
def test_latency_that_falls_or_stays_has_no_upward_trend(latencies):
    result = find_trend(latencies)
    assert result["p"] > 0.99 and result["growth"] <= 0


def test_a_trend_is_looked_for_in_due_order_and_among_enough_requests():
    shuffled = np.random.default_rng(4).permutation(run(np.linspace(1, 50, 200)))
    assert summarise(shuffled, 2)["trend"]["tau"] == 1
    assert summarise(shuffled[:199], 2)["trend"] is None


def test_memory_grows_with_the_samples_by_less_than_they_take_themselves():
    records = steady(200_000)
    tracemalloc.start()
    summarise(records, 2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < records.nbytes
