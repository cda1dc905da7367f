"""What a comparison says of worlds whose truth is known: it decides what its data decide, and no more."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from common.figures import significant
from crossover.analysis.answer import find_answer, pair_trials
from crossover.analysis.costs import Costs, Prices
from crossover.analysis.estimate import Estimate
from crossover.analysis.recommendation import recommend
from crossover.analysis.remarks import describe_costs, describe_load_limit
from crossover.analysis.unloaded_pairs import UnloadedPairs
from crossover.analysis.verdict import Comparison
from crossover.analysis.wording import describe_bound, describe_subject, join, write_sentence
from crossover.experiments.compare import result
from crossover.experiments.compare.tables import comparison_table
from crossover.measurement.pairs import Pairs
from loadgen.samples.sample import COMPLETED, FAILED, RECORD, STATUSES
from tests import trials_on_disk
from tests.analysis.test_comparison import trial

NETWORK = 76.0
"""ms of the network in a request, at mean speed."""


def world(
    ratio: float,
    seed: int,
    rounds: int = 20,
    cost: float = 1.0,
    known: bool = True,
    others: float = 0.02,
    preparing: tuple[float, float] = (0.0, 0.0),
):
    """Rounds whose candidate truly takes `ratio` times as long and `cost` times the CPU seconds, on a machine whose
    speed differs from trial to trial by 10 %: the network's CPU seconds show by how much. `preparing` are the ms of the
    server's preprocessing in either arm."""
    rng, made = np.random.default_rng(seed), []
    for i in range(1, rounds + 1):
        alone = 1.2 * NETWORK * rng.lognormal(0, 0.15, 12)
        for placement, factor, cpu, prepare in (
            ("client", 1.0, 1.0, preparing[0]),
            ("server", ratio, cost, preparing[1]),
        ):
            speed = rng.lognormal(0, 0.1)
            times = alone * factor * speed * rng.lognormal(0, 0.03, 12)
            spent = {"queue": 2.0 * speed, "compute_infer": NETWORK * speed, "compute_output": 0.0}
            step = {"resnet50": {"requests": 12, "mean_batch": 1.0, "ms": spent, "total": sum(spent.values())}}
            if prepare:
                took = {"queue": 0.1, "compute_infer": prepare * speed, "compute_output": 0.0}
                step["image_preprocess"] = {**step["resnet50"], "ms": took, "total": sum(took.values())}
            figures = {"steps": step, "others": others, "began": 1e9 + 10 * i, "sizes": (20_000, 400)}
            figures |= {"cpu": (0.01 * cpu, 0.08 * cpu)} if known else {"cpu": (0.01 * cpu, None)}
            spent = {"resnet50": NETWORK / 1e3 * speed} | ({"image_preprocess": prepare / 1e3} if prepare else {})
            figures |= {"step_cpu": spent} if known else {}
            made.append(trial(placement, times, i, **figures))
    return made


def unloaded_cpu(seed: int = 1, pairs: int = 60, **prepare: tuple[float, float]) -> Pairs:
    """Unloaded pairs of which nothing is known but CPU seconds: the network's, and of other steps by arm."""
    rng, known = np.random.default_rng(seed), {}
    for step, seconds in {"resnet50": (NETWORK / 1e3,) * 2, **prepare}.items():
        spent = rng.lognormal(0, 0.01, (pairs, 2)) * seconds
        known[step] = [[pair, *map(float, each)] for pair, each in enumerate(spent)]
    made = Pairs(["image client sequential", "image server sequential"], 1e9, 20.0, step_cpu=known)
    made.__dict__["records"] = np.empty((0, 2), RECORD)
    return made


def conclude(trials, pairs=None) -> dict:
    run = trials_on_disk.run(("image",))
    run["workloads"]["image"]["back_to_back_seconds"] = {"client": 0.06, "server": 0.07}
    return result.evaluate(run, trials, {"image": [pairs or unloaded_cpu()]})["workloads"]["image"]


def kinds(worlds) -> Counter:
    return Counter(
        (found["kind"], found["choice"]) for found in (conclude(each)["answer"]["recommendation"] for each in worlds)
    )


def test_a_cheaper_placement_that_is_hardly_slower_is_recommended():
    found = kinds(world(1.01, seed, cost=0.5) for seed in range(20))
    assert found["non-inferior and cheaper", "candidate"] >= 17 and not found["better", "baseline"]
    one = conclude(world(1.0, 1, cost=0.5))
    assert one["sentence"].startswith(
        f"For photographs at {significant(one['arms'][0]['offered'])} requests/s (drawn from poisson:rate=7.5) "
        "on this machine, take the server, which is cheaper and at most 5 % slower: latency server/client is "
    )
    said = "With the server a request takes 0.5 times as much client CPU, 0.5 times as much server CPU and about as"
    assert one["remarks"][1].startswith(said)


def test_a_placement_that_is_clearly_slower_is_not():
    assert kinds(world(1.2, seed, cost=0.5) for seed in range(10)) == {("better", "baseline"): 10}
    said = conclude(world(1.2, 1))["sentence"]
    assert "take the client, which is quicker by more than 5 %" in said


def test_equal_placements_are_seldom_told_apart_and_mostly_called_equal():
    found = kinds(world(1.0, seed, rounds=40) for seed in range(20))
    assert found["equivalent", ""] >= 17 and sum(n for (kind, _), n in found.items() if kind == "better") == 0
    assert "take either, as they differ by at most 5 %" in conclude(world(1.0, 1, rounds=40))["sentence"]


def test_without_the_networks_cpu_seconds_the_plain_pairs_stand_and_it_is_said():
    found = conclude(world(1.0, 1, known=False, cost=0.5))
    assert found["answer"]["loaded"]["adjusted"] is False and found["answer"]["recommendation"]["cheaper"] == ""
    said = "not adjusted for the machine's speed, as the shared model's CPU seconds are not known"
    assert said in found["remarks"][-1]
    assert "the server's CPU time is not known, so neither is what a request costs" in found["remarks"][1]
    exact = conclude(world(1.0, 1, cost=0.5))
    assert exact["answer"]["loaded"]["ratio"]["error"] < 0.5 * found["answer"]["loaded"]["ratio"]["error"]


def test_an_undecided_comparison_says_how_long_to_go_on_and_by_which_command(tmp_path):
    found = conclude(world(1.0, 1, rounds=8, known=False))
    assert (
        found["answer"]["recommendation"]["kind"] == "undecided" and ": latency server/client is" in found["sentence"]
    )
    advised = [conclude(world(1.15, seed, rounds=12, known=False)) for seed in range(20)]
    undecided = [each for each in advised if each["more_seconds"]]
    assert undecided and all(each["answer"]["recommendation"]["kind"] == "undecided" for each in undecided)
    one = undecided[0]
    trials = one["answer"]["recommendation"]["more_seconds"]
    assert trials < one["more_seconds"] < 2 * trials + 30
    [line] = result.advise({"workloads": {"image": one}}, tmp_path)
    minutes = f"{one['more_seconds'] / 60:.2g} more minutes would decide it in about half of such cases (image)"
    assert line == f"{minutes}: crossover compare --continue {tmp_path} --seconds {one['more_seconds']:g}"
    assert result.advise({"workloads": {"image": conclude(world(1.2, 1))}}, tmp_path) == []


def test_an_adjusted_ratio_stands_beside_the_unadjusted_one_wherever_it_is_shown():
    found = conclude(world(1.2, 1))
    row, plain = found["comparisons"][0], found["answer"]["loaded"]["plain"]["value"]
    assert found["answer"]["loaded"]["adjusted"] and row["unadjusted"] == pytest.approx(np.exp(plain))
    assert row["unadjusted"] == pytest.approx(row["candidate"] / row["baseline"], rel=1e-6) != row["ratio"]
    unadjusted = significant(row["unadjusted"])
    assert f"], adjusted ({unadjusted} unadjusted), at this load" in found["sentence"]
    *_, second, last = comparison_table(found["comparisons"]).splitlines()
    assert second == f"latency at this load: the ratio is adjusted for the machine's speed, {unadjusted} unadjusted"
    assert last == "The ratio of cost is averaged over rounds, so it differs a little from the quotient of its columns."
    ratios = {row["metric"]: row["ratio"] / (row["candidate"] / row["baseline"]) for row in found["comparisons"]}
    exact = {name for name, each in ratios.items() if each == pytest.approx(1, rel=1e-6)}
    assert set(ratios) - exact <= {"latency at this load", "cost"}
    found = conclude(world(1.2, 1, known=False))
    assert found["comparisons"][0]["unadjusted"] is None and "adjusted" not in found["sentence"]


def pair_of(error: float, value: float = 0.1) -> UnloadedPairs:
    return UnloadedPairs(Estimate(value, error, 9), Estimate(0, error, 9), 80, 90, 40, 9, 30, 0)


@pytest.mark.parametrize(("error", "value", "says"), [(0.2, 0.1, True), (0.6, 0.1, False), (0.6, 2.0, True)])
def test_a_ratio_of_which_nothing_is_known_is_called_too_wide_to_decide(error, value, says):
    """Its interval holds 1 and spans more than a factor of four; one beyond 1 says at least who is quicker."""
    answer = answer_with(pair_of(error, value))
    sentence = write_sentence(answer, ("client", "server"), {"client": "the client", "server": "the server"}, "these")
    assert ("] (too wide to decide) for one request at a time." in sentence) is not says
    # The table has it as well, so that the sentence has the same.
    assert f", and {np.exp(value):.3g} [" in sentence


def answer_with(unloaded: UnloadedPairs):
    pairs = pair_trials(world(1.2, 1), "async:1", "client")
    return replace(find_answer(pairs, [unloaded_cpu()], ["resnet50"]), unloaded=unloaded, unloaded_looks=(30.0,))


def test_of_a_load_of_which_nothing_is_known_the_headline_says_so():
    answer = answer_with(pair_of(0.01))
    answer = replace(answer, loaded=replace(answer.loaded, ratio=Estimate(0.1, 0.9, 9)))
    sentence = write_sentence(answer, ("client", "server"), {"client": "the client", "server": "the server"}, "these")
    said = r": latency server/client is 1\.11 \[[^]]*\] \(too wide to decide\).* at this load, and 1\.11 \["
    assert re.search(said, sentence)


CALLED = ("the client", "the server")


def costing(traffic: tuple[float, float], cpu: tuple[float, float], prices: Prices | None = None) -> Costs:
    total = [sum(each) for each in zip(traffic, cpu, strict=True)]
    return Costs(*total, None, prices or Prices(), True, *traffic)


def row(metric: str, ratio: float, kind: str) -> Comparison:
    return Comparison(metric, "ms", 1.0, ratio, ratio, 20, False, 0.05, 0.96, kind=kind)


def test_what_is_not_decided_is_no_factor_of_the_costs_and_traffic_is_told_from_cpu():
    rows = [
        row("client CPU", 0.81, "undecided"),
        row("server CPU", 1.02, "equivalent"),
        row("bytes", 0.316, "candidate"),
    ]
    line = describe_costs(costing((30.3, 9.5), (1.11, 1.12)), {each.metric: each for each in rows}, CALLED)
    assert line == (
        "With the server a request takes about as much server CPU and 0.316 times as many bytes as with the client: a "
        "million requests cost 10.6 instead of "
        "31.4 (9.5 instead of 30.3 for bytes, 1.12 instead of 1.11 for CPU), at 0.04 per core-hour and 0.05 per GB "
        "(--prices)."
    )


def test_what_costs_the_same_has_no_figures():
    rows = {"bytes": row("bytes", 1.0, "equivalent")}
    bytes_only = "With the server a request takes about as many bytes as with the client."
    assert describe_costs(costing((30.0, 30.0), (0.5, 0.5)), rows, CALLED) == bytes_only
    assert describe_costs(costing((30.0, 30.0), (0.5, 0.5)), {}, CALLED) == ""
    rows["cost"] = row("cost", 1.01, "equivalent")
    assert describe_costs(costing((30.0, 30.0), (0.5, 0.8)), rows, CALLED) == bytes_only
    line = describe_costs(costing((30.0, 30.0), (0.5, 9.5)), {}, CALLED)
    assert line.startswith("Costs: a million requests cost 39.5 instead of 30.5 (9.5 instead of 0.5 for CPU), at ")


@pytest.mark.parametrize(
    ("value", "error", "sentence"),
    [
        (0.02, 0.001, "the server costs less where a GB costs more than 0.022, and more below 0.018."),
        (0.001, 0.002, "the server costs less where a GB costs more than 0.0049."),
        (-0.02, 0.001, "the server costs less whatever a GB costs."),
        (0.02, np.inf, None),
    ],
)
def test_the_price_at_which_both_cost_the_same_is_named(value, error, sentence):
    costs = replace(costing((30.3, 9.5), (1.11, 1.5)), break_even_gb=Estimate(value, error, np.inf))
    line = describe_costs(costs, {}, CALLED)
    assert line.partition(" (--prices).")[2] == (f" At these prices of cores {sentence}" if sentence else "")
    other_way = replace(costs, baseline_traffic=9.5, candidate_traffic=30.3)
    assert ("the client costs less w" in describe_costs(other_way, {}, CALLED)) == (sentence is not None)


def test_what_costs_nothing_is_not_compared_with_nothing():
    nothing = costing((0, 0), (0, 0), Prices(0, 0, 0))
    assert describe_costs(nothing, {}, CALLED) == ""
    line = describe_costs(nothing, {"bytes": row("bytes", 0.3, "candidate")}, CALLED)
    assert line == (
        "With the server a request takes 0.3 times as many bytes as with the client; it costs nothing at 0 per "
        "core-hour and 0 per GB (--prices)."
    )


def test_neighbours_are_named_and_a_quiet_machine_is_not():
    assert "other programs used 40 % of the server's cores" in conclude(world(1.0, 1, others=0.4))["remarks"][-1]
    busy = world(1.0, 1)
    for each in busy:
        # Of both trials of a round the mean counts, not the larger one.
        each.client_others = 0.8 if each.placement == "client" else 0.0
    found = conclude(busy)
    assert "the machine was not quiet: other programs used 40 % of the client's cores" in found["remarks"][-1].lower()
    [(what, _)] = result.list_banners({"workloads": {"image": found, "audio": found}}, busy)
    assert what == "The machine was not quiet while it measured image and audio."
    assert not any("quiet" in line for line in conclude(world(1.0, 1))["remarks"])


def test_the_whole_difference_stands_before_that_without_the_shared_step():
    found = conclude(world(1.1, 1))
    whole = found["answer"]["candidate_ms"] - found["answer"]["baseline_ms"]
    line = found["remarks"][0]
    assert line.startswith(f"{LEADS} {whole:+.3g} ms, +") and line.endswith("] apart from resnet50, which both use.")
    assert whole > 0 and "%" not in line


def test_the_difference_in_the_sentence_is_that_of_the_rows_of_the_tables():
    """Also where rounds have different numbers of requests, and the long ones are the slow ones."""
    trials = []
    for i in range(1, 13):
        n = 4 if i % 2 else 20
        for placement, factor in (("client", 1.0), ("server", 1.0 if i % 2 else 1.5)):
            whole = np.full(n, 100.0 * factor * (1 + 0.001 * i))
            spent = {"queue": 2.0, "compute_infer": NETWORK, "compute_output": 0.0}
            step = {"requests": n, "mean_batch": 1.0, "ms": spent, "total": sum(spent.values())}
            figures = {"steps": {"resnet50": step}, "others": 0.02, "began": 1e9 + 10 * i}
            trials.append(trial(placement, whole, i, **figures))
    found = conclude(trials)
    mean = next(row for row in found["comparisons"] if row["metric"] == "mean")
    whole = found["answer"]["candidate_ms"] - found["answer"]["baseline_ms"]
    assert whole == pytest.approx(mean["candidate"] - mean["baseline"], rel=1e-6)
    # The network takes the same in both, so that nothing of the difference lies in it.
    assert found["answer"]["without_shared_step"]["milliseconds"]["value"] == pytest.approx(whole, rel=1e-6)
    assert found["remarks"][0].startswith(f"{LEADS} {whole:+.3g} ms, {whole:+.3g} ms [")


LEADS = "On average a request takes with the server, compared with the client,"


SLOWS = ". Preparing on the same cores also slows resnet50: only the whole latency includes that."


def test_that_preparing_slows_the_network_is_said_where_one_placement_prepares_on_the_server():
    line = conclude(world(1.1, 1, preparing=(0.0, 8.0)))["remarks"][0]
    assert line.startswith(LEADS) and line.endswith(f" apart from resnet50, which both use{SLOWS}")
    # Both do, and the same: then it is no difference between them.
    same = unloaded_cpu(image_preprocess=(0.008, 0.008))
    line = conclude(world(1.1, 1, preparing=(8.0, 8.0)), same)["remarks"][0]
    assert line.endswith(" apart from image_preprocess and resnet50, which both use.")


def test_a_step_that_has_other_work_in_each_placement_is_not_taken_for_shared():
    """A thumbnail is decoded sooner than the whole photograph."""
    found = conclude(world(1.1, 1, preparing=(6.0, 8.0)), unloaded_cpu(image_preprocess=(0.006, 0.008)))
    assert found["answer"]["shared_steps"] == ["resnet50"] and found["answer"]["own_steps"] == [[], []]
    assert found["remarks"][0].endswith(" apart from resnet50, which both use.")


def test_one_request_of_another_user_makes_no_step_shared():
    trials = world(1.1, 1, preparing=(0.0, 8.0))
    trials[0].steps["image_preprocess"] = trials[1].steps["image_preprocess"]
    found = conclude(trials)
    assert found["answer"]["shared_steps"] == ["resnet50"] and found["answer"]["loaded"]["adjusted"]
    assert found["answer"]["own_steps"] == [[], ["image_preprocess"]]


def test_a_placement_that_is_cheaper_and_certainly_quicker_is_not_called_slower():
    found = conclude(world(0.97, 1, cost=0.5))
    assert found["answer"]["recommendation"]["kind"] == "non-inferior and cheaper"
    assert "take the server, which is cheaper and quicker: latency" in found["sentence"]


def test_the_figures_of_the_deciding_row_are_of_the_rounds_and_weights_of_its_ratio():
    """A round in four has eight times as many arrivals, and there the server is quicker."""
    made = []
    for i in range(1, 21):
        n, ratio = (16, 0.7) if i % 4 == 0 else (2, 1.3)
        made += [trial("client", np.full(n, 100.0), i), trial("server", np.full(n, 100 * ratio), i)]
    # What one arm did not answer leaves the round out, of the figures, too.
    made[-2].records["done"] += int(1e9)
    made[-1].records["status"][0] = 1
    row = conclude(made)["comparisons"][0]
    assert (row["metric"], row["rounds"]) == ("latency at this load", 19)
    assert row["candidate"] / row["baseline"] == pytest.approx(row["ratio"]) and row["ratio"] > 1.1


def test_pairs_that_were_not_answered_are_told():
    records = np.zeros((40, 2), RECORD)
    records["status"], records["done"] = STATUSES.index(COMPLETED), (80_000_000, 90_000_000)
    records["due"] = np.arange(40)[:, None] * 200_000_000
    records["done"] += records["due"]
    records["began"] = records["sent"] = records["due"]
    records["status"][:3, 1] = STATUSES.index(FAILED)
    measured = unloaded_cpu()
    measured.__dict__["records"] = records
    said = conclude(world(1.0, 1), measured)["remarks"][-1]
    assert "3 of 40 pairs of single requests left out, as not both had a good answer" in said


@pytest.mark.parametrize(("use", "warned"), [(0.5, False), (0.85, True)])
def test_the_load_for_which_the_figures_hold_is_said(use, warned):
    line = describe_load_limit(use)
    assert f"busy for about {use * 100:.0f} % of the time, if it answers one request at a time" in line
    assert ("a steady load like this makes the difference larger" in line) == warned
    assert describe_load_limit(None) == ""
    assert "the slower placement is asked for 2.4 times what it answers one at a time;" in describe_load_limit(2.4)


def test_what_was_offered_is_named():
    assert describe_subject("photographs", "poisson:rate=1.5", 1.4615) == "photographs at 1.46 requests/s"
    drawn = "photographs at 3.42 requests/s (drawn from poisson:rate=4)"
    assert describe_subject("photographs", "poisson:rate=4", 3.42) == drawn
    assert describe_subject("speech", "gamma:rate=2,cv=3", 1.94) == "speech under gamma:rate=2,cv=3 (1.94 requests/s)"
    assert [join(each) for each in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (1.06, 1.2, ""),
        (1.045, 1.2, " (at least 1.06 with 95 % confidence)"),
        (0.83, 0.958, " (at most 0.948 with 95 % confidence)"),
        (0.97, 1.04, ""),
        (0.955, 1.055, " (at least 0.962 and at most 1.05 with 95 % confidence)"),
        (0.9, 1.2, ""),
    ],
)
def test_the_bound_that_decides_is_told_where_the_interval_alone_would_not_have(low, high, says):
    half = np.log(high / low) / 2
    found = recommend(Estimate(np.log(low * high) / 2, half / stats.norm.ppf(0.98), np.inf), [270.0])
    assert describe_bound(found) == says
