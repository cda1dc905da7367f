"""What `crossover compare` prints for scripts, and the limits and prices that it is given."""

import json
import re
import shlex
from pathlib import Path

import pytest

from crossover.experiments.compare.undecided import advise, advise_on_page
from serving.server import Unavailable
from tests.commands import only
from tests.experiments.conftest import compared, kept


def test_json_is_one_document_and_progress_goes_elsewhere(world, conduct):
    code, output, errors = conduct("--json")
    document = json.loads(output)
    assert document["exit_code"] == code == 0 and document["complete"]
    assert document["directory"] == str(only(conduct.reports))
    assert document["result"] == json.loads((only(conduct.reports) / "summary.json").read_text())
    assert document["verdict"] == [document["result"]["workloads"]["image"]["sentence"]]
    assert "round 1/6" in errors


def test_an_interrupted_run_is_a_document_too(world, conduct):
    world.troubles = [None] * 6 + [KeyboardInterrupt()]
    code, output, errors = conduct("--json")
    document = json.loads(output)
    assert (code, document["exit_code"], document["complete"]) == (130, 130, False)
    assert f"go on with: crossover compare --continue {document['directory']}" in errors


def test_a_command_that_goes_on_can_be_pasted_whatever_the_directory_is_called(world, conduct, tmp_path):
    reports = tmp_path / "it's <b>mine</b> $HOME"
    world.troubles = [None] * 4 + [KeyboardInterrupt()]
    _, output, errors = conduct("--rounds", 3, "--reports", reports)
    lines = [line for line in (output + errors).splitlines() if " --continue " in line]
    assert lines
    for line in lines:
        directory = shlex.split(line[line.index(": crossover compare --continue ") :])[4]
        assert Path(directory).parent == reports and Path(directory).is_dir(), line


def test_of_what_cannot_be_compared_no_figures_hold(world, conduct):
    world.troubles = [None, KeyboardInterrupt()]
    code, output, _ = conduct()
    assert code == 130 and "nothing that can be compared was measured" in output
    assert "The figures hold for this load" not in output
    assert "The figures hold for this load" in conduct("--continue", only(conduct.reports))[1]


def test_quiet_prints_the_verdict_and_nothing_else(world, conduct):
    code, output, errors = conduct("--quiet")
    summary = json.loads((only(conduct.reports) / "summary.json").read_text())
    assert (code, output, errors) == (0, f"{summary['workloads']['image']['sentence']}\n", "")


@pytest.mark.parametrize("more", [[], ["--quiet"], ["--continue"], ["--continue", "--quiet"]], ids=" ".join)
def test_what_is_undecided_ends_with_3_and_with_the_command_that_may_decide_it(world, conduct, more):
    code, output, _ = conduct("--rounds", 2, *(each for each in more if each != "--continue"))
    if "--continue" in more:
        code, output, _ = conduct(*more[:1], only(conduct.reports), *more[1:])
    workload = json.loads((only(conduct.reports) / "summary.json").read_text())["workloads"]["image"]
    assert code == 3 and "undecided: latency" in workload["sentence"]
    last = output.splitlines()[-1]
    assert re.search(rf"\(image\): crossover compare --continue {only(conduct.reports)} --seconds \d+$", last)
    assert ("--quiet" in more) == (output.splitlines() == [workload["sentence"], last])


SOUND = {"mode": "async:1", "findings": []}


def test_after_make_the_command_is_one_that_a_shell_finds(monkeypatch):
    answer = {"recommendation": {"kind": "undecided"}, "loaded": None}
    workload = {"answer": answer, "more_seconds": 60.0, "mode": "async:1", "arms": [SOUND, SOUND]}
    monkeypatch.setenv("CROSSOVER_TOOL", "make")
    [line] = advise({"workloads": {"image": workload}}, Path("here"))
    assert line.endswith(": .venv/bin/crossover compare --continue here --seconds 60")


def test_what_is_invalid_must_change_first_and_no_more_time_is_promised():
    answer = {"recommendation": {"kind": "undecided"}, "loaded": None}
    workload = {"answer": answer, "more_seconds": 240.0, "mode": "async:1", "arms": [SOUND, SOUND]}
    two = {"workloads": {"image": workload, "audio": workload | {"arms": [SOUND, broken("dispatch lag")]}}}
    change, command = advise(two, Path("here"))
    assert change == "audio: first do that; more time alone does not mend what is INVALID"
    assert command.startswith("4 more minutes would decide it in about half of such cases (image): crossover compare")
    # More time gives more samples.
    few = workload | {"arms": [broken("too few samples"), SOUND], "more_seconds": 60.0}
    [line] = advise({"workloads": {"image": few}}, Path("here"))
    assert line.startswith(
        "1 more minute would decide it in about half of such cases (image): crossover compare --continue here"
    )


def test_more_time_is_not_asked_for_where_each_round_has_unanswered_requests():
    lost = {"recommendation": None, "loaded": {"overloaded": [], "rounds": 0, "left_out": 3}}
    workload = {"answer": lost, "more_seconds": 90.0, "mode": "async:1", "arms": [SOUND, broken("errors")]}
    [line] = advise({"workloads": {"image": workload}}, Path("here"))
    assert line.startswith("image: first mend what leaves requests unanswered, in each round; more time alone does not")


@pytest.mark.parametrize("page", [False, True])
def test_where_others_disturbed_they_are_to_be_stopped_before_more_time_is_spent(page):
    found = {"kind": "undecided", "high": 1.07, "choice": ""}
    loaded = {"overloaded": [], "quiet": False, "rounds": 12, "left_out": 0}
    answer = {"recommendation": found, "loaded": loaded, "looks": [96.0], "confidence": 0.95}
    workload = {"answer": answer, "more_seconds": 60.0, "seconds": 4.0, "rounds": 12, "mode": None, "arms": [SOUND] * 2}
    result = {"workloads": {"image": workload}}
    line = " ".join(advise_on_page(result, "image")) if page else advise(result, Path("DIR"))[0]
    assert line.startswith("stop the other programs first; then 1 more minute would decide it in about half of such")
    assert line.endswith("crossover compare --continue DIR --seconds 60")
    loaded["quiet"] = True
    line = " ".join(advise_on_page(result, "image")) if page else advise(result, Path("DIR"))[0]
    assert line.startswith("1 more minute would decide it")


def test_the_page_says_what_would_decide_a_comparison_wherever_the_terminal_does():
    found = {"kind": "undecided", "high": 1.07, "choice": ""}
    answer = {"recommendation": found, "loaded": None, "looks": [96.0], "confidence": 0.95}
    workload = {"answer": answer, "more_seconds": None, "seconds": 4.0, "rounds": 12, "mode": None, "arms": [SOUND] * 2}
    result = {"workloads": {"image": workload}}
    [line] = advise(result, Path("DIR"))
    what, command = advise_on_page(result, "image")
    assert line == f"{what} (image): {command}"
    workload["arms"] = [SOUND, broken("dispatch lag")]
    assert advise_on_page(result, "image") == (*advise(result, Path("DIR")), "")
    workload["answer"] = answer | {"recommendation": {"kind": "better"}}
    assert advise_on_page(result, "image") == ("", "")


def broken(rule):
    return SOUND | {"findings": [{"rule": rule, "change": "do that"}]}


def test_the_command_has_a_time_also_where_the_chance_of_a_decision_is_less_than_half():
    """Of a ratio that lies on the margin no time within reach decides half of such cases."""
    found = {"kind": "undecided", "high": 1.07, "choice": ""}
    answer = {"recommendation": found, "loaded": None, "looks": [96.0], "confidence": 0.95}
    workload = {"answer": answer, "more_seconds": None, "seconds": 4.0, "rounds": 12, "mode": None, "arms": [SOUND] * 2}
    [line] = advise({"workloads": {"image": workload}}, Path("here"))
    seconds = float(line.rpartition(" ")[2])
    assert "would decide it in fewer than half of such cases (image): crossover compare" in line
    assert 7 * 96 < seconds < 2 * 7 * 96
    overloaded = answer | {"loaded": {"overloaded": ["x"]}}
    assert advise({"workloads": {"image": workload | {"answer": overloaded}}}, ".") == []


def test_quiet_also_says_that_trials_are_invalid(world, conduct):
    world.troubles = ["reset"] * 4
    code, output, _ = conduct("--quiet")
    warning, sentence, *_ = output.splitlines()
    assert code == 1 and sentence.startswith("For photographs") and " INVALID (errors). Do not rely on " in warning


def test_a_limit_that_is_broken_is_exit_code_4_and_one_that_holds_is_none(world, conduct):
    code, output, errors = conduct("--fail-if", "p50>1", "--fail-if", "p50>1e6")
    assert code == 4 and "samples, summary.json and report.html: " in output
    assert [line.partition(" p")[0] for line in errors.splitlines()] == [
        f"crossover compare: image {placement} async:1:" for placement in ("client", "server")
    ]
    assert kept(conduct.reports)["complete"]
    assert conduct("--continue", only(conduct.reports))[0] == 0


def test_a_limit_is_judged_where_arrivals_were_lost_too_but_their_code_stays(world, conduct):
    world.troubles = ["reset"] * 4
    code, _, errors = conduct("--fail-if", "p50>1")
    assert code == 1 and len(errors.splitlines()) == 2


def test_quiet_says_nothing_where_nothing_was_found(world, conduct):
    world.troubles = [Unavailable("it is gone")] * 3
    code, output, errors = conduct("--quiet")
    assert (code, output) == (1, "") and "it is gone" in errors


def test_prices_decide_what_is_cheaper_and_are_kept(world, conduct):
    _, output, _ = conduct("--prices", "client=0,server=1,gb=0")
    assert kept(conduct.reports)["prices"] == {"client": 0.0, "server": 1.0, "gb": 0.0}
    cost = next(each for each in compared(conduct.reports) if each["metric"] == "cost")
    assert cost["baseline"] == pytest.approx(0.0776e6 / 3600) and cost["kind"] == "baseline"
    assert "at 0 (client) and 1 (server) per core-hour and 0 per GB" in output


def test_a_damaged_trial_is_one_line_after_the_commands_path(world, conduct):
    conduct()
    file = next(conduct.reports.glob("*/*/*/round-03.json"))
    file.write_text(file.read_text()[:100])
    code, _, errors = conduct("--continue", file.parents[2])
    [line] = errors.splitlines()
    assert code == 2 and line.startswith(f"crossover compare: {file} is no trial")
