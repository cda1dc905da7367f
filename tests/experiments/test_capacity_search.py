"""The search for capacities: where turns start, what a probe comes to, what there is time for, and who is next."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from crossover.experiments.capacity.plan import FEWEST_TURNS, LOADS, Plan, choose_plan, list_plans
from crossover.experiments.capacity.probe import Hopeless, abort_when
from crossover.experiments.capacity.run import Capacity, parse_loads
from crossover.experiments.capacity.search import (
    CLIENT_RULES,
    DOUBLINGS,
    HALVINGS,
    Probe,
    find_start,
    judge_trial,
    measure_percentile,
    most_over,
    probe_requests,
)
from crossover.measurement.trial import Trial
from loadgen.arm import Arm, Mode
from loadgen.samples.validity import RULES
from tests.trials_on_disk import trial
from workloads.catalogue import BUILT_IN


def sharp(capacity: float, rates: list[float]):
    """A probe that keeps the SLO at most at that rate; `rates` are those that it was asked for."""

    def probe(rate: float) -> Probe:
        rates.append(rate)
        return Probe("", None, rate, 1.0, rate > capacity)

    return probe


@pytest.mark.parametrize("capacity", [2.6, 7.3, 10, 10.01, 80, 999, 5000])
def test_turns_start_near_the_capacity(capacity):
    rates: list[float] = []
    found = find_start(sharp(capacity, rates), 10)
    assert capacity / 1.42 <= found <= capacity * 1.42
    assert len(rates) <= 11


@pytest.mark.parametrize(("capacity", "probes"), [(0, HALVINGS + 1), (np.inf, DOUBLINGS + 1)])
def test_where_every_probe_keeps_the_slo_or_none_does_there_is_no_start(capacity, probes):
    rates: list[float] = []
    assert find_start(sharp(capacity, rates), 10) is None
    assert len(rates) == probes


@pytest.mark.parametrize("percentile", [50, 90, 95, 99])
@pytest.mark.parametrize("n", [44, 81, 165, 500, 838])
def test_a_probe_is_given_up_once_its_percentile_is_certainly_over_and_not_before(percentile, n):
    latency = np.ones(n)
    most = most_over(n, percentile)
    latency[:most] = 9
    assert np.percentile(latency, percentile) < 9
    latency[: most + 1] = 9
    assert np.percentile(latency, percentile) == 9


def test_a_probe_outlasts_what_an_overload_needs_to_show():
    assert probe_requests(1.0, slo=100, percentile=90) == 81
    assert probe_requests(1000, slo=100, percentile=90) == 5000  # five seconds
    assert probe_requests(1000, slo=1000, percentile=90) == 20_000  # 20 SLOs


def test_what_is_hopeless_is_ended_and_what_is_not_is_not():
    looks, began = [], time.monotonic()
    sleep = abort_when(lambda: looks.append(1) or time.monotonic() > began + 0.6)
    with pytest.raises(Hopeless):
        while True:
            sleep(0.01)
    assert time.monotonic() - began > 0.6
    assert len(looks) == 2  # twice a second


def test_rules_that_are_the_clients_doing_are_rules_of_the_verdict():
    assert set(RULES) >= CLIENT_RULES


def judge(measured: Trial, slo: float, linked: bool = False) -> Probe:
    return judge_trial(measured, 0, 7.5, slo, percentile=90, linked=linked)


def test_a_trial_within_the_slo_and_one_over_it(tmp_path):
    measured = trial(tmp_path, "image", "client", 1, seconds=30)
    found = judge(measured, 1e5)
    assert (found.over, found.slow) == (False, "")
    assert found.ms == pytest.approx(np.percentile(measured.latency, 90))
    found = judge(measured, 1)
    assert (found.over, found.slow) == (True, "server")


def test_what_has_no_good_answer_counts_as_infinitely_late(tmp_path, monkeypatch):
    measured = trial(tmp_path, "image", "client", 1, seconds=10, broken="connection reset")
    assert measure_percentile(measured, 100) is None
    assert measure_percentile(measured, 50) > np.median(measured.latency)
    measured.facts["due"] = 10 * measured.scheduled  # samples that were lost have no good answer, either
    assert measure_percentile(measured, 50) is None


def test_it_says_which_rules_the_client_broke_and_takes_the_probe_as_it_is(tmp_path):
    measured = trial(tmp_path, "image", "client", 1, seconds=30)
    measured.findings = [{"rule": "dispatch lag", "measured": ""}, {"rule": "latency rises", "measured": ""}]
    found = judge(measured, 1e5)
    assert (found.client_rules, found.over) == (("dispatch lag",), False)
    measured.findings = [{"rule": "client CPU", "measured": ""}]
    assert judge(measured, 1).slow == "client"


def test_a_request_that_mostly_waited_for_the_client_is_the_clients(tmp_path, monkeypatch):
    measured = trial(tmp_path, "image", "client", 1, seconds=30)
    records = measured.records.copy()
    records["began"] = records["done"] - 1
    monkeypatch.setattr(Trial, "records", property(lambda self: records))
    assert judge(measured, 1).slow == "client"


def test_behind_a_link_a_request_that_was_mostly_on_the_way_is_the_links(tmp_path):
    measured = trial(tmp_path, "image", "client", 1, seconds=30)
    assert [judge(measured, 1, linked).slow for linked in (False, True)] == ["server"] * 2
    for step in measured.steps.values():
        step["total"] /= 10
    # Without a link what is not the server's own time is its work on the connection.
    assert [judge(measured, 1, linked).slow for linked in (False, True)] == ["server", "link"]


def test_what_was_not_given_is_planned_from_the_most_telling_to_the_quickest():
    wholes = [Plan(each, 20, LOADS) for each in (99, 95, 90)]
    fewer = [Plan(90, 20, (0.7,)), Plan(90, 20, ()), Plan(90, FEWEST_TURNS, ())]
    assert list_plans(0, None) == [*wholes, *fewer]
    assert [plan.percentile for plan in list_plans(95, None)] == [95] * 4
    assert list_plans(0, [0.9])[-2:] == [Plan(90, 20, [0.9]), Plan(90, FEWEST_TURNS, [0.9])]
    seconds = [plan.estimate(0.4, 2000) for plan in list_plans(0, None)]
    assert seconds == sorted(seconds, reverse=True)
    assert parse_loads("") == []


def test_what_does_not_fit_into_the_seconds_is_left_out_and_said():
    plans = list_plans(0, None)
    assert choose_plan(plans, 1e6, [0.1, 0.08], 500)[0] == plans[0]
    for plan in plans:
        seconds = 2 * plan.estimate(0.1, 500)
        assert choose_plan(plans, seconds, [0.1, 0.08], 500) == (plan, seconds)
    assert choose_plan(plans, 1, [0.1, 0.08], 500)[0] == plans[-1]
    said = [plan.describe_missing(Plan(90, 20, LOADS)) for plan in plans[2:]]
    assert said == [
        "",
        "bursts only at 0.7 of the capacity",
        "no bursts",
        f"no bursts and {FEWEST_TURNS} turns instead of 20",
    ]


class Line:
    """A prober whose p90 rises with the fourth power of the rate, from 100 ms at its capacity; 0: over at any rate."""

    def __init__(self, capacity: float, taken: list[tuple]):
        self.capacity, self.taken, self.probes = capacity, taken, []
        self.arm = Arm(BUILT_IN["image"], "client", Mode("async"))

    def find_start(self, start: float) -> float | None:
        return self.capacity * 1.2 or None

    def take_turn(self, turn: int, rate: float, requests: int, seed: int) -> Probe:
        self.taken.append((turn, self, requests, seed))
        ms = 100 * (rate / self.capacity) ** 4
        self.probes.append(Probe("", turn, rate, ms, ms > 100))
        return self.probes[-1]


def take_turns(end: float, *capacities: float) -> tuple[list[tuple], list[Line]]:
    taken: list[tuple] = []
    probers = [Line(each, taken) for each in capacities]
    described = {"slo_ms": 100.0, "percentile": 90, "turns": 20, "back_to_back_seconds": {"client": 0.02}}
    run = SimpleNamespace(described={"workloads": {"image": described}}, options=SimpleNamespace(seed=1))
    run.note_probes = lambda probers, result: None
    Capacity.take_turns(run, probers, {}, end)
    return taken, probers


def test_arms_take_turns_in_drawn_order_with_the_same_arrivals():
    taken, probers = take_turns(np.inf, 50.0, 80.0)
    assert [turn for turn, *_ in taken] == [turn for turn in range(20) for _ in probers]
    assert len({seed for *_, seed in taken}) == 20 and len({(turn, seed) for turn, *_, seed in taken}) == 20
    assert len({requests for *_, requests, _ in taken}) == 1  # what counts as the capacity depends on it
    firsts = [prober for _, prober, *_ in taken[::2]]
    assert 3 < firsts.count(probers[0]) < 17
    for prober in probers:
        assert {probe.over for probe in prober.probes[-4:]} == {True, False}


def test_an_arm_that_carries_nothing_takes_no_turns():
    taken, probers = take_turns(np.inf, 0.0, 80.0)
    assert len(taken) == 20 and not probers[0].probes
    assert take_turns(np.inf, 0.0, 0.0)[0] == []


def test_after_the_time_only_the_turns_that_an_interval_needs_are_taken(capsys):
    taken, _ = take_turns(-np.inf, 50.0, 80.0)
    assert len(taken) == 2 * FEWEST_TURNS
    assert f"{FEWEST_TURNS} turns instead of 20, for want of time" in capsys.readouterr().out
