"""Laws of the verdict: one thing wrong, one finding; and how often a steady queue raises a false alarm."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from arrivals import EXAMPLES, Ramp, Sine, Spike, Step, Trace, parse
from crossover.measurement.remedies import REMEDIES
from loadgen.samples.early_stopping import highest_percentile
from loadgen.samples.sample import STATUSES
from loadgen.samples.steady_state import find_trend
from loadgen.samples.summary import summarise
from loadgen.samples.validity import RULES, check_trend, judge
from loadgen.samples.verdict import Facts, Validity
from loadgen.samples.worker_facts import busiest_share, combine
from tests.samples.test_summary import MS, REASONS, end, run, steady

FINE = Facts(cpu_share=0.3, hub_stall=0.01, complete=True)
N, SECONDS = 2000, 20


def good() -> dict:
    return summarise(steady(N), SECONDS, REASONS)


def rules(verdict: Validity) -> list[str]:
    return [finding.rule for finding in verdict.findings]


def test_a_good_run_is_valid():
    verdict = judge(good(), FINE)
    assert (str(verdict), verdict.valid, verdict.exit_code) == ("VALID", True, 0)
    assert verdict.as_dict() == {"valid": True, "findings": []}


def test_what_to_change_is_something_that_users_of_the_command_can_do():
    """A comparison has no more client processes to be had, and neither --in-flight-cap nor --percentile."""
    assert REMEDIES.keys() <= RULES.keys()
    [lag] = judge(*perturbed(lagging(20, N // 2)), 99).findings
    [told] = judge(*perturbed(lagging(20, N // 2)), 99, REMEDIES).findings
    assert (told.rule, told.measured, told.change) == (lag.rule, lag.measured, REMEDIES["dispatch lag"])
    assert "client processes" in lag.change
    assert not any(word in each for each in REMEDIES.values() for word in ("processes", "--in-flight", "--percentile"))


def perturbed(records=None, seconds=SECONDS, **facts) -> tuple[dict, Facts]:
    return summarise(steady(N) if records is None else records, seconds, REASONS), replace(FINE, **facts)


def lagging(ms: float, first: int) -> np.ndarray:
    records = steady(N)
    records["fired"][:first] = records["due"][:first] + round(ms * MS)
    return records


def never_fired(n: int) -> np.ndarray:
    records = steady(N)
    records["fired"][:n] = 0
    return records


def behind(ms: float) -> np.ndarray:
    """Latencies that fall within each half, so that there is no trend, and are so much longer in the second one."""
    return run(np.concatenate([np.linspace(400, 10, N // 2), ms + np.linspace(400, 10, N // 2)]))


WRONG = {
    "interrupted": [perturbed(complete=False)],
    "books": [perturbed(due=N + 1), perturbed(due=N - 1)],
    "errors": [perturbed(end(steady(N), 7, status, 1)) for status in ("failed", "rejected", "timed out", "unfinished")],
    "in-flight cap": [perturbed(end(steady(N), 7, "dropped", 3))],
    "offered rate": [perturbed(never_fired(22))],
    "dispatch lag": [perturbed(lagging(1.3, N // 40))],
    "client CPU": [perturbed(cpu_share=0.91)],
    "hub stall": [perturbed(hub_stall=0.51)],
    "foreign requests": [perturbed(model="m", counted=n, own=own) for n, own in ((3, 0), (13, 10), (1051, 1000))],
    "replicas": [
        perturbed(replicas=counts)
        for counts in ({"a": 60, "b": 100}, {"a": 89, "b": 101, "c": 110}, {"a": 0, "b": 8}, {"a": 100, "b": None}, {})
    ],
    "too few samples": [perturbed(steady(458), 4.58)],
    "latency rises": [perturbed(run(np.linspace(10, 11.3, N)))],
    "backlog": [perturbed(behind(700))],
}
RIGHT = {
    "interrupted": [perturbed(complete=True)],
    "books": [perturbed(due=N), perturbed(due=None)],
    "errors": [perturbed()],
    "in-flight cap": [perturbed()],
    "offered rate": [perturbed(never_fired(18)), perturbed(never_fired(22), closed=True)],
    "dispatch lag": [
        perturbed(lagging(0.9, N)),
        perturbed(lagging(1.3, N // 200)),
        perturbed(lagging(1.3, N // 40), closed=True),
    ],
    "client CPU": [perturbed(cpu_share=0.89), perturbed(cpu_share=None)],
    "hub stall": [perturbed(hub_stall=0.49)],
    "foreign requests": [
        *(perturbed(model="m", counted=n, own=own) for n, own in ((2, 0), (12, 10), (1050, 1000), (0, 1000))),
        perturbed(counted=None),
    ],
    "replicas": [
        perturbed(replicas=counts)
        for counts in (None, {"a": 90, "b": 110}, {"a": 660, "b": 666, "c": 674}, {"a": 0, "b": 6}, {"a": 2000})
    ],
    "too few samples": [perturbed(steady(459), 4.59)],
    "latency rises": [perturbed(run(np.linspace(10, 10.9, N))), perturbed(run(np.linspace(12, 10, N)))],
    "backlog": [perturbed(behind(450)), perturbed(behind(700), closed=True)],
}
ANSWERED = set(RULES) - {"interrupted", "books", "errors", "in-flight cap"}


def test_every_rule_is_tried_both_ways_and_names_its_source():
    assert list(WRONG) == list(RIGHT) == list(RULES)
    assert all(rule.__doc__ for rule in RULES.values())


@pytest.mark.parametrize(("rule", "case"), [(rule, case) for rule, cases in WRONG.items() for case in cases])
def test_one_thing_wrong_is_one_finding(rule, case):
    verdict = judge(*case)
    assert rules(verdict) == [rule]
    assert not verdict.valid
    assert verdict.exit_code == (3 if rule in ANSWERED else 1)


@pytest.mark.parametrize(("rule", "case"), [(rule, case) for rule, cases in RIGHT.items() for case in cases])
def test_within_its_limit_no_rule_fires(rule, case):
    assert judge(*case).valid, rule


def test_a_pacer_that_never_catches_up_misses_the_rate_and_lags():
    assert rules(judge(*perturbed(lagging(300, N)))) == ["offered rate", "dispatch lag"]


def test_a_run_that_was_stopped_says_so_and_nothing_else():
    """Its arrivals in flight are unfinished, its samples few, its rate is off: all of that follows."""
    records = end(never_fired(22)[:300], slice(290, 300), "unfinished", 1)
    said = judge(*perturbed(records, complete=False, cause="stopped after 17 of 40 s", due=N))
    assert str(said) == (
        "INVALID: interrupted: stopped after 17 of 40 s (must run to its end); start it again and let it finish"
    )
    assert said.exit_code == 1


def test_a_full_disk_is_no_sample_that_was_lost_or_doubled():
    said = judge(*perturbed(steady(758), complete=False, cause="samples.journal: No space left on device", due=953))
    assert rules(said) == ["interrupted"] and "samples.journal: No space left on device" in str(said)


def ramp_past_the_knee() -> np.ndarray:
    """From 5 to 150 arrivals per second within 20 s, at a server that answers 100: the queue grows as was asked for."""
    dues = Ramp(5, 150, 20).schedule(20, 1).times
    walk = np.concatenate([[0], np.cumsum(0.01 - np.diff(dues))])
    records = run((walk - np.minimum.accumulate(walk) + 0.01) * 1e3)
    late = (dues * 1e9).astype(int) - records["due"]
    for instant in ("due", "fired", "began", "prepared", "sent", "done"):
        records[instant] += late
    return records


def test_a_ramp_past_the_knee_is_judged_by_what_was_asked_for():
    """The same queue is a fault of a load that was to be steady."""
    records = ramp_past_the_knee()
    assert rules(judge(*perturbed(records))) == ["latency rises"]
    assert judge(*perturbed(records, steady=Ramp(5, 150, 20).steady)).valid
    assert rules(judge(*perturbed(behind(700)))) == ["backlog"] and judge(*perturbed(behind(700), steady=False)).valid
    assert not any(parse(spec).steady for cls, spec in EXAMPLES.items() if cls in (Ramp, Step, Spike, Sine, Trace))
    assert all(parse(spec).steady for cls, spec in EXAMPLES.items() if cls not in (Ramp, Step, Spike, Sine, Trace))


def test_what_a_ramp_makes_a_server_refuse_is_no_reason_to_lower_the_rate():
    said = str(judge(*perturbed(end(steady(N), 7, "rejected", 1), steady=False)))
    assert said.endswith("; mend the cause or lower the peak")


def test_a_slow_answer_allows_the_dispatch_two_percent_of_it():
    result = summarise(lagging(1.3, N), SECONDS, REASONS)
    assert rules(judge(result, FINE)) == ["dispatch lag"]
    slow = copy.deepcopy(result)
    slow["latency"]["p50"] = 66
    assert judge(slow, FINE).valid


@pytest.mark.parametrize(("percentile", "enough"), [(50, 7), (95, 90), (99, 459), (99.9, 4603)])
def test_a_higher_percentile_needs_more_requests(percentile, enough):
    one_short, exactly = (summarise(steady(n), n / 100, REASONS) for n in (enough - 1, enough))
    assert rules(judge(one_short, FINE, percentile)) == ["too few samples"]
    assert judge(exactly, FINE, percentile).valid


def test_an_empty_run_is_invalid_but_nothing_went_unanswered():
    verdict = judge(summarise(steady(0), 10), FINE)
    assert (rules(verdict), verdict.exit_code) == (["too few samples"], 3)


def test_every_finding_is_one_line_that_says_what_was_wrong_its_limit_and_what_to_change():
    records = end(end(lagging(2, N), slice(0, 3), "timed out", 2), slice(3, 5), "dropped", 3)
    verdict = judge(summarise(records, SECONDS, REASONS), replace(FINE, cpu_share=1.0))
    first, *rest = str(verdict).splitlines()
    assert first == (
        "INVALID: errors: 3 timed out of 2000, most common reason 'too late' (none allowed); "
        "mend the cause or lower the rate"
    )
    assert len(rest) == len(verdict.findings) - 1 == 3
    assert all(line.startswith("INVALID: ") and "(" in line and "; " in line for line in rest)
    assert verdict.exit_code == 1  # what is unanswered weighs more


def test_a_verdict_is_plain_json():
    said = json.loads(json.dumps(judge(good(), replace(FINE, complete=False)).as_dict()))
    assert said["valid"] is False
    assert set(said["findings"][0]) == {"rule", "measured", "limit", "change"}


def test_every_status_but_completed_makes_a_run_invalid():
    for status in STATUSES[1:]:
        assert judge(*perturbed(end(steady(N), 0, status, 1))).exit_code == 1


def queue(seed: int, n: int, load: float, deterministic: bool) -> np.ndarray:
    """Latencies in service times of n Poisson arrivals at one server that starts empty (Lindley's recursion)."""
    rng = np.random.default_rng([seed, n])
    gaps, service = rng.exponential(1 / load, n), np.ones(n) if deterministic else rng.exponential(1, n)
    walk = np.concatenate([[0], np.cumsum(service[:-1] - gaps[1:])])
    return walk - np.minimum.accumulate(walk) + service


def alarms(n: int, load: float, deterministic: bool, runs: int = 200) -> int:
    tried = (find_trend(queue(seed, n, load, deterministic)) for seed in range(runs))
    return sum(check_trend({"trend": result}, FINE, 99) is not None for result in tried)


@pytest.mark.parametrize("deterministic", [True, False], ids=["M/D/1", "M/M/1"])
@pytest.mark.parametrize("n", [500, 5000])
def test_a_steady_queue_seldom_raises_a_false_alarm(n, deterministic):
    assert alarms(n, 0.7, deterministic) <= 4  # of 200: 2 %; measured over thousands: at most 0.5 %


@pytest.mark.parametrize("deterministic", [True, False], ids=["M/D/1", "M/M/1"])
@pytest.mark.parametrize(("n", "found"), [(500, 0.95), (2000, 1), (5000, 1)])
def test_an_overload_is_found(n, found, deterministic):
    assert alarms(n, 1.2, deterministic) >= found * 200


def test_latency_that_creeps_up_without_a_queue_is_found():
    creeping = queue(1, 5000, 0.3, True) * np.linspace(1, 1.2, 5000)
    assert check_trend({"trend": find_trend(creeping)}, FINE, 99)


def test_processes_on_the_same_cores_add_up_and_those_on_others_do_not():
    given = (0.5, "a [0]"), (0.45, "a [0]"), (0.6, "b [0]")
    first, second, far = (Facts(share, 0, True, cores=cores) for share, cores in given)
    assert busiest_share([first, second, far]) == pytest.approx(0.95)
    assert busiest_share([first, far]) == pytest.approx(0.6)
    assert busiest_share([Facts(None, 0, True)]) is None


def test_a_run_of_several_workers_was_stopped_if_all_of_them_were():
    done, cut = Facts(0.1, 0.0, True, ended=40.0), Facts(0.1, 0.0, False, ended=17.0)
    full = replace(cut, cause="samples: No space left on device")
    assert (combine([done, done], [], False).complete, combine([], [], False).complete) == (True, True)
    assert (combine([cut, cut], [], False).cause, combine([cut, cut], [], False).ended) == ("", 17.0)
    assert combine([done, cut], [], False).cause == "a worker ended before the others"
    assert combine([cut, full], [], False).cause == "samples: No space left on device"
    assert combine([done], [1], False).cause == "worker 1 died or was cut off"


@pytest.mark.parametrize(
    ("requests", "percentile"),
    [(0, 50), (6, 50), (7, 50), (43, 50), (44, 90), (89, 90), (90, 95), (458, 95), (459, 99), (4602, 99), (4603, 99.9)],
)
def test_the_highest_percentile_is_one_for_which_there_are_requests_enough(requests, percentile):
    assert highest_percentile(requests) == percentile
