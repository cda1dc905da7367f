"""What is said of two arms: never more than the rounds bear out, and in words that hold."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from crossover.analysis import bootstrap
from crossover.analysis.comparison import (
    compare,
    compare_reports,
    format_ratio,
    format_table,
    is_precise,
    judge,
)
from crossover.analysis.verdict import BASELINE, CANDIDATE, Comparison
from crossover.analysis.wording import write_sentence
from crossover.experiments.compare import result
from crossover.experiments.compare.tables import validity
from crossover.measurement.compatibility import list_differences
from crossover.measurement.trial import Trial
from loadgen.samples.sample import COMPLETED, RECORD, STATUSES
from loadgen.samples.validity import RULES, UNANSWERED
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
    records["due"] = np.arange(n) * 10_000_000_000 // max(1, n)
    records["done"] = records["due"] + (latencies * 1e6).astype(int)
    records["fired"] = records["due"] + 1
    records["status"] = STATUSES.index(COMPLETED)
    records["bytes_up"], records["bytes_down"] = sizes
    server_cpu = None if cpu[1] is None else n * cpu[1]
    made = Trial(
        **{"workload": "image", "arm": f"image {placement} async:1", "placement": placement, "mode": "async:1"},
        **{"round": round, "seed": round, "arrivals": "poisson:rate=7.5", "schedule": "", "seconds": 10.0},
        **{"client_cpu": n * cpu[0], "server_cpu": server_cpu, "steps": {}},
        **{"facts": {"complete": True, "closed": False}},
        **{
            "summary": {"books": {"scheduled": n, COMPLETED: n}, "achieved": n / 10},
            "valid": True,
            "findings": [],
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
        assert each.low is None and each.high is None and each.kind == "undecided"
        assert each.verdict.startswith("undecided: about ")
        assert "[" not in format_ratio(each)
    assert by_name(compare(steady(rounds, 2)))["p50"].more_rounds == 6 - rounds


def test_a_percentile_of_too_few_requests_has_no_interval_and_says_how_many_rounds_are_missing():
    found = by_name(compare(steady(10, n=100)))
    assert found["p95"].low and not found["p99"].low
    assert found["p99"].verdict == "undecided: about 10 more rounds"
    assert by_name(compare(steady(30, n=100)))["p99"].low


def test_the_rounds_that_are_asked_for_decide_more_often_than_not(few):
    decided = []
    for seed in range(60):
        made = steady(60, 1.2, spread=0.3, n=20, seed=seed)
        first = by_name(compare(made[:8]))["mean"]
        if first.more_rounds and first.more_rounds < 50:
            decided.append(by_name(compare(made[: 8 + first.more_rounds]))["mean"].kind != "undecided")
    assert len(decided) > 20 and np.mean(decided) > 0.5


def test_a_comparison_is_precise_once_every_headline_is_known_to_within_a_share():
    narrow, wide = figures(0.98, 1.02), figures(0.95, 1.05)
    assert is_precise([narrow, figures(0.5, 2.0, "p95"), figures(0.99, 1.03, "mean")], 0.025)
    assert not is_precise([wide, figures(1.0, 1.0, "mean")], 0.025)
    assert not is_precise([narrow, replace(wide, metric="mean")], 0.025)
    assert not is_precise([narrow, figures(None, None, "mean", ratio=1.0)], 0.025) and not is_precise([], 0.025)


@pytest.mark.parametrize(
    ("low", "high", "metric", "kind", "verdict"),
    [
        (0.83, 0.90, "p50", CANDIDATE, "server better"),
        (1.11, 1.25, "p95", BASELINE, "client better"),
        (0.97, 1.04, "p50", "equivalent", "equivalent within 5 %"),
        (1.01, 1.04, "p50", "equivalent", "equivalent within 5 %"),
        (1.01, 1.06, "p50", BASELINE, "client better"),
        (0.94, 1.03, "p50", "undecided", "undecided: about 8 more rounds"),
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
    assert len({line.index("  undecided") for line in format_table(compare(steady(3))).splitlines()[1:]}) == 1
    assert format_table([]) == "nothing to compare"


def test_the_same_trials_give_the_same_comparison():
    assert compare(steady(8, 1.1)) == compare(steady(8, 1.1)) != compare(steady(8, 1.1), seed=2)


def test_a_control_is_called_by_its_name():
    made = [(first, trial("client", first.latency, i, control="again")) for i, (first, _) in enumerate(steady(8))]
    found = compare(made)
    assert found[0].names == ("client", "again") and {each.kind for each in found} <= {"equivalent", "undecided"}
    said = write_sentence(found, "photographs", placements=PLACED)
    assert "'again'" in said or "again/client" in said


COSTS = [
    figures(1 / 6.3, 1 / 6.1, "client CPU", ratio=1 / 6.2),
    figures(1 / 3.3, 1 / 3.1, "bytes", ratio=1 / 3.2),
    figures(1.10, 1.14, "server CPU", ratio=1.12),
]
ABOUT = "For photographs at 7.5 requests/s on this machine, "
CASES = [
    (
        [figures(1 / 0.89, 1 / 0.83, ratio=1 / 0.86), *COSTS[:2]],
        "the client is better: p50 server/client is 1.16 [1.12, 1.2] (95 % interval); the client takes 6.2 times the "
        "client CPU and 3.2 times the bytes.",
    ),
    (
        [figures(0.4, 0.5), *COSTS],
        "the server is better: p50 server/client is 0.447 [0.4, 0.5] (95 % interval); the server takes 0.16 times the "
        "client CPU, 1.1 times the server CPU and 0.31 times the bytes.",
    ),
    (
        [figures(0.83, 0.90), figures(1.2, 1.3, "p95"), figures(1.0, 1.0, "mean", ratio=1.0), *COSTS[2:]],
        "the server is better: p50 server/client is 0.864 [0.83, 0.9] (95 % interval); the server takes 1.1 times the "
        "server CPU; but the client is better by p95, 1.25 [1.2, 1.3] (95 % interval).",
    ),
    (
        [figures(0.98, 1.02), *COSTS],
        "both are equivalent: p50 server/client is 1 [0.98, 1.02] (95 % interval); the server takes 0.16 times the "
        "client CPU, 1.1 times the server CPU and 0.31 times the bytes.",
    ),
    (
        [figures(0.94, 1.03), *COSTS],
        "undecided: p50 server/client is 0.984 [0.94, 1.03] (95 % interval); 8 more rounds may decide it; the server "
        "takes 0.16 times the client CPU, 1.1 times the server CPU and 0.31 times the bytes.",
    ),
    (
        [figures(None, None, ratio=1.2, rounds=5, more_rounds=1)],
        "undecided: p50 server/client is 1.2 over 5 rounds, too few for an interval; 1 more round may decide it.",
    ),
    ([], "undecided: nothing was measured."),
]


@pytest.mark.parametrize(("comparisons", "said"), CASES)
def test_the_sentence_says_what_the_verdicts_say(comparisons, said):
    assert write_sentence(comparisons, "photographs", "poisson:rate=7.5", (), PLACED) == ABOUT + said


def invalid(made: list[tuple[Trial, Trial]], rules: dict[int, str]) -> list[Trial]:
    """Their trials; the server's of round n has broken rule rules[n]."""
    for _, server in made:
        if rule := rules.get(server.round):
            server.valid, server.findings = False, [{"rule": rule, "measured": "", "limit": "", "change": ""}]
    return [trial for pair in made for trial in pair]


def test_a_round_whose_data_are_wrong_enters_no_interval_and_no_sentence_and_is_named():
    rules = {2: "errors", 5: "in-flight cap", 7: "books"}
    measured = invalid(steady(10), rules)
    for each in measured:
        if each.unanswered:
            each.latency = each.latency * 1e6
    found = result.evaluate(run(("image",)), measured)["workloads"]["image"]
    left = [pair for pair in steady(10) if pair[0].round not in rules]
    assert found["comparisons"] == [each.as_dict() for each in compare(left, found["slo_ms"])]
    assert found["left_out"] == [{"mode": "async:1", "round": n, "rules": [rule]} for n, rule in rules.items()]
    said = "; 3 of 10 rounds excluded because of unanswered requests (errors, in-flight cap, books)."
    assert found["sentence"].endswith(said)
    assert "not compared, as an arm's data are wrong: async:1, round 2, 5, 7" in validity([], found["left_out"])


@pytest.mark.parametrize("rule", sorted(RULES.keys() - UNANSWERED))
def test_noise_makes_a_trial_invalid_but_no_round_is_left_out_for_it(rule):
    found = result.evaluate(run(("image",)), invalid(steady(6), {3: rule}))["workloads"]["image"]
    assert found["left_out"] == [] and found["comparisons"][0]["rounds"] == 6
    assert "excluded" not in found["sentence"]


def test_where_no_round_is_sound_the_sentence_says_why():
    measured = invalid(steady(6), dict.fromkeys(range(1, 7), "errors"))
    found = result.evaluate(run(("image",)), measured)["workloads"]["image"]
    assert found["comparisons"] == []
    said = "nothing valid was measured; 6 of 6 rounds excluded because of unanswered requests (errors)."
    assert found["sentence"].endswith(said)


def test_other_arrivals_are_named_in_full():
    assert write_sentence([], "speech", "gamma:rate=2,cv=3").startswith(
        "For speech under gamma:rate=2,cv=3 on this machine"
    )


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


def test_two_reports_are_compared_arm_by_arm_in_the_rounds_that_both_have():
    before = [each for pair in steady(9) for each in pair]
    after = [trial(each.placement, each.latency * 0.8, each.round) for each in before if each.round > 2]
    after[0].facts["complete"] = False
    found = compare_reports(before, after, {"image": 120.0})
    assert list(found) == ["image server async:1", "image client async:1"]
    client = by_name(found["image client async:1"])["p50"]
    assert (client.rounds, client.kind, client.names) == (6, CANDIDATE, ("before", "after"))
    assert client.verdict == "after better" and client.ratio == pytest.approx(0.8, abs=0.01)
    goodput = by_name(found["image client async:1"])["goodput"]
    assert goodput.unit == "answers/s within 120 ms" and goodput.candidate > goodput.baseline
    assert write_sentence(found["image client async:1"], "photographs").startswith(
        "For photographs on this machine, 'after' is better"
    )
