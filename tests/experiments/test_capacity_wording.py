"""What is said of capacities, and what the tables explain: nothing that the data do not bear."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from crossover.experiments.capacity import result as capacity_result
from crossover.experiments.capacity import tables
from crossover.experiments.capacity.estimates import estimate_capacities, find_limit
from crossover.experiments.capacity.wording import LIMITS, write_sentence
from tests import trials_on_disk
from tests.trials_on_disk import about


def probed(capacities=(50.0, 80.0), noise=0.1, turns=20, slow="server", seed=1) -> dict:
    """A workload of capacity.json: probes whose p90 rises with the fourth power of the rate, from 100 ms at these."""
    rng, probes = np.random.default_rng(seed), []
    arms = [f"image {name} async:1" for name in ("client", "server", "mixed:auto")][: len(capacities)]
    for arm, capacity in zip(arms, capacities, strict=True):
        for turn in range(turns):
            rate = capacity * rng.lognormal(0, 0.1)
            ms = 100 * (rate / capacity) ** 4 * rng.lognormal(0, noise)
            over = bool(ms > 100)
            each = {"arm": arm, "turn": turn, "rate": rate, "ms": ms, "over": over, "slow": slow if over else ""}
            probes.append({**each, "client_rules": [], "valid": True})
    found = {**about("image"), "arms": arms, "percentile": 90, "slo_ms": 100.0, "requests": 81, "planned_turns": 20}
    found |= {"probes": probes, "burstiness": []}
    return {**found, **estimate_capacities(found)}


def test_a_difference_is_said_with_its_interval():
    said = write_sentence(probed())
    assert said.startswith("For photographs, p90 of Poisson arrivals stays within 100 ms up to 49.9 [4")
    assert ": the server carries more than the client, server/client is 1." in said
    assert said.endswith("In the probes over that, the server was slow in both cases.")
    assert "the client carries more than the server, server/client is 0." in write_sentence(probed((80.0, 50.0)))


def test_a_link_is_named_with_its_rate_and_as_what_was_slow():
    found = probed(slow="link") | {"link_mbit": 20.0}
    said = write_sentence(found)
    assert said.startswith(
        "For photographs over a link of 20 Mbit/s, p90 of Poisson arrivals stays within 100 ms up to"
    )
    assert said.endswith("In the probes over that, the link was slow in both cases.")
    text = tables.text({"image": found}, explain=True)
    assert text.startswith("image over a link of 20 Mbit/s: p90 at most 100 ms, Poisson") and "\nlink   " in text
    assert "link" not in tables.text({"image": probed()}, explain=True)


@pytest.mark.parametrize(
    ("slow", "limit", "says"),
    [
        (["link", "link", "server"], "link", "the link"),
        (["link", "server"], "several", "now the link, now one of its ends"),
        (["client", "server"], "both", "now the client, now the server"),
        (["client", "client", "server"], "client", "the client"),
        ([], None, None),
    ],
)
def test_the_limit_is_what_was_slow_in_two_thirds_of_the_probes(slow, limit, says):
    assert find_limit(slow) == limit
    assert says is None or LIMITS[limit] == says


def test_the_terminal_has_the_sentence_below_the_table_and_names_a_busy_machine():
    found = {"image": probed()}
    assert f"\n\n{write_sentence(found['image'])}\n\n" in tables.text(found)
    quiet, busy = (SimpleNamespace(workload="image", others=each, client_others=None) for each in (0.02, 0.5))
    unknown = SimpleNamespace(workload="image", others=None, client_others=None)
    assert capacity_result.list_banners(found, [quiet, unknown]) == []
    [(what, meaning)] = capacity_result.list_banners(found, [busy, unknown])
    assert what == "The machine was not quiet while it measured image."
    assert meaning == "Other programs may be what was slow: stop them and measure again."


def test_equal_arms_are_said_to_carry_more_in_at_most_five_percent():
    """Their rates are always some per cent apart: of a ratio of 1.1 and more a search said that one carries more."""
    said = [write_sentence(probed((50.0, 50.0), 0.4, seed=seed)) for seed in range(100)]
    assert sum("carries more than" in each for each in said) <= 12  # P < 0.3 % at 5 %
    assert sum("which of them carries more is undecided" in each for each in said) >= 88
    assert all(re.search(r"server/client is [\d.]+ \[[\d.]+, [\d.]+\]", each) for each in said)


MIXED = {"model": "resnet50", "words": "both, each where less work waits"}


def add_words(found):
    return {**found, "placements": {**found["placements"], "mixed:auto": MIXED}}


@pytest.mark.parametrize(("capacities", "next_one"), [((50.0, 80.0, 120.0), "server"), ((80.0, 50.0, 120.0), "client")])
def test_the_best_of_three_is_compared_with_the_next_one_whichever_is_the_baseline(capacities, next_one):
    found = add_words(probed(capacities))
    best = found["best"]
    assert best["arm"] == "image mixed:auto async:1" and best["next"] == f"image {next_one} async:1"
    assert best["low"] < 1.5 < best["high"] and best["low"] > 1
    said = write_sentence(found)
    assert f"; the most is carried by both, each where less work waits, {best['ratio']:.3g} [" in said
    assert f"] times what the {next_one} carries." in said
    assert f"best mixed:auto/{next_one}, the next: {best['ratio']:.3g} [" in tables.text({"image": found})


def test_equal_arms_have_a_best_one_whose_interval_holds_one():
    best = [probed((50.0, 50.0, 50.0), 0.4, seed=seed)["best"] for seed in range(40)]
    assert sum(each["low"] > 1 for each in best) <= 6  # P < 2 % at 5 %
    assert probed((50.0, 80.0))["best"] is None
    few = probed((50.0, 80.0, 120.0), turns=6)
    assert few["best"] is None or few["best"]["low"] is None


def test_few_turns_are_said_to_be_too_few():
    found = probed(turns=6)
    said = write_sentence(found)
    assert "requests/s (too few turns for an interval)" in said and "up to about " in said
    assert "too little was measured to compare the server with the client" in said
    assert "6 of 20 turns of 81 requests" in tables.text({"image": found})


def test_an_arm_that_carries_nothing_or_everything_is_said_to():
    found = probed((50.0,), turns=0)
    found["arms"] = ["image client async:1", "image server async:1"]
    start = {"turn": None, "ms": 5.0, "client_rules": [], "valid": True}
    for rate in (4.0, 8.0):
        found["probes"].append({**start, "arm": found["arms"][0], "rate": rate, "over": True, "slow": "server"})
        found["probes"].append({**start, "arm": found["arms"][1], "rate": rate, "over": False, "slow": ""})
    found |= estimate_capacities(found)
    said = write_sentence(found)
    assert "not even at 4 requests/s, the lowest rate tried, preprocessed by the client" in said
    assert "also at 8 requests/s, the highest rate tried, preprocessed by the server." in said
    assert "rate" in tables.text({"image": found})


def test_one_arm_has_a_capacity_and_nothing_to_compare():
    said = write_sentence(probed((50.0,)))
    assert "carries" not in said and said.endswith("In the probes over that, the server was slow.")


def test_a_limit_that_is_now_the_one_now_the_other_is_no_one_s():
    found = probed()
    for number, each in enumerate(each for each in found["probes"] if each["over"]):
        each["slow"] = ("client", "server")[number % 2]
    found |= estimate_capacities(found)
    assert [each["limited_by"] for each in found["capacity"]] == ["both", "both"]
    assert "now the client, now the server was slow in both cases" in write_sentence(found)


def test_two_limits_are_said_in_the_order_of_the_arms():
    found = probed()
    for each in found["probes"]:
        each["slow"] = each["arm"].split()[1] if each["over"] else ""
    said = write_sentence({**found, **estimate_capacities(found)})
    assert said.endswith("In the probes over that, the client was slow in the first case, the server in the second.")


def test_a_turn_that_was_cut_short_is_left_out():
    found = probed()
    whole = estimate_capacities(found)
    found["probes"].append({**found["probes"][0], "turn": 20})
    cut = estimate_capacities(found)
    assert (cut["turns"], cut["ratios"]) == (20, whole["ratios"])


def test_a_legend_explains_only_what_is_there():
    found = trials_on_disk.capacity("image")
    marks = ("cv  ", "(p99)", "!   ", "ratio ")
    assert all(f"\n{mark}" in tables.text({"image": found}, explain=True) for mark in marks)
    found["burstiness"] = [row for row in found["burstiness"] if row["requests"] > 459 and row["valid"]]
    assert [f"\n{mark}" in tables.text({"image": found}, explain=True) for mark in marks] == [True, False, False, True]
    found["burstiness"] = []
    assert [f"\n{mark}" in tables.text({"image": found}, explain=True) for mark in marks] == [False, False, False, True]
    one = probed((50.0,))
    assert not any(f"\n{mark}" in tables.text({"image": one}, explain=True) for mark in marks)
    assert "fell behind" not in tables.text({"image": one}, explain=True)
    one["probes"][0]["client_rules"] = ["dispatch lag"]
    assert "fell behind" in tables.text({"image": {**one, **estimate_capacities(one)}}, explain=True)


def test_a_file_of_an_earlier_version_is_refused_in_one_line(tmp_path):
    (tmp_path / "capacity.json").write_text(json.dumps({"image": {"capacity": [], "curve": []}}))
    with pytest.raises(ValueError, match=r"capacity.json is of an earlier version, .* measure again"):
        capacity_result.fold(tmp_path, {}, ())


def test_of_equal_arms_none_is_said_to_carry_most():
    found = next(each for seed in range(9) if (each := probed((50.0,) * 3, 0.4, seed=seed))["best"]["low"] <= 1)
    said = write_sentence(add_words(found))
    best, following = (found["best"][key].split()[1] for key in ("arm", "next"))
    assert f"; which carries most is undecided, {best}/{following} is {found['best']['ratio']:.3g} [" in said


def test_of_four_arms_the_sentence_has_the_best_and_the_table_has_all():
    found = add_words(probed((50.0, 80.0, 120.0)))
    fourth = {**found["capacity"][0], "arm": "image client:uint8 async:1"}
    said = write_sentence({**found, "capacity": [*found["capacity"], fourth]})
    assert said.startswith("For photographs, p90 of Poisson arrivals stays within 100 ms up to 1")
    assert "preprocessed by both, each where less work waits: the most is carried by both" in said
    assert "preprocessed by the client" not in said and said.count("[") == 2
