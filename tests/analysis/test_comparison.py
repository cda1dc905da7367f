"""What is said of two arms: never more than the rounds bear out, and in words that hold."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from crossover.analysis import bootstrap
from crossover.analysis.comparison import (
    compare,
    format_ratio,
    format_table,
    judge,
)
from crossover.analysis.verdict import BASELINE, CANDIDATE, Comparison
from crossover.analysis.wording import name_arms
from crossover.experiments.compare import result
from crossover.experiments.compare.tables import validity
from crossover.measurement.compatibility import list_differences
from crossover.measurement.trial import Trial
from loadgen.samples.sample import COMPLETED, FAILED, RECORD, STATUSES
from loadgen.samples.validity import RULES
from loadgen.samples.verdict import UNANSWERED
from tests.analysis.test_bootstrap import ALPHA, FEW, Process
from tests.trials_on_disk import run
from workloads.image import IMAGE

CONTROL = Process(requests=200, service=(0.6, 0.6), alike=0.9, drift=0.02)
PLACEMENTS = ("client", "server")
PLACED = IMAGE.describe(PLACEMENTS)["placements"]


def trial(placement: str, latencies, round: int = 1, cpu=(0.01, 0.08), sizes=(600_000, 4_000), **other) -> Trial:
    """One whose requests, evenly due in 10 s, took that many ms; CPU seconds and bytes per request."""
    latencies = np.asarray(latencies, float)
    records = np.zeros(n := len(latencies), RECORD)
    records["index"] = np.arange(n)
    records["due"] = np.arange(n) * 10_000_000_000 // max(1, n)
    records["done"] = records["due"] + (latencies * 1e6).astype(int)
    records["fired"] = records["due"] + 1
    records["status"] = STATUSES.index(COMPLETED)
    records["bytes_up"], records["bytes_down"] = sizes
    server_cpu = None if cpu[1] is None else n * cpu[1]
    made = Trial(
        **{"workload": "image", "arm": f"image {placement} async:1", "placement": placement, "mode": "async:1"},
        **{"round": round, "seed": round, "arrivals": "poisson:rate=7.5", "schedule": "", "seconds": 10.0},
        **{"client_cpu": n * cpu[0], "server_cpu": server_cpu},
        **{"facts": {"complete": True, "closed": False, "cpu_share": 0.1}},
        **{
            "summary": {"books": {"scheduled": n, COMPLETED: n}, "achieved": n / 10},
            "valid": True,
            "findings": [],
            "steps": {},
            **other,
        },
    )
    made.samples = records, [""], ["photograph"]
    return made


def pairs(latencies: np.ndarray) -> list[tuple[Trial, Trial]]:
    """From an array (rounds, 2 arms, requests) in mean gaps, of which 20 ms are made."""
    return [
        tuple(trial(p, 20 * own[~np.isnan(own)], i) for p, own in zip(PLACEMENTS, both, strict=True))
        for i, both in enumerate(latencies, 1)
    ]


def steady(rounds: int, ratio: float = 1.0, spread: float = 0.02, n: int = 100, seed: int = 1, **server):
    """Rounds whose server takes `ratio` times as long, give or take `spread`."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(1, rounds + 1):
        times, factor = rng.gamma(20, 5, n), ratio * rng.lognormal(0, spread)
        made.append((trial("client", times, i), trial("server", times * factor, i, **server)))
    return made


def by_name(found: list[Comparison]) -> dict[str, Comparison]:
    return {each.metric: each for each in found}


def figures(low: float | None, high: float | None, metric: str = "p50", **other) -> Comparison:
    """Judged, with an interval around its ratio."""
    ratio = other.pop("ratio", None) or (low * high) ** 0.5
    known = {"unit": "ms", "rounds": 10, "higher_is_better": metric == "goodput", "margin": 0.05, "confidence": 0.95}
    known |= {"baseline": 100.0, "candidate": 100.0 * ratio, "ratio": ratio, "low": low, "high": high}
    made = Comparison(metric, **{"names": PLACEMENTS, **known, **other})
    return judge(made)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", FEW)


def verdicts(process: Process, comparisons: int, rounds: int, seed: int) -> list[dict[str, str]]:
    simulated = process.latencies(np.random.default_rng(seed), comparisons, rounds)
    return [{each.metric: each.kind for each in compare(pairs(trials))} for trials in simulated]


def test_an_arm_against_itself_is_seldom_better_than_itself(few):
    total = 200
    found = verdicts(CONTROL, total, 10, seed=1)
    for metric in ("p50", "p95", "mean"):
        false = sum(each[metric] in (BASELINE, CANDIDATE) for each in found)
        assert stats.binom.sf(false - 1, total, 0.05) > ALPHA, f"{metric}: {false} of {total}"
    for metric in ("goodput", "client CPU", "server CPU", "bytes"):
        assert {each[metric] for each in found} == {"equivalent"}


def test_an_arm_against_itself_is_equivalent_once_there_is_enough_data(few):
    found = verdicts(CONTROL, 30, 50, seed=2)
    assert np.mean([each["p50"] == "equivalent" for each in found]) > 0.9


def test_a_slowdown_of_ten_percent_is_found(few):
    slower = Process(**{**vars(CONTROL), "service": (0.6, 0.66)})
    found = verdicts(slower, 50, 12, seed=3)
    assert np.mean([each["p50"] == BASELINE for each in found]) > 0.9
    assert np.mean([each["mean"] == BASELINE for each in found]) > 0.9
    assert not any(each["p50"] == CANDIDATE for each in found)


def test_the_figures_are_those_of_the_pooled_requests():
    made = steady(7, 1.3, sizes=(100_000, 4_000), cpu=(0.002, 0.1))
    found = by_name(compare(made, slo_ms=100))
    client, server = (np.concatenate([pair[i].latency for pair in made]) for i in (0, 1))
    for name, expected in (("p50", np.median), ("p95", lambda x: np.percentile(x, 95)), ("mean", np.mean)):
        assert (found[name].baseline, found[name].candidate) == pytest.approx((expected(client), expected(server)))
        assert found[name].ratio == pytest.approx(expected(server) / expected(client))
        assert found[name].low < found[name].ratio < found[name].high
    assert found["goodput"].baseline == pytest.approx((client <= 100).sum() / 70)
    assert (found["client CPU"].baseline, found["client CPU"].candidate) == pytest.approx((10, 2))
    assert (found["server CPU"].baseline, found["server CPU"].candidate) == pytest.approx((80, 100))
    assert (found["bytes"].baseline, found["bytes"].candidate) == pytest.approx((604, 104))
    assert found["bytes"].kind == CANDIDATE and found["server CPU"].kind == found["p50"].kind == BASELINE


@pytest.mark.parametrize("rounds", range(1, 6))
def test_of_fewer_than_six_rounds_no_interval_is_made(rounds):
    for each in compare(steady(rounds, 2)):
        if each.metric != "bytes":
            assert each.low is None and each.high is None
            assert (each.kind, each.verdict) == ("undecided", "undecided: too few rounds for an interval")
            assert "[" not in format_ratio(each)


def test_bytes_are_known_after_one_request():
    found = by_name(compare(steady(1, n=1, sizes=(200_000, 4_000))))["bytes"]
    assert (found.kind, found.low, found.high) == (CANDIDATE, found.ratio, found.ratio)
    assert found.ratio == pytest.approx(204 / 604)


def test_a_percentile_of_too_few_requests_has_no_interval_and_is_folded():
    found = compare(steady(10, n=100))
    p95, p99 = (by_name(found)[name] for name in ("p95", "p99"))
    assert p95.low and not p99.low and p99.verdict == "undecided: too few requests for an interval"
    assert by_name(compare(steady(30, n=100)))["p99"].low
    *table, last = format_table(found).splitlines()
    assert not any(line.startswith("p99") for line in table)
    assert f"too few data for an interval: p99 {p99.ratio:.3g}" in last and "undecided: p95" not in last


@pytest.mark.parametrize(
    ("low", "high", "metric", "kind", "verdict"),
    [
        (0.83, 0.90, "p50", CANDIDATE, "server better"),
        (1.11, 1.25, "p95", BASELINE, "client better"),
        (0.97, 1.04, "p50", "equivalent", "equivalent within 5 %"),
        (1.01, 1.04, "p50", "equivalent", "equivalent within 5 %"),
        (1.01, 1.06, "p50", BASELINE, "client better"),
        (0.94, 1.03, "p50", "undecided", "undecided"),
        (1.10, 1.21, "goodput", CANDIDATE, "server better"),
        (0.80, 0.90, "goodput", BASELINE, "client better"),
        (0.15, 0.17, "client CPU", CANDIDATE, "server better"),
    ],
)
def test_a_verdict_follows_from_the_interval(low, high, metric, kind, verdict):
    assert (figures(low, high, metric).kind, figures(low, high, metric).verdict) == (kind, verdict)


def test_an_arm_that_never_meets_the_objective_loses_against_one_that_always_does():
    found = by_name(compare(steady(6, 10), slo_ms=300))["goodput"]
    assert (found.kind, found.verdict) == (BASELINE, "client better: the other arm has none")
    nobody = by_name(compare(steady(6), slo_ms=1))["goodput"]
    assert (nobody.kind, nobody.ratio, nobody.low) == ("undecided", None, None)


def test_what_was_not_measured_is_not_compared():
    found = by_name(compare(steady(8, cpu=(0.01, None))))["server CPU"]
    assert (found.candidate, found.ratio, found.kind, found.verdict) == (None, None, "undecided", "not measured")
    assert compare([]) == []


def test_an_arm_without_answers_is_said_and_not_divided_by():
    made = [(trial("client", [50.0] * 20, i), trial("server", [], i)) for i in range(8)]
    for each in compare(made):
        assert each.kind in ("undecided", BASELINE) and each.low is None
        json.dumps(each.as_dict(), allow_nan=False)


def test_a_comparison_survives_json_and_is_printed_the_same():
    found = compare(steady(8, 1.2))
    kept = json.loads(json.dumps([each.as_dict() for each in found], allow_nan=False))
    assert format_table(kept) == format_table(found)
    rows = format_table(compare(steady(8, 1.2, cpu=(0.02, 0.09)))).splitlines()[1:-1]
    assert len({re.search(r"\S+ better|equivalent", line).start() for line in rows}) == 1
    assert format_table([]) == "nothing to compare"


def test_the_same_trials_give_the_same_comparison():
    assert compare(steady(8, 1.1)) == compare(steady(8, 1.1)) != compare(steady(8, 1.1), seed=2)


def test_a_control_is_called_by_its_name():
    made = [(first, trial("client", first.latency, i, control="again")) for i, (first, _) in enumerate(steady(8))]
    found = compare(made)
    assert found[0].names == ("client", "again") and {each.kind for each in found} <= {"equivalent", "undecided"}
    assert name_arms(found[0].names, PLACED) == {"client": "'client'", "again": "'again'"}


def invalid(made: list[tuple[Trial, Trial]], rules: dict[int, str]) -> list[Trial]:
    """Their trials; the server's of round n has broken rule rules[n]."""
    for _, server in made:
        if rule := rules.get(server.round):
            server.valid, server.findings = False, [{"rule": rule, "measured": "", "limit": "", "change": ""}]
    return [trial for pair in made for trial in pair]


def lose(measured: list[Trial], rounds: dict[int, str]) -> None:
    """The server's third arrival of these rounds has no good answer."""
    for each in measured:
        if each.placement == "server" and each.round in rounds:
            each.records["status"][2] = STATUSES.index(FAILED)


def test_a_round_whose_data_are_wrong_enters_no_interval_and_no_sentence_and_is_named():
    rules = {2: "errors", 5: "in-flight cap", 7: "errors"}
    measured = invalid(steady(10, n=400), rules)
    lose(measured, rules)
    for each in measured:
        if each.unanswered:
            each.latency = each.latency * 1e6
    found = result.evaluate(run(("image",)), measured)["workloads"]["image"]
    left = [pair for pair in steady(10, n=400) if pair[0].round not in rules]
    expected = compare(left, found["slo_ms"], confidence=found["answer"]["confidence"])
    assert found["comparisons"][-len(expected) :] == [each.as_dict() for each in expected]
    assert found["left_out"] == [{"mode": "async:1", "round": n, "rules": [rule]} for n, rule in rules.items()]
    assert "3 of 10 rounds left out because of unanswered requests" in found["remarks"][-1]
    assert (found["answer"]["loaded"]["rounds"], found["answer"]["loaded"]["left_out"]) == (7, 3)
    assert "not compared, as an arm's data are wrong: round 2, 5, 7" in validity([], found["left_out"])


@pytest.mark.parametrize("rule", sorted(RULES.keys() - UNANSWERED))
def test_noise_makes_a_trial_invalid_but_no_round_is_left_out_for_it(rule):
    found = result.evaluate(run(("image",)), invalid(steady(6), {3: rule}))["workloads"]["image"]
    assert found["left_out"] == [] and found["comparisons"][0]["rounds"] == 6
    assert "left out" not in " ".join(found["remarks"])


def test_an_arm_that_loses_requests_in_every_round_does_not_carry_the_load():
    measured = invalid(steady(6, 0.5, n=25), dict.fromkeys(range(1, 7), "errors"))
    lose(measured, dict.fromkeys(range(1, 7), "errors"))
    found = result.evaluate(run(("image",)), measured)["workloads"]["image"]
    assert found["answer"]["recommendation"] is None and found["comparisons"][0]["kind"] == "undecided"
    said = "take the client: the server (4 % of the requests have no good answer) does not carry this load"
    assert said in found["sentence"]
    assert "overloaded: server" in format_table(found["comparisons"])


def test_an_arm_that_lost_requests_in_each_of_its_trials_is_not_recommended():
    """Both lose a third of every trial, and there was time for three attempts of one arm, and for one of the other."""
    measured = invalid(steady(1, n=24), {1: "errors"})
    for each in measured:
        each.records["status"][:8] = STATUSES.index(FAILED)
    measured[1].earlier += [[24, 8], [24, 8]]
    found = result.evaluate(run(("image",)), measured)["workloads"]["image"]
    assert found["answer"]["loaded"]["overloaded"] == ["candidate"]
    lost = "(33.3 % of the requests have no good answer)"
    said = f"the server {lost} does not carry this load, and the client {lost} has lost some in every trial, too; "
    assert said in found["sentence"] and "take the" not in found["sentence"]


def test_reports_of_the_same_setting_can_be_compared():
    assert list_differences(run(), run()) == []
    later = run()
    later["machine"]["revision"], later["created"], later["rounds"] = "another", "later", 12
    later["server"]["models"]["resnet50"]["instances"] = 2
    assert list_differences(run(), later) == []
    assert list_differences({**run(), "workloads": {}}, run()) == []


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("machine", "cpu"), "Z80", "machine's cpu: AMD EPYC Processor at 2.6 GHz against Z80"),
        (("machine", "cores"), 4, "machine's cores: 2 against 4"),
        (("cores", "client"), [0, 2], "client's cores: 0 against 0, 2"),
        (("server", "version"), "2.52.0", "server's version: 2.51.0 against 2.52.0"),
        (
            ("server", "models", "resnet50", "provenance", "seed"),
            7,
            "weights of resnet50: random, transformers.ResNetConfig, 0 against random, transformers.ResNetConfig, 7",
        ),
        (("seed",), 2, "seed of the schedules: 1 against 2"),
        (
            ("workloads", "image", "arrivals"),
            "poisson:rate=8",
            "image's arrivals: poisson:rate=7.5 against poisson:rate=8",
        ),
        (("workloads", "audio", "seconds"), 20, "audio's seconds per trial: 30 against 20"),
        (("workloads", "audio", "payloads"), ["x"], "audio's payloads: audio-a, audio-b against x"),
        (("workloads", "audio", "digest"), "ba98", "audio's payloads' contents: 0123456789ab against ba98"),
        (("workloads", "image", "slo_ms"), None, "image's latency objective, ms: 430.0 against none"),
    ],
)
def test_what_makes_reports_incomparable_is_named(path, value, named):
    other = json.loads(json.dumps(run()))
    place = other
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert list_differences(run(), other) == [named]
