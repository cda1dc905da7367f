"""`make bench`'s last step, on the real server: every arm on the same schedules, and nothing lost on the way."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossover.analysis.answer import count_seconds, keep_sound, pair_trials
from crossover.analysis.jackknife import LEAST_ROUNDS
from crossover.experiments.compare import load, tables
from crossover.measurement.pairs import pool_service_ms, read_pairs
from crossover.measurement.trial import read_trials
from crossover.measurement.unloaded_latency import derive_rate
from loadgen.samples import sample as samples
from tests import trials_on_disk
from tests.commands import again, goes_on, interrupted, only, refuses, run, says_that_no_server_answers, start


def report(reports: Path) -> tuple[Path, dict]:
    directory = only(reports)
    return directory, json.loads((directory / "summary.json").read_text())


@pytest.fixture(scope="module")
def finished(server, tmp_path_factory):
    """One short comparison of both workloads in two modes: (output, directory, summary)."""
    reports = tmp_path_factory.mktemp("reports")
    code, output = run(
        "bench", "--url", server.url, "--state", server.state, "--seconds", 36, "--rounds", 2,
        "--modes", "sequential,async", "--arrivals", "poisson:rate=8", "--reports", reports,
        shorter="load.SHORTEST = 0.6; run.OVERHEAD = 3",  # a busy machine leaves no round out for want of time
    )  # fmt: skip
    assert code in (0, 3), output  # 3: a machine that was too busy to measure on
    return output, *report(reports)


def test_every_arm_of_a_round_gets_the_same_schedule_and_the_same_payloads(finished):
    _, directory, summary = finished
    measured = read_trials(directory)
    assert len(measured) == 2 * 2 * 4 and summary["rounds"] == 2
    for name in summary["workloads"]:
        for turn in (1, 2):
            own = [trial for trial in measured if (trial.workload, trial.round) == (name, turn)]
            assert len({trial.arm for trial in own}) == 4
            assert len({trial.schedule for trial in own}) == 1
            asked = [np.sort(trial.records[["due", "payload"]]).tolist() for trial in own]
            assert all(each == asked[0] for each in asked)
        assert len({trial.schedule for trial in measured if trial.workload == name}) == 2


def test_the_books_of_every_arm_balance_and_agree_with_its_samples(finished):
    _, directory, summary = finished
    measured = read_trials(directory)
    for workload in summary["workloads"].values():
        for arm in workload["arms"]:
            books = dict(arm["books"])
            assert books.pop("scheduled") == sum(books.values()) == books["completed"]
            own = [trial.records for trial in measured if trial.arm == arm["arm"]]
            assert samples.count_outcomes(np.concatenate(own)) == arm["books"]


def test_the_stages_of_an_arm_add_up_to_its_mean_latency(finished):
    *_, summary = finished
    for workload in summary["workloads"].values():
        for arm in workload["arms"]:
            assert sum(arm["stages"].values()) == pytest.approx(arm["latency"]["mean"], rel=1e-6)
            assert min(arm["stages"].values()) > -0.5


def test_two_rounds_are_too_few_for_any_interval_but_that_of_bytes(finished):
    output, _, summary = finished
    for workload in summary["workloads"].values():
        rows = [each for each in workload["comparisons"] if each["metric"] not in ("bytes", "latency alone")]
        assert rows and all(each["low"] is each["high"] is None for each in rows)
        assert workload["answer"]["recommendation"]["kind"] == "undecided"
    assert "on this machine, undecided: latency server/client is " in output and "more round" not in output


def test_unloaded_pairs_stand_beside_the_load_and_say_what_their_files_say(finished):
    _, directory, summary = finished
    for name, workload in summary["workloads"].items():
        [measured] = read_pairs(directory, name)
        times = pool_service_ms([measured])
        answer = workload["answer"]["unloaded"]
        assert answer["pairs"] == len(times) > 10 and answer["unanswered"] == 0
        assert answer["ratio"]["value"] == pytest.approx(np.log(times[:, 1] / times[:, 0]).mean())
        alone = next(each for each in workload["comparisons"] if each["metric"] == "latency alone")
        said = rf"\b{re.escape(format(alone['ratio'], '.3g'))}( [\[(][^])]*[\])])?( \(too wide to decide\))? for one"
        assert re.search(said, workload["sentence"])
        assert measured.seconds == pytest.approx(workload["unloaded_seconds"], abs=1)


def test_the_network_is_what_both_placements_share_and_its_cpu_seconds_are_known(finished):
    _, directory, summary = finished
    networks = {"image": "resnet50", "audio": "wav2vec2"}
    for trial in read_trials(directory):
        assert trial.step_cpu[networks[trial.workload]] > 0 and 0 <= trial.others <= 1 and trial.began > 1e9
        assert 0 <= trial.client_others <= 1
    for name, workload in summary["workloads"].items():
        assert workload["answer"]["shared_steps"] == [networks[name]]
        assert workload["answer"]["costs"]["server_known"]


def test_the_exit_code_and_the_verdicts_agree(finished):
    output, _, summary = finished
    arms = [arm for workload in summary["workloads"].values() for arm in workload["arms"]]
    sentences = sum(workload["sentence"].startswith("INVALID") for workload in summary["workloads"].values())
    findings = sum(len(arm["findings"]) for arm in arms)
    assert sum(line.startswith("INVALID") for line in output.splitlines()) == findings + sentences
    assert bool(re.search(r"\b(is|are) INVALID\b", output)) == bool(findings)  # which arms are, above the verdict
    assert all(arm["valid"] == (not arm["findings"]) for arm in arms)


def test_a_report_is_made_again_from_its_samples_and_two_are_compared(finished, tmp_path, monkeypatch, capsys):
    _, directory, summary = finished
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    for name in ("summary.json", "report.html"):
        (copy / name).unlink()
    code, output, _ = again(monkeypatch, capsys, copy)
    assert code == 3 and "the same schedules for every arm" in output  # two rounds decide nothing
    made = Path("reports/copy-report")
    assert json.loads((made / "summary.json").read_text()) == summary
    assert (made / "report.html").stat().st_size > 10_000
    code, output, errors = again(monkeypatch, capsys, directory, copy)
    assert code == 0, errors
    described = json.loads((copy / "run.json").read_text())
    described["machine"]["cpu"] = "another"
    (copy / "run.json").write_text(json.dumps(described))
    code, output, errors = again(monkeypatch, capsys, directory, copy)
    assert code == 1
    assert "not comparable" in errors and "another" in errors


def test_experiments_are_shown_in_the_report_of_a_comparison(tmp_path, monkeypatch, capsys):
    own, capacity, twice = tmp_path / "own", tmp_path / "capacity", tmp_path / "twice"
    for directory in (own, capacity, twice):
        trials_on_disk.write(directory, ("image",), 1)
    for directory in (capacity, twice):
        (directory / "capacity.json").write_text(json.dumps({"image": trials_on_disk.capacity("image")}))
        described = json.loads((directory / "run.json").read_text())
        (directory / "run.json").write_text(json.dumps({**described, "kind": "capacity"}))
    code, _, errors = again(monkeypatch, capsys, capacity, own)
    assert (code, errors) == (3, "")  # one round decides nothing
    shown = Path("reports/capacity-own-report/report.html").read_text()
    assert "What bursts do" in shown and f"From {capacity}" in shown and "Further left is faster" in shown
    figures = {path.name for path in Path("reports/capacity-own-report").glob("*.json")}
    assert figures == {"capacity.json", "summary.json"}
    assert again(monkeypatch, capsys, capacity)[0] == 0
    assert "Further left is faster" not in Path("reports/capacity-report/report.html").read_text()
    code, _, errors = again(monkeypatch, capsys, capacity, own, twice)
    given = "`crossover capacity`, `crossover capacity`, `crossover compare`"
    assert code == 2 and f"one of each kind; not {given}" in errors
    code, _, errors = again(monkeypatch, capsys, own, own.with_name("nothing"))
    assert code == 2 and "nothing is no run: it has no run.json" in errors


def test_an_interrupted_run_is_continued_where_it_stopped_and_then_extended(server, tmp_path):
    arguments = [
        "audio", "--url", server.url, "--state", server.state, "--seconds", 14, "--rounds", 3,
        "--arrivals", "poisson:rate=8", "--reports", tmp_path,
    ]  # fmt: skip
    process = start("bench", *arguments)
    interrupted(process, lambda: len(list(tmp_path.glob("*/audio/*/round-*.json"))) >= 2, after=1)
    directory, summary = report(tmp_path)
    assert summary["complete"] is False
    assert not list(directory.glob("*/*/*.journal"))
    goes_on("bench", directory)
    measured = read_trials(directory)
    assert len(measured) <= 6 and all(trial.facts["complete"] for trial in measured)
    code, output = run("bench", "--continue", directory, "--seconds", 6)
    assert code in (0, 3), output
    assert len(read_trials(directory)) > len(measured) and len(read_pairs(directory, "audio")) == 2
    # How many rounds there are, and with every answer, is up to the machine; whether it was a look follows from them.
    summary = report(tmp_path)[1]
    sound = keep_sound(pair_trials(read_trials(directory), summary["workloads"]["audio"]["mode"], "client"))
    assert summary["looks"].get("audio", []) == ([count_seconds(sound)] if len(sound) >= LEAST_ROUNDS else [])
    first, second = (each.seconds for each in read_pairs(directory, "audio"))
    if summary["workloads"]["audio"]["answer"]["unloaded"]["ratio"]["error"] is not None:
        assert summary["unloaded_looks"]["audio"] in ([first + second], [first, first + second])


@pytest.mark.long  # test_pairs.py has an interruption among real pairs, and test_continue.py how such a run goes on
def test_an_interruption_among_the_pairs_is_continued_there(server, tmp_path):
    arguments = ["audio", "--url", server.url, "--state", server.state, "--seconds", 30, "--reports", tmp_path]
    process = start("bench", *arguments)
    journals = "*/audio/unloaded/*.journal"
    output = interrupted(process, lambda: any(each.stat().st_size for each in tmp_path.glob(journals)), after=1)
    directory = only(tmp_path)
    said = (
        "interrupted before the first trial, so that there are no results yet; go on with: crossover compare --continue"
    )
    assert said in output and "what follows" not in output
    [before] = read_pairs(directory, "audio")
    code, output = run("bench", "--continue", directory)
    assert code in (0, 3), output
    planned = report(tmp_path)[1]["workloads"]["audio"]["unloaded_seconds"]
    assert sum(each.seconds for each in read_pairs(directory, "audio")) == pytest.approx(planned, abs=1)
    assert read_pairs(directory, "audio")[0] == before


def test_a_control_compares_an_arm_with_itself(server, tmp_path):
    code, output = run(
        "bench", "audio", "--url", server.url, "--state", server.state, "--seconds", 5, "--rounds", 1,
        "--control", "aa", "--arrivals", "poisson:rate=8", "--reports", tmp_path,
    )  # fmt: skip
    assert code in (0, 3), output
    assert {trial.arm for trial in read_trials(report(tmp_path)[0])} == {
        "audio client async:1",
        "audio client async:1 again",
    }


def test_each_placement_uses_the_steps_it_should(finished):
    *_, summary = finished
    steps = {
        ("image", "client"): {"resnet50"},
        ("image", "server"): {"image_preprocess", "resnet50"},
        ("audio", "client"): {"wav2vec2"},
        ("audio", "server"): {"audio_preprocess", "wav2vec2", "ctc_decode"},
    }
    for name, workload in summary["workloads"].items():
        for arm in workload["arms"]:
            asked = {name} if arm["placement"] == "server" else set()
            assert set(arm["steps"]) == steps[name, arm["placement"]] | asked
            assert all(step["requests"] == arm["books"]["completed"] for step in arm["steps"].values())


def test_the_report_repeats_where_everything_came_from(finished, server):
    output, _, summary = finished
    assert summary["complete"]
    assert summary["server"]["models"]["resnet50"]["provenance"]["weights"] == "stand-in"
    assert "stand-in" in output
    assert summary["cores"]["server"] == server.cores
    assert summary["machine"]["versions"]["locust"]


def test_client_arms_send_more_bytes_and_spend_more_client_cpu_for_photographs(finished):
    *_, summary = finished
    arms = {(arm["placement"], arm["mode"]): arm for arm in summary["workloads"]["image"]["arms"]}
    client, server_arm = arms["client", "sequential"], arms["server", "sequential"]
    assert client["bytes_up"] > 602_112 > server_arm["bytes_up"]
    assert client["client_cpu_ms"] > server_arm["client_cpu_ms"]


def test_every_column_of_the_table_is_explained_where_one_asks(finished):
    output, *_ = finished
    head = next(line for line in output.splitlines() if line.startswith("arm "))
    assert all(column.title in head for column in tables.ARM_COLUMNS if not column.rank)
    assert "(The report also has: KB up, KB down, service.)" in output or "service" in head
    assert output.count("--explain") == 1 and "dropped or unfinished" not in output
    for column in tables.ARM_COLUMNS[1:]:
        assert column.title.split()[-1] in tables.EXPLANATION


def test_without_a_server_it_says_so_in_one_line(tmp_path):
    says_that_no_server_answers("bench", "--reports", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["video"], "unknown workload 'video'; try one of image, audio"),
        (["--rounds", "-1"], "--rounds must be at least 1, not -1"),
        (["--prices", "cpu=much"], "the price cpu=much is no number; e.g. cpu=0.04,gb=0.09"),
        *(([f"--precision={n}"], "--precision must be a share above 0 and below 1") for n in ("2", "1", "0", "nan")),
        (["--slo", "-1"], "--slo must be a positive number of ms, or 0 for its default, not -1"),
        (["--arrivals", "gama:1"], "try one of constant, uniform, poisson"),
        (["--arrivals", "closed:users=2,think=0"], "closed"),
        (["--modes", "async,naive"], "unknown mode 'naive'; try one of sequential, threads, async"),
        (["--continue", "/no/such"], "nothing to continue in /no/such"),
        (["--arrivals", "poisson:rate=0.01", "--seconds", "50"], "(image); give more --seconds or a higher rate"),
        (["--seconds", "-1"], "seconds must be a positive number"),
        (["image", "--payloads", "/no/such"], "cannot read payloads"),
        (["--library", "torch"], "unknown library 'torch'; image has dali, pillow, scaled, opencv; audio has librosa"),
        (["image", "--arms", "a,b"], "unknown placement 'a' of image"),
        (
            ["image", "--arms", "client,server,ready"],
            "`crossover placements image --arms client,server,ready` prints a",
        ),
        (["--workloads"], "no such option '--workloads'"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_two(arguments, says, capsys):
    refuses("bench", arguments, says, capsys)


@pytest.mark.parametrize("budget", [20, 60, 74, 137, 1500])
@pytest.mark.parametrize("slowest", [0.01, 0.05, 0.5, 3])
def test_rounds_have_arrivals_and_fit_into_the_time(slowest, budget):
    rate = derive_rate({"client": slowest})
    planned = load.plan_rounds(budget, 2, rate)
    assert planned.count * 2 * (planned.seconds + load.OVERHEAD) <= max(budget, 2 * (planned.seconds + load.OVERHEAD))
    least = max(load.SHORTEST, load.EXPECTED / rate)
    if budget >= 2 * load.ROUNDS * (least + load.OVERHEAD):
        assert planned.count >= load.ROUNDS and planned.seconds * rate > load.EXPECTED * 0.95
    elif budget >= 2 * (least + load.OVERHEAD):
        # There are fewer rounds only where trials are as short as they may be.
        shortest = least * load.FEWEST / load.EXPECTED
        assert planned.seconds > shortest * 0.95
        assert planned.count >= load.ROUNDS or planned.seconds < shortest * 1.05
    if planned.count > load.ROUNDS:
        assert planned.seconds >= min(load.USUAL, 1.25 * load.EXPECTED / rate, least) - 0.01
    assert planned.count <= load.MOST


def test_twenty_rounds_of_eight_arrivals_fit_into_the_usual_time_of_photographs():
    planned = load.plan_rounds(0.35 * 270 * (1 - load.UNLOADED), 2, 5.8)
    assert planned.count >= 20 and planned.seconds * 5.8 >= 8


def test_twenty_rounds_fit_into_the_usual_time_of_speech_with_half_of_the_arrivals():
    planned = load.plan_rounds(0.65 * 270 * (1 - load.UNLOADED), 2, 1.6)
    assert planned.count >= 20 and load.FEWEST <= planned.seconds * 1.6 < load.EXPECTED


def test_so_many_rounds_are_planned_as_are_asked_for():
    assert load.plan_rounds(60, 2, 5, 6) == load.Rounds(4.7, 6)
    assert load.plan_rounds(10, 2, 5, 100) == load.Rounds(load.SHORTEST, 100)


def test_finding_the_load_takes_no_round_its_arrivals():
    chosen = load.lengthen("poisson:rate=0.3", 4.0, 1, 10)
    assert chosen > 4 and load.empty_round("poisson:rate=0.3", chosen, 1, 10) is None
