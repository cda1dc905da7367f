"""What a comparison says of worlds whose truth is known: it decides what its data decide, and no more."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from crossover.analysis.estimate import Estimate
from crossover.analysis.recommendation import recommend
from crossover.analysis.wording import describe_bound, describe_load_limit, describe_subject, join
from crossover.experiments.compare import result
from crossover.measurement.pairs import Pairs
from loadgen.samples.sample import RECORD
from tests import trials_on_disk
from tests.analysis.test_comparison import trial

NETWORK = 76.0
"""ms of the network in a request, at mean speed."""


def world(ratio: float, seed: int, rounds: int = 20, cost: float = 1.0, known: bool = True, others: float = 0.02):
    """Rounds whose candidate truly takes `ratio` times as long and `cost` times the CPU seconds, on a machine whose
    speed differs from trial to trial by 10 %: the network's CPU seconds show by how much."""
    rng, made = np.random.default_rng(seed), []
    for i in range(1, rounds + 1):
        alone = 1.2 * NETWORK * rng.lognormal(0, 0.15, 12)
        for placement, factor, cpu in (("client", 1.0, 1.0), ("server", ratio, cost)):
            speed = rng.lognormal(0, 0.1)
            times = alone * factor * speed * rng.lognormal(0, 0.03, 12)
            spent = {"queue": 2.0 * speed, "compute_infer": NETWORK * speed}
            step = {"resnet50": {"requests": 12, "mean_batch": 1.0, "ms": spent, "total": sum(spent.values())}}
            figures = {"steps": step, "others": others, "began": 1e9 + 10 * i, "sizes": (20_000, 400)}
            figures |= {"cpu": (0.01 * cpu, 0.08 * cpu)} if known else {"cpu": (0.01 * cpu, None)}
            figures |= {"step_cpu": {"resnet50": NETWORK / 1e3 * speed}} if known else {}
            made.append(trial(placement, times, i, **figures))
    return made


def unloaded_cpu(seed: int = 1, pairs: int = 60, dearer: float = 1.0) -> Pairs:
    """Unloaded pairs of which nothing is known but the network's CPU seconds: the candidate needs `dearer` times."""
    rng = np.random.default_rng(seed)
    spent = NETWORK / 1e3 * rng.lognormal(0, 0.01, (pairs, 2)) * (1, dearer)
    known = {"resnet50": [[pair, *map(float, each)] for pair, each in enumerate(spent)]}
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
        "For photographs at 7.5 requests/s on this machine, take the server, which is cheaper and at most 5 % slower: "
        "latency server/client is "
    )
    assert (
        "The server takes 0.5 times the client CPU, 0.5 times the server CPU and 1 times the bytes" in one["remarks"][1]
    )


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
    assert "not adjusted for the machine's speed, as the network's CPU seconds are not known" in found["remarks"][-1]
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
    minutes = f"{one['more_seconds'] / 60:.2g} more minutes decide about half of such cases (image)"
    assert line == f"{minutes}: crossover compare --continue {tmp_path} --seconds {one['more_seconds']:g}"
    assert result.advise({"workloads": {"image": conclude(world(1.2, 1))}}, tmp_path) == []


def test_neighbours_are_named_and_a_quiet_machine_is_not():
    assert "other programs used 40 % of the server's cores" in conclude(world(1.0, 1, others=0.4))["remarks"][-1]
    assert not any("quiet" in line for line in conclude(world(1.0, 1))["remarks"])


def test_the_difference_without_the_shared_step_is_in_ms_and_per_cent_of_a_request():
    line = conclude(world(1.1, 1))["remarks"][0]
    assert line.startswith("Without resnet50, which both share, the server takes +") and " % [" in line


@pytest.mark.parametrize(("use", "warned"), [(0.5, False), (0.85, True)])
def test_the_load_for_which_the_figures_hold_is_said(use, warned):
    line = describe_load_limit(use)
    assert f"busy for about {use * 100:.0f} % of the time" in line
    assert ("a steady load like this makes the difference larger" in line) == warned
    assert describe_load_limit(None) == ""


def test_what_was_offered_is_named():
    assert describe_subject("photographs", "poisson:rate=7.5") == "photographs at 7.5 requests/s"
    assert describe_subject("speech", "gamma:rate=2,cv=3") == "speech under gamma:rate=2,cv=3"
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
