"""What `mixed:best` of a capacity search stands for, and what is said of the shares that were tried."""

import json
from dataclasses import replace

import numpy as np
import pytest

from crossover.experiments.capacity import tables
from crossover.experiments.capacity.best_share import Cost, add_shares, find_balance, list_shares
from crossover.experiments.capacity.estimates import estimate_capacities, find_best_share
from crossover.experiments.capacity.wording import write_sentence
from tests.commands import goes_on, interrupted, only, run, start
from tests.experiments.test_capacity import SHORT
from tests.trials_on_disk import about
from workloads.image import IMAGE

PREPARED, FILE = Cost(client=0.009, server=0.003), Cost(client=0.001, server=0.013)


def test_at_the_balance_both_sides_spend_the_same_part_of_their_cores():
    for client_cores, server_cores in ((1, 1), (2, 1), (1, 3)):
        share = find_balance(PREPARED, FILE, client_cores, server_cores)
        spent = (
            (share * PREPARED.client + (1 - share) * FILE.client) / client_cores,
            (share * PREPARED.server + (1 - share) * FILE.server) / server_cores,
        )
        # The share is rounded, by 0.025 at most.
        assert abs(spent[0] - spent[1]) < 0.026 * (0.008 / client_cores + 0.01 / server_cores)
    assert find_balance(PREPARED, FILE, 1, 1) < find_balance(PREPARED, FILE, 4, 1)


@pytest.mark.parametrize(
    ("prepared", "file", "share"),
    [
        (Cost(0.01, 0.09), Cost(0.001, 0.1), 0.95),  # the server is exhausted first, whatever the share
        (Cost(0.2, 0.001), Cost(0.1, 0.01), 0.05),  # the client is
        (Cost(0.01, 0.01), Cost(0.01, 0.01), 0.05),  # it makes no difference
    ],
)
def test_without_a_balance_the_nearest_share_is_taken(prepared, file, share):
    assert find_balance(prepared, file, 1, 1) == share


def test_on_a_thinner_link_the_share_of_what_has_fewer_bytes_grows():
    def at(mbit: float, tensor: float = 602e3, file: float = 190e3) -> float:
        prepared, sent = (
            replace(cost, link=size * 8 / (mbit * 1e6)) for cost, size in ((PREPARED, tensor), (FILE, file))
        )
        return find_balance(prepared, sent, 1, 1)

    loopback = find_balance(PREPARED, FILE, 1, 1)
    shares = [at(mbit) for mbit in (20, 100, 200, 300, 400, 1000)]
    assert shares == sorted(shares) and shares[0] == 0.05 and 0.05 < shares[2] < shares[3] < loopback
    assert shares[-1] == at(1e9) == loopback
    # Files that are larger than their tensor are prepared before they are sent.
    assert at(20, file=1.4e6) == 0.95 and at(10_000, file=1.4e6) == loopback


def test_the_shares_lie_about_the_balance_and_within_the_arrivals():
    assert list_shares(0.6) == [0.35, 0.6, 0.85]
    assert list_shares(0.05) == [0.05, 0.3] and list_shares(0.95) == [0.7, 0.95]


def test_each_share_is_an_arm_over_the_transport_that_was_asked():
    whole, names = add_shares(IMAGE.with_arms(["mixed:best+grpc"]), "mixed:best+grpc", [0.35, 0.6])
    assert names == ["mixed:0.35+grpc", "mixed:0.6+grpc"] and "mixed:best+grpc" not in whole.placements
    placed = whole.placements["mixed:0.6+grpc"]
    assert (placed.split.share, placed.transport.name) == (0.6, "grpc")


def search(capacities, turns=20, noise=0.1, balance=0.6):
    """A workload of capacity.json whose arms are shares."""
    rng, probes = np.random.default_rng(1), []
    names = [f"mixed:{share:g}" for share in list_shares(balance)]
    arms = [f"image {name} async:1" for name in names]
    for arm, capacity in zip(arms, capacities, strict=True):
        for turn in range(turns):
            rate = capacity * rng.lognormal(0, 0.1)
            ms = 100 * (rate / capacity) ** 4 * rng.lognormal(0, noise)
            each = {"arm": arm, "turn": turn, "rate": rate, "ms": ms, "over": bool(ms > 100), "slow": "server"}
            probes.append({**each, "client_rules": [], "valid": True})
    found = {**about("image"), "arms": arms, "percentile": 90, "slo_ms": 100.0, "requests": 81, "planned_turns": 20}
    found["placements"] = {name: {"model": "resnet50", "words": f"both ({name})"} for name in names}
    found |= {"probes": probes, "burstiness": [], "shares": {"balance": balance, "arms": names}}
    return {**found, **estimate_capacities(found)}


def test_the_best_share_is_said_with_the_interval_of_its_lead():
    found = search((50.0, 80.0, 65.0))
    assert find_best_share(found) == "image mixed:0.6 async:1"
    for text in (tables.text({"image": found}), write_sentence(found)):
        assert "f the shares 0.35, 0.6, 0.85 (balance 0.6) mixed:0.6 carries most, 1.2" in text
        assert "times what mixed:0.85 does" in text and "undecided" not in text
    equal = write_sentence(search((50.0, 50.0, 50.0), noise=0.4))
    assert "carries most" in equal and equal.count("which is undecided") == 1
    assert "carries most, without an interval" in write_sentence(search((50.0, 80.0, 65.0), turns=12))


def test_two_shares_are_compared_as_three_are():
    """At the ends of the shares there are no more: without an interval nobody could say which is better."""
    found = search((80.0, 50.0), balance=0.05)
    assert found["best"] is None  # of two arms their ratio says it
    assert found["best_share"]["low"] > 1
    said = write_sentence(found)
    assert "of the shares 0.05, 0.3 (balance 0.05) mixed:0.05 carries most, 1." in said and "undecided" not in said


@pytest.mark.long
def test_a_search_finds_the_balance_and_tries_shares_about_it(server, tmp_path):
    code, output = run(
        "capacity", "image", "--url", server.url, "--state", server.state, "--reports", tmp_path, "--percentile", 90,
        "--slo", 300, "--arms", "mixed:best", "--loads", 0.9, "--seconds", 90, shorter=f"{SHORT}2",
    )  # fmt: skip
    assert code in (0, 3), output
    found = json.loads((only(tmp_path) / "capacity.json").read_text())["image"]
    tried = list_shares(found["shares"]["balance"])
    assert found["shares"]["arms"] == [f"mixed:{share:g}" for share in tried]
    assert [each["arm"] for each in found["capacity"]] == [f"image {each} async:1" for each in found["shares"]["arms"]]
    assert f"balance at {found['shares']['balance']:g} by the client: tries mixed:" in output
    assert "image mixed:" in output and "client-prepared" in output
    # By this --continue knows the run.
    assert json.loads((only(tmp_path) / "run.json").read_text())["asked"]["arms"] == {"image": ["mixed:best"]}
    # One share alone is offered bursts.
    assert {row["arm"] for row in found["burstiness"]} <= {find_best_share(found)}


@pytest.mark.long
def test_an_interrupted_search_goes_on_with_the_shares_that_it_had(server, tmp_path):
    given = ["image", "--url", server.url, "--state", server.state, "--reports", tmp_path, "--percentile", 90]
    given += ["--slo", 300, "--arms", "mixed:best", "--loads", 0.9, "--seconds", 90]
    process = start("capacity", *given, shorter=f"{SHORT}3")
    interrupted(process, lambda: len(list(tmp_path.rglob("round-*.json"))) >= 4)
    directory = only(tmp_path)
    described = json.loads((directory / "run.json").read_text())["workloads"]["image"]
    at = ["--url", server.url, "--state", server.state]
    code, output = run("capacity", "--continue", directory, "--seconds", 120, *at, shorter=f"{SHORT}3")
    assert code == 2 and "seconds: 90.0 against 120.0; leave --seconds out, as only" in output.splitlines()[-1]
    goes_on("capacity", directory, *given, shorter=f"{SHORT}3")
    assert json.loads((directory / "run.json").read_text())["workloads"]["image"] == described
    found = json.loads((directory / "capacity.json").read_text())["image"]
    assert found["shares"] == described["shares"] and found["turns"] == 3
    assert [each["arm"] for each in found["capacity"]] == [f"image {each} async:1" for each in found["shares"]["arms"]]
