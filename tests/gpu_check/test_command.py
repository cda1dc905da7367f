"""`crossover gpu-check` as a person runs it: on the real server, in text and JSON, and what it leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import psutil
import pytest

from crossover.gpu_check import check as module
from crossover.gpu_check.check import Alarm, Check, TooLate
from crossover.gpu_check.finding import OK, PROBLEM, SKIPPED
from tests.conftest import ROOT, launch

COMMAND = [sys.executable, "-m", "crossover", "gpu-check", "--short", "--seconds", "800", "--weights", "tiny"]
LINE = re.compile(r"(.{18})(ok|skipped|problem): \S.*")
ALWAYS = [
    "machine",
    "python",
    "versions",
    "gpu",
    "onnx runtime",
    "decode on CPU",
    "formats",
    "server",
    "image",
    "audio",
]


def start(*more: str, **options) -> subprocess.Popen:
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *more], cwd=ROOT, stdout=pipe, stderr=pipe, text=True, **options)


@pytest.mark.long
def test_it_prints_a_line_per_finding_and_a_summary():
    """The same checks as for JSON, to their end; every run has the lines of two that are interrupted."""
    done = start()
    output, errors = done.communicate(timeout=800)
    *lines, summary = output.splitlines()
    assert all(LINE.fullmatch(line) for line in lines), output
    problems = [line for line in lines if "problem: " in line]
    assert done.returncode == (1 if problems else 0) and not errors
    assert not problems or Path("/dev/nvidia0").exists(), problems
    names = [line[:18].strip() for line in lines]
    assert [name for name in names if name in ALWAYS] == ALWAYS
    # Without a card "0 problems" says nothing of one.
    card = "" if Path("/dev/nvidia0").exists() else "; no card was checked"
    assert re.fullmatch(rf"summary +\d+ ok, \d+ skipped, {len(problems)} problems?, in \d+ s{card}", summary)


def test_json_has_the_figures():
    done = start("--json")
    output, _ = done.communicate(timeout=800)
    document = json.loads(output)
    found = {finding["name"]: finding for finding in document["findings"]}
    assert [finding["name"] for finding in document["findings"] if finding["name"] in ALWAYS] == ALWAYS
    problems = [finding for finding in document["findings"] if finding["state"] == PROBLEM]
    assert not problems or Path("/dev/nvidia0").exists(), problems
    assert document["problems"] == sum(finding["state"] == PROBLEM for finding in document["findings"])
    assert done.returncode == bool(document["problems"])
    assert found["image rate"]["figures"]["rate"] > 0
    assert found["image rate"]["figures"]["steps"]["image_preprocess"]["mean_batch"] >= 1
    assert found["server"]["state"] == OK and "tritonserver" in document["log"]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("machine", signal.SIGINT),
        ("server ", signal.SIGTERM),
        pytest.param("machine", signal.SIGTERM, marks=pytest.mark.long),
        pytest.param("server ", signal.SIGINT, marks=pytest.mark.long),
    ],
)
def test_an_interrupt_leaves_nothing_behind(number, line, tmp_path):
    mark = uuid.uuid4().hex
    environment = {**os.environ, "CROSSOVER_MARK": mark, "TMPDIR": str(tmp_path)}
    process = start(env=environment, start_new_session=True)
    before = [process.stdout.readline()]
    while not before[-1].startswith(line):
        assert process.poll() is None
        before.append(process.stdout.readline())
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
    *lines, summary = ("".join(before) + output).splitlines()
    assert all(LINE.fullmatch(each) for each in lines), lines
    assert re.fullmatch(r"summary +\d+ ok, \d+ skipped, 0 problems, in \d+ s(; no card was checked)?", summary)
    assert not find_marked(mark) and not list(tmp_path.glob("crossover-gpu-check-*"))


def find_marked(mark: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CROSSOVER_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.name())
        except (psutil.Error, OSError):
            continue
    return found


def make_check(monkeypatch, weights: str = "tiny", seconds: float = 600) -> Check:
    check = Check(lambda finding: None, True, weights, seconds)
    monkeypatch.setattr(check, "_gpu", True)
    return check


def test_a_server_that_does_not_come_up_is_tried_on_the_cpu_and_then_its_checks_are_skipped(monkeypatch):
    check = make_check(monkeypatch, weights="real")
    monkeypatch.setattr(module, "temporary_server", refuse)
    check._examine_server(lambda: None)
    states = [(finding.name, finding.state) for finding in check.findings]
    assert states == [("server", PROBLEM)] * 2 + [(name, SKIPPED) for name in module.SERVER_PROBES]
    assert "model_repository/resnet50" in check.findings[0].text and check.has_problems


def refuse(state, weights, flags=()):
    raise module.Failure("model_repository/resnet50/1/model.onnx is missing; run `make models`")


def test_a_server_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "FOR_START", 1.0)
    check = make_check(monkeypatch, seconds=module.FOR_REQUESTS + 2)
    monkeypatch.setattr(module, "temporary_server", lambda *_, **__: threading.Event().wait())
    check._examine_server(lambda: None)
    first, second, *_ = check.findings
    assert first.state == PROBLEM and first.text == "not up within 2 s"
    assert first.remedy.startswith("run it again, as the first start in a new environment compiles")
    assert second.state == SKIPPED and "no time left" in second.text


def test_too_little_time_to_start_a_server_is_no_problem_of_the_machine(monkeypatch):
    check = make_check(monkeypatch, seconds=module.FOR_REQUESTS + 1)
    check._examine_server(lambda: None)
    assert (check.findings[0].name, check.findings[0].state) == ("server", SKIPPED)
    assert check.findings[0].text == "no time left to start it; --seconds gives more" and not check.has_problems


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e400", "-1", "9"])
def test_seconds_that_no_clock_can_count_are_refused(seconds):
    done = launch("gpu-check", "--seconds", seconds)
    assert done.returncode == 2 and "--seconds" in done.stderr and done.stderr.count("\n") == 1


def test_an_alarm_that_was_cancelled_does_nothing():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TooLate), Alarm(0.01):
        threading.Event().wait(60)
    alarm = Alarm(0.05)
    with alarm:
        alarm.cancel()
        threading.Event().wait(0.1)
    assert signal.getsignal(signal.SIGALRM) is before
