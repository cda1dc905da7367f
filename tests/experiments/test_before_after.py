"""Before and after a change: a difference is found, none is made up, and what differs besides is named first."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossover.analysis import bootstrap
from crossover.analysis.before_after import compare_runs
from crossover.analysis.verdict import CANDIDATE
from crossover.measurement import conditions
from tests import trials_on_disk
from tests.analysis.test_comparison import by_name, steady, trial
from tests.commands import again
from workloads.image import IMAGE

ROUNDS = 12
DESCRIBED = {"image": {**IMAGE.describe(("client", "server")), "slo_ms": 120.0}}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Draws for the metrics that do not decide."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)


def write(directory, network: float | None = None, monkeypatch=None):
    """A comparison of photographs, whose network takes so many ms."""
    if network:
        monkeypatch.setitem(trials_on_disk.NETWORK, "image", ("resnet50", network))
    trials_on_disk.write(directory, ("image",), ROUNDS, broken="")
    return directory


def change_trials(directory, **values):
    for path in directory.glob("*/*/round-*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_arms_are_compared_in_the_rounds_that_both_runs_have():
    before = [each for pair in steady(9) for each in pair]
    after = [trial(each.placement, each.latency * 0.8, each.round) for each in before if each.round > 2]
    after[0].facts["complete"] = False
    found = {each.arm: each for each in compare_runs(before, after, DESCRIBED)}
    assert set(found) == {"image server async:1", "image client async:1"}
    rows = by_name(found["image client async:1"].comparisons)
    row = rows["latency at this load"]
    assert (row.rounds, row.kind, row.names) == (6, CANDIDATE, ("before", "after"))
    assert row.verdict == "after better" and row.ratio == pytest.approx(0.8, abs=0.01)
    assert rows["goodput"].unit == "answers/s within 120 ms" and rows["goodput"].candidate > rows["goodput"].baseline
    said = found["image client async:1"].sentence
    assert said.startswith("image client async:1: quicker after the change: latency after/before is 0.8 [")


def test_the_same_code_is_no_change_and_the_exit_code_says_so(tmp_path, monkeypatch, capsys):
    before = write(tmp_path / "before")
    shutil.copytree(before, tmp_path / "after")
    code, output, errors = again(monkeypatch, capsys, before, tmp_path / "after", "--fail-if-worse", "10%")
    assert (code, errors) == (0, "")
    assert output.count("No change of more than 5 %: latency after/before is 1 [1, 1]") == 2
    page = Path("reports/before-after-report/before-after.html").read_text()
    assert "No change of more than 5" in page and f"What changed from {before} to {tmp_path / 'after'}?" in page


def test_a_change_for_the_worse_is_found_and_fails_only_beyond_what_is_allowed(tmp_path, monkeypatch, capsys):
    before = write(tmp_path / "before")
    after = write(tmp_path / "after", 76.0 * 1.2, monkeypatch)
    code, output, errors = again(monkeypatch, capsys, before, after)
    assert (code, errors) == (0, "") and output.count("Slower after the change") == 2
    assert "latency alone, ms" in output
    code, _, errors = again(monkeypatch, capsys, before, after, "--fail-if-worse", "10%")
    assert code == 4 and errors.endswith("worse by 10 % or more: image client, image server\n")
    assert again(monkeypatch, capsys, before, after, "--fail-if-worse", "300%")[0] == 0
    # The other way round it is no worse.
    assert again(monkeypatch, capsys, after, before, "--fail-if-worse", "0.1")[0] == 0


def machine(seed: int, network: float = 1.0) -> list:
    """20 rounds of both arms on a machine whose speed differs by 15 % from trial to trial; the network takes so many
    times the CPU seconds, and as long. It is most of a request."""
    rng, schedule, made = np.random.default_rng(seed), np.random.default_rng(1), []
    for number in range(1, 21):
        alone = 100 * schedule.lognormal(0, 0.15, 12)
        for placement in ("client", "server"):
            speed = rng.lognormal(0, 0.15) * network
            times = alone * speed**1.6 * rng.lognormal(0, 0.03, 12)
            spent = {"queue": 2.0 * speed, "compute_infer": 80 * speed}
            step = {"resnet50": {"requests": 12, "mean_batch": 1.0, "ms": spent, "total": sum(spent.values())}}
            cpu = {"resnet50": 0.08 * speed * rng.lognormal(0, 0.012)}
            made.append(trial(placement, times, number, steps=step, step_cpu=cpu, began=1e9 + 10.0 * number))
    return made


def test_a_network_that_became_dearer_is_found_on_a_machine_whose_speed_varies():
    """The CPU seconds moved with the latency. An adjustment for them would take out what was changed."""
    worse, same = 0, 0
    for seed in range(20):
        before = machine(2 * seed)
        worse += any(each.is_worse(0.1) for each in compare_runs(before, machine(2 * seed + 1, 1.1), DESCRIBED))
        same += any(each.is_worse(0.1) for each in compare_runs(before, machine(2 * seed + 1), DESCRIBED))
    assert worse >= 11 and same <= 3
    [one, _] = compare_runs(before, machine(1), DESCRIBED)
    said = "not adjusted for the machine's speed, as the change may be in the shared model's CPU seconds"
    assert said in one.sentence


def test_what_was_not_judged_has_not_passed(tmp_path, monkeypatch, capsys):
    before = write(tmp_path / "before")
    after = tmp_path / "after"
    shutil.copytree(before, after)
    shutil.rmtree(after / "image" / "image-server-async1")
    code, output, errors = again(monkeypatch, capsys, before, after, "--fail-if-worse", "10%")
    missing = f"image server async:1 was measured in {before}, and is missing in {after}."
    assert code == 1 and missing in output
    assert missing in Path("reports/before-after-report/before-after.html").read_text()
    unknown = "not known to be worse by less than 10 %: image server async:1 has no round in both runs\n"
    assert errors == f"crossover report: {unknown}"
    # Without the question there is nothing to fail. An arm that is new is no fault.
    assert again(monkeypatch, capsys, before, after)[0] == 0
    code, output, _ = again(monkeypatch, capsys, after, before, "--fail-if-worse", "10%")
    assert code == 0 and f"image server async:1 is in {before} only" in output


def test_an_interrupted_run_is_not_taken_for_the_whole(tmp_path, monkeypatch, capsys):
    before, after = write(tmp_path / "before"), tmp_path / "after"
    shutil.copytree(before, after)
    run = json.loads((after / "run.json").read_text())
    (after / "run.json").write_text(json.dumps({**run, "complete": False}))
    code, output, errors = again(monkeypatch, capsys, before, after, "--fail-if-worse", "10%")
    assert code == 1 and f"{after} was interrupted, and has a part of its rounds." in output
    assert errors == f"crossover report: not known to be worse by less than 10 %: {after} was interrupted\n"
    for path in after.glob("image/image-server*/round-*.json"):
        if int(path.stem[-2:]) > 3:
            path.unlink()
    code, _, errors = again(monkeypatch, capsys, before, after, "--fail-if-worse", "10%")
    assert code == 1 and "image server async:1 has too few rounds for an interval" in errors
    # What is worse is told before what is not known.
    worse = write(tmp_path / "worse", 76.0 * 1.2, monkeypatch)
    (worse / "run.json").write_text(json.dumps({**run, "complete": False}))
    assert again(monkeypatch, capsys, before, worse, "--fail-if-worse", "10%")[0] == 4


def test_a_run_is_not_compared_with_itself(tmp_path, monkeypatch, capsys):
    one = write(tmp_path / "one")
    code, output, errors = again(monkeypatch, capsys, one, tmp_path / "one" / ".." / "one", "--fail-if-worse", "10%")
    says = f"crossover report: {one} is given twice; a run is compared with another one\n"
    assert (code, output, errors) == (2, "", says)


def test_help_shows_the_share_as_it_is_written(monkeypatch, capsys):
    code, shown, _ = again(monkeypatch, capsys, "--help")
    assert code == 0 and "--fail-if-worse 10%" in shown and "%%" not in shown


def test_an_arm_that_does_not_carry_the_load_any_more_is_worse():
    before = [each for pair in steady(8, n=50) for each in pair]
    after = [trial(each.placement, each.latency, each.round) for each in before]
    for each in after:
        each.records["status"][:3] = 1
    [client, _] = compare_runs(before, after, DESCRIBED)
    assert client.is_worse(0.5) and "does not carry this load after" in client.sentence


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"others": 0.6}, "other programs' use of the server's cores: 2 % against 60 %"),
        ({"client_others": 0.5}, "other programs' use of the client's cores: 3 % against 50 %"),
        ({"loop_ms": {"client": 2.0, "server": 2.6}}, "calibration loop on the server's core: 2.00 against 2.60"),
    ],
)
def test_other_conditions_are_named_and_nothing_is_compared(tmp_path, monkeypatch, capsys, values, named):
    before = write(tmp_path / "before")
    change_trials(before, loop_ms={"client": 2.0, "server": 2.0}, client_others=0.03)
    shutil.copytree(before, tmp_path / "after")
    change_trials(tmp_path / "after", **values)
    code, output, errors = again(monkeypatch, capsys, before, tmp_path / "after", "--fail-if-worse", "10%")
    assert (code, output) == (1, "") and "not comparable" in errors and named in errors and errors.count("\n") == 1
    code, output, errors = again(monkeypatch, capsys, before, tmp_path / "after", "--anyway")
    assert code == 0 and named in errors and "after/before" in output
    page = Path("reports/before-after-report/before-after.html").read_text()
    assert "The runs are not of one setting." in page


def test_a_machine_that_was_as_quick_but_noisy_is_the_same():
    rng = np.random.default_rng(1)
    same, slower = rng.lognormal(0.7, 0.15, (2, 30)), rng.lognormal(0.7 + 0.25, 0.15, 30)
    assert not conditions.differ(*same) and conditions.differ(same[0], slower)
    assert not conditions.differ([2.0, 2.01], [2.05, 2.06])


def test_the_loop_is_timed_on_the_core_that_is_asked_for_and_the_thread_returns(monkeypatch):
    allowed = os.sched_getaffinity(0)
    assert 0 < conditions.time_loop(max(allowed)) < 1000 and conditions.time_loop(None) > 0
    assert conditions.time_loop(100_000) is None and os.sched_getaffinity(0) == allowed


@pytest.mark.parametrize("share", ["much", "0", "-5%", "nan", "%"])
def test_a_share_that_is_none_is_one_line(tmp_path, monkeypatch, capsys, share):
    code, output, errors = again(monkeypatch, capsys, tmp_path, tmp_path, f"--fail-if-worse={share}")
    assert (code, output) == (2, "")
    assert errors == f"crossover report: --fail-if-worse takes a share above 0, as 10% or 0.1, not {share!r}\n"


@pytest.mark.parametrize(("share", "says"), [("10", "write 10% or 0.1"), ("1", "write 1% or 0.01")])
def test_a_bare_number_is_not_taken_for_a_multiple(tmp_path, monkeypatch, capsys, share, says):
    code, output, errors = again(monkeypatch, capsys, tmp_path, tmp_path, f"--fail-if-worse={share}")
    assert (code, output) == (2, "") and says in errors and errors.count("\n") == 1


def test_one_run_alone_cannot_be_worse(tmp_path, monkeypatch, capsys):
    code, output, errors = again(monkeypatch, capsys, write(tmp_path / "one"), "--fail-if-worse", "10%")
    assert (code, output) == (2, "") and "give both directories" in errors and errors.count("\n") == 1
