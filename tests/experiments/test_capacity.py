"""The search for capacities on the real server, its trials on the disk, and its flags.

Whether its intervals hold the truth is simulated in tests/analysis/test_capacity_pairs.py.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossover.experiments.burst_shapes import bursts
from crossover.experiments.capacity import result as capacity_result
from crossover.experiments.capacity import search
from crossover.experiments.capacity.probe import Prober, inexplicable_failures, was_given_up
from crossover.measurement.retry import Retries
from crossover.measurement.trial import read_trials
from crossover.report.format import tied
from loadgen.arm import Arm, Mode
from serving.server import Server
from tests.commands import again, goes_on, interrupted, only, refuses, run, says_that_no_server_answers, start
from tests.trials_on_disk import trial
from workloads.catalogue import BUILT_IN

SHORT = (
    "search.LASTING, search.SHORTEST, search.ALLOWED, search.START = 2, 0, 0, 1.5; plan.FEWEST_TURNS = plan.TURNS = "
)
"""So many turns also where a slow machine leaves too little time for the plan that has more."""


@pytest.fixture(scope="module")
def finished(server, tmp_path_factory):
    """(output, directory) of a search of two turns with short probes: too few for an interval, and so for bursts."""
    reports = tmp_path_factory.mktemp("reports")
    code, output = run(
        "capacity", "audio", "--url", server.url, "--state", server.state, "--reports", reports,
        "--percentile", 90, "--slo", 300, "--loads", 0.9, "--seconds", 60, shorter=f"{SHORT}2",
    )  # fmt: skip
    assert code in (0, 3), output  # 3: a machine that was too busy to measure on
    return output, only(reports)


def test_a_server_has_capacities_and_everything_is_on_disk(finished):
    _, directory = finished
    found = json.loads((directory / "capacity.json").read_text())["audio"]
    assert (
        [each["arm"] for each in found["capacity"]] == found["arms"] == ["audio client async:1", "audio server async:1"]
    )
    assert found["turns"] == found["planned_turns"] == 2
    assert all(each["low"] is None for each in (*found["capacity"], *found["ratios"]))  # of two turns
    # In every turn each arm is offered the same arrivals, and its rate follows from its probe before.
    kept = read_trials(directory)
    begun = {each["arm"] for each in found["probes"] if each["turn"] == 0}
    started = [arm for arm in found["arms"] if arm in begun]
    for turn in range(2):
        assert [each["turn"] for each in found["probes"]].count(turn) == len(started)
    # A machine that is busy for a moment may answer no rate in time: then there is none to start from.
    assert all(each["over"] for each in found["probes"] if each["arm"] not in started)
    assert len({each.seed for each in kept}) < len(kept) - 1
    for arm in started:
        first, second = (each for each in found["probes"] if each["arm"] == arm and each["turn"] is not None)
        assert second["rate"] == pytest.approx(first["rate"] * (0.8 if first["over"] else 1.25))
    assert json.loads((directory / "run.json").read_text())["complete"]
    assert len(kept) == len(found["probes"]) + len(found["burstiness"])
    assert not list(directory.rglob("*.journal"))
    assert sum(not each.facts["complete"] for each in kept) == sum(not each["complete"] for each in found["probes"])
    assert capacity_result.sentences({"audio": found})["audio"][0].startswith("For speech, p90 of Poisson arrivals")


def test_its_report_says_the_same_and_can_be_made_again(finished, monkeypatch, capsys):
    output, directory = finished
    page = directory / "report.html"
    found = json.loads((directory / "capacity.json").read_text())
    [said] = capacity_result.sentences(found)["audio"]
    assert tied(said) in page.read_text()
    code, printed, _ = again(monkeypatch, capsys, directory)
    assert code in (0, 3) and printed.strip() in output
    made = Path("reports") / f"{directory.name}-report"
    assert (made / "report.html").read_text() == page.read_text()
    assert json.loads((made / "capacity.json").read_text()) == found


def test_bursts_offer_every_shape_of_the_same_load(server, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "ALLOWED", 0)
    inputs = BUILT_IN["audio"].load()[:1]
    retries = Retries(lambda: Server.at(server.url, server.state), print)
    arm = Arm(BUILT_IN["audio"], "server", Mode("async"))
    rows = Prober(retries, arm, inputs, tmp_path, 1, slo=300, percentile=90, seed=1).measure_bursts(200, 0.5)
    assert [(row["arrivals"], row["load"]) for row in rows] == [(name, 0.5) for name in bursts()]
    assert all(row["requests"] == 48 and row["p50"] <= row["p99"] for row in rows)
    assert {each.summary["offered"] for each in read_trials(tmp_path)} == {100}


@pytest.mark.long
def test_ctrl_c_leaves_the_probes_that_are_done_and_the_search_goes_on(server, tmp_path):
    given = ["audio", "--url", server.url, "--state", server.state, "--reports", tmp_path, "--percentile", 90]
    given += ["--loads", 0.9, "--slo", 300]
    process = start("capacity", *given, shorter=f"{SHORT}16")
    output = interrupted(process, lambda: len(list(tmp_path.glob("*/audio/audio-server*/round-*.json"))) >= 8)
    directory = only(tmp_path)
    assert f"go on with: crossover capacity --continue {directory}" in output
    before = json.loads((directory / "capacity.json").read_text())["audio"]["probes"]
    assert not json.loads((directory / "run.json").read_text())["complete"]
    assert "This run is incomplete." in (directory / "report.html").read_text()
    goes_on("capacity", directory, *given, shorter=f"{SHORT}16")
    found = json.loads((directory / "capacity.json").read_text())["audio"]
    assert found["turns"] == 16
    for arm in found["arms"]:
        first, whole = ([each for each in probes if each["arm"] == arm] for probes in (before, found["probes"]))
        assert whole[: len(first)] == first
    for each in found["capacity"]:
        assert each["low"] is None or each["low"] < each["rate"] < each["high"]
    assert found["ratios"][0]["baseline"] == "audio client async:1"
    known = [each for each in found["capacity"] if each["rate"]]
    assert [row["arrivals"] for row in found["burstiness"]] == list(bursts()) * len(known)


def test_a_probe_that_was_given_up_while_requests_failed_is_measured_again(tmp_path):
    """It breaks one rule, that it was cut short; what has failed is told all the same."""
    failing, said = trial(tmp_path, "image", "client", 1, broken="reset by peer"), []
    failing.facts["complete"] = False
    failing.findings = [each for each in failing.findings if each["rule"] != "errors"]
    retries = Retries(lambda: SimpleNamespace(wait=lambda seconds: None), said.append)
    retries.set_deadline(60)
    found = retries.measure_until_valid(
        lambda attempt: failing if attempt == 1 else trial(tmp_path, "image", "client", 1), inexplicable_failures
    )
    assert not found.summary["books"]["failed"]
    why = f"errors: 1 of {failing.scheduled} failed, most common reason 'reset by peer'"
    assert said == [f"invalid, measuring again: {why}"]


def make_prober(directory) -> Prober:
    retries = Retries(lambda: SimpleNamespace(wait=lambda seconds: None), lambda line: None)
    return Prober(retries, ARM, [], directory, 1, slo=1e5, percentile=90, seed=1)


ARM = Arm(BUILT_IN["image"], "client", Mode("async"))


def test_a_probe_of_an_interrupted_run_is_not_measured_again_unless_it_could_have_told_more(tmp_path, monkeypatch):
    """Cut short by Ctrl-C, one has what was not answered; given up, it has more answers over the limit than it may."""
    there = trial(tmp_path, "image", "client", 1, seconds=30)
    folder = tmp_path / "image" / ARM.slug
    folder.exists() or there.path.parent.rename(folder)
    schedule, measured = SimpleNamespace(digest=there.schedule), []
    monkeypatch.setattr(Prober, "offer", lambda self, *_: measured.append(1) or there)
    for complete, hopeless, times in ((True, 1e5, 0), (False, 1e5, 1), (False, 1, 0)):
        there.facts["complete"], there.path = complete, folder / "round-01.json"
        there.write()
        assert was_given_up(there, hopeless, 2) == (hopeless == 1)
        make_prober(tmp_path).measure_trial(schedule, hopeless, most=2)
        assert measured == [1] * times
        measured.clear()
    make_prober(tmp_path).measure_trial(SimpleNamespace(digest="another"))
    assert measured == [1]


def test_a_probe_on_a_server_that_died_is_repeated_and_tells_nothing_of_its_capacity(tmp_path, monkeypatch):
    kinds = iter(["reset", "reset", ""])

    def offer(self, schedule, path, hopeless, most, attempt):
        return trial(tmp_path, "image", "client", 1, seconds=30, broken=next(kinds))

    monkeypatch.setattr(Prober, "offer", offer)
    one = make_prober(tmp_path)
    found = one.measure_trial(SimpleNamespace(digest="-"))
    assert found.completed == found.scheduled and one.retries.repeated == 2
    assert len(list(tmp_path.rglob("invalid-*.json"))) == 2


def test_without_a_server_it_says_so_in_one_line(tmp_path):
    says_that_no_server_answers("capacity", "--reports", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["video"], "unknown workload 'video'; try one of image, audio"),
        (["--arms", "client,cloud"], "unknown placement 'cloud' of image; try some of client, server"),
        (["--slo", "-1"], "--slo must be a positive number of ms"),
        (["--percentile", "100"], "--percentile must lie between 50 and 99.9"),
        (["--loads", "0.5,1.5"], "--loads are shares of the capacity"),
        (["--loads", "half"], "half"),
        (["--seconds", "0"], "seconds must be a positive number"),
        (["--seed", "-3"], "--seed must not be negative"),
        (["image", "--payloads", "/no/such"], "cannot read payloads"),
        (["--library", "torch"], "unknown library 'torch'; image has dali, pillow, scaled, opencv; audio has librosa"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_two(arguments, says, capsys):
    refuses("capacity", arguments, says, capsys)
