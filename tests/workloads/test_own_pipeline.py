"""A pipeline of one's own: one file, taken by every command."""

import json
import re
import socket
import time

import pytest

from serving import smoke_test
from tests import forks
from tests.commands import again, only, run
from tests.conftest import ROOT
from tests.locust_plugin.locust_runs import fetch, headless, locust, post, rows
from tests.workloads.own_pipeline import COMMANDS, HEAD, infer
from workloads import image

PLACEMENTS = ("phone", "cloud", "thumbnail")
OK = (0, 3)  # 3: a machine that was too busy to measure on


def test_any_two_placements_are_compared_and_the_first_is_the_baseline(own, at, tmp_path, monkeypatch, capsys):
    quick = ["--seconds", 6, "--rounds", 1, "--reports", tmp_path]
    code, output = run("bench", own, "--arms", "thumbnail,cloud", *at, *quick)
    assert code in OK, output
    summary = json.loads((only(tmp_path) / "summary.json").read_text())
    found = summary["workloads"]["detector"]
    assert list(found["placements"]) == ["thumbnail", "cloud"] and found["subject"] == "photographs"
    assert found["steps"] == ["image_preprocess", "resnet50"]
    assert [arm["placement"] for arm in found["arms"]] == ["thumbnail", "cloud"]
    assert all(arm["errors"] == 0 and "resnet50 compute" in arm["stages"] for arm in found["arms"])
    up = {arm["placement"]: arm["bytes_up"] for arm in found["arms"]}
    assert 0 < up["thumbnail"] < up["cloud"]
    [p50] = [each for each in found["comparisons"] if each["metric"] == "p50"]
    assert p50["names"] == ["thumbnail", "cloud"]
    assert p50["ratio"] == pytest.approx(p50["candidate"] / p50["baseline"])
    disturbed = any(not arm["valid"] for arm in found["arms"])  # a busy machine may not keep the schedule
    warning, _, said = found["sentence"].rpartition(", so do not rely on it. ")
    assert warning.startswith("INVALID (") == disturbed and said.startswith("For photographs at ")
    assert "cloud/thumbnail" in output and "Traceback" not in output
    page = (only(tmp_path) / "report.html").read_text()
    assert "<h1>Which placement is better: thumbnail or cloud?</h1>" in page
    assert "cloud ÷ thumbnail" in page and "preprocessed by" not in page
    code, output, errors = again(monkeypatch, capsys, only(tmp_path))  # without the file
    assert code in OK and "cloud/thumbnail" in output, errors


def test_without_arms_the_first_two_are_compared_and_a_directory_replaces_the_payloads(own, at, tmp_path):
    quick = ["--seconds", 6, "--rounds", 1, "--reports", tmp_path / "reports"]
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "one.bin").write_bytes(image.photographs((320,))[0].encoded)
    code, output = run("bench", own, "--payloads", tmp_path / "sent", *at, *quick)
    assert code in OK, output
    found = json.loads((only(tmp_path / "reports") / "summary.json").read_text())["workloads"]["detector"]
    assert list(found["placements"]) == ["phone", "cloud"] and found["payloads"] == ["one.bin"]


@pytest.mark.long
def test_capacity_takes_all_three(own, at, tmp_path):
    quick = ["--percentile", 90, "--loads", "", "--reports", tmp_path]
    shorter = "search.LASTING, search.SHORTEST, search.ALLOWED, search.START = 2, 0, 0, 1.5; plan.TURNS = 2"
    code, output = run("capacity", own, "--arms", ",".join(PLACEMENTS), *at, *quick, shorter=shorter)
    assert code in OK, output
    found = json.loads((only(tmp_path) / "capacity.json").read_text())["detector"]
    assert [each["arm"].split()[1] for each in found["capacity"]] == list(PLACEMENTS)
    page = (only(tmp_path) / "report.html").read_text()
    assert "preprocessed by the thumbnail placement" in page
    assert "var(--baseline)" in page and "var(--candidate)" in page and "var(--third)" in page


def test_the_study_takes_its_placements(own, at, tmp_path):
    code, output = run("study", own, "--arms", "cloud", "--rounds", 1, "--seconds", 10, *at, "--reports", tmp_path)
    assert code in OK, output
    found = json.loads((only(tmp_path) / "study.json").read_text())["workloads"]["detector"]
    assert {row["placement"] for row in found["conditions"]} == {"cloud"}
    assert (only(tmp_path) / "study.png").stat().st_size > 10_000


def test_sweeps_take_it(own, at, tmp_path):
    given = [own, "--sweeps", "size,workers", "--arms", "cloud,thumbnail"]
    quick = ["--rounds", 1, "--seconds", 40, "--reports", tmp_path]
    shorter = "points.LEAST, points.MOST, grid.SHORTEST, grid.WORKERS = 3, 5, 0.3, (1, 2)"
    code, output = run("crossover", *given, *at, *quick, shorter=shorter)
    assert code in OK, output
    assert "left out: size: detector has no sizes to sweep" in output
    [found] = json.loads((only(tmp_path) / "crossover.json").read_text())
    assert (found["workload"], list(found["placements"])) == ("detector", ["cloud", "thumbnail"])
    assert [point["x"] for point in found["points"]] == [1, 2]
    assert "thumbnail/cloud" in output and "thumbnail p50" in output


def test_efficiency_takes_the_ensemble_that_is_asked_with_files_as_they_are(own, at, tmp_path):
    code, output = run("efficiency", own, "--seconds", 3, *at, "--reports", tmp_path)
    assert code in OK, output
    found = json.loads((only(tmp_path) / "efficiency.json").read_text())["detector"]
    assert found["ensemble"] == "image" and list(found["steps"]) == ["image_preprocess", "resnet50"]
    # Whether its efficiency can be told depends on how busy the machine is.
    concludes = r"For photographs (the ensemble answers|this run does not show how efficient the ensemble is)"
    assert re.search(concludes, (only(tmp_path) / "report.html").read_text())


def test_efficiency_says_which_placement_asks_no_ensemble(own, at, tmp_path):
    code, output = run("efficiency", own, "--arms", "phone", "--seconds", 3, *at, "--reports", tmp_path)
    assert code == 1, output
    assert "phone of detector asks resnet50, which is no ensemble; give --arms cloud or thumbnail" in output


@pytest.mark.long
def test_overload_takes_it(own, at):
    flags = ["--arms", "thumbnail", "--seconds", "96", "--capacity", "4"]
    done = forks.run("crossover", "overload", own, *at, *flags)
    assert done.returncode == 0, done.stderr
    assert "detector thumbnail: alone" in done.stdout and "Traceback" not in done.stderr


def test_infer_prints_outputs_whose_meaning_it_does_not_know(own, server):
    for placement in ("", *PLACEMENTS):
        chosen = ["--placement", placement] if placement else []
        done = infer(own, "--url", server.url, *chosen, smoke_test.JPEG)
        assert done.returncode == 0, done.stderr
        assert re.search(r"smoke_test\.jpg: logits FP32 \[1, 1000\]: [-\d.e]+, .*, \.\.\.\n$", done.stdout)


@pytest.mark.parametrize(("placement", "processes"), [("phone", 1), ("cloud", 1), ("thumbnail", 1), ("cloud", 2)])
def test_locust_takes_it_from_the_command_line(own, server, tmp_path, placement, processes):
    given = ["--arrivals", "constant:rate=10", "--seconds", 1, "--percentile", 50, "--placement", placement]
    given += ["--processes", processes] if processes > 1 else []
    code, output = headless("own", server.url, tmp_path, "--workload", own, *given)
    assert code in OK and "Traceback" not in output, output
    assert "books: scheduled 10 = completed 10 + failed 0" in output
    assert len(rows(tmp_path)) == 10


def test_locust_takes_it_in_its_web_form(own, server, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    web = ["--web-host", "127.0.0.1", "--web-port", port, "--workload", own]
    process, base = locust("own", "--host", server.url, *web, "--reports", tmp_path), f"http://127.0.0.1:{port}"
    try:
        page = fetch(base, process)
        assert all(f'"{name}"' in page for name in ("placement", "arrivals", *PLACEMENTS))
        form = "arrivals=constant:rate=10&seconds=1&placement="
        assert "try some of phone, cloud, thumbnail" in json.loads(post(f"{base}/swarm", form + "client"))["message"]
        assert json.loads(post(f"{base}/swarm", form + "thumbnail"))["success"]
        while json.loads(fetch(f"{base}/stats/requests", process))["state"] != "stopped":
            time.sleep(0.2)
        [stats] = [s for s in json.loads(fetch(f"{base}/stats/requests", process))["stats"] if s["method"]]
        assert (stats["method"], stats["num_requests"], stats["num_failures"]) == ("thumbnail", 10, 0)
    finally:
        process.terminate()
        process.communicate(timeout=300)


def test_what_the_docs_say_can_be_typed():
    """Every module, flag and locustfile of docs/own-pipeline.md exists."""
    for line in COMMANDS.splitlines():
        words = line.partition("#")[0].split()
        if words[0] == "locust":
            assert (ROOT / words[2]).is_file() and "--workload" in words
            continue
        command = words[1:3] if words[0] == "python" else ["-m", *words[:2]]
        done = forks.run(*command[1:], "--help")
        assert done.returncode == 0
        assert all(word in done.stdout for word in words if word.startswith("--"))


def test_sweeps_name_a_file_that_the_server_refuses_before_they_measure(at, tmp_path):
    (tmp_path / "photos").mkdir()
    for name, encoded in (("a.jpg", image.photographs((320,))[0].encoded), ("cut.jpg", b"\xff\xd8cut")):
        (tmp_path / "photos" / name).write_bytes(encoded)
    placements = "{'cloud': Placement('image'), 'copy': Placement('image', lambda e: np.frombuffer(e, np.uint8))}"
    content = f"import numpy as np\n{HEAD}"
    content += f"WORKLOAD = Workload(name='x', payloads=files('photos/*'), placements={placements})\n"
    (tmp_path / "mine.py").write_text(content)
    given = [tmp_path / "mine.py", "--sweeps", "workers", "--seconds", 60]
    code, output = run("crossover", *given, *at, "--reports", tmp_path / "reports")
    assert code == 2, output
    assert "1 of 2 payloads of x has no good answer: cut.jpg (HTTP 400" in output.splitlines()[-1]
    assert not (tmp_path / "reports").exists()


def test_a_placement_that_is_not_asked_needs_no_model(own, at, tmp_path):
    copy = tmp_path / own.name
    copy.write_text(own.read_text().replace('"cloud": Placement("image")', '"cloud": Placement("nowhere")'))
    (tmp_path / "photos").symlink_to(own.parent / "photos")
    quick = ["--rate", 4, "--seconds", 5, "--reports", tmp_path / "reports"]
    code, output = run("load", copy, "--arms", "phone", *quick, *at)
    assert code in OK, output
    code, output = run("load", copy, "--arms", "cloud", *quick, *at)
    assert code == 2 and "has no model nowhere" in output
