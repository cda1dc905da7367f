"""`make bench`'s last step, on the real server: every arm on the same schedules, and nothing lost on the way."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from loadgen import journal, samples
from tests.conftest import ROOT


def bench(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "loadgen.bench", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(*arguments) -> tuple[int, str]:
    process = bench(*arguments)
    output, _ = process.communicate(timeout=200)
    return process.returncode, output


def report(reports: Path) -> tuple[Path, dict]:
    [directory] = reports.iterdir()
    return directory, json.loads((directory / "summary.json").read_text())


@pytest.fixture(scope="module")
def finished(server, tmp_path_factory):
    """One short comparison of both workloads: (output, directory, summary)."""
    reports = tmp_path_factory.mktemp("reports")
    code, output = run(
        "--url", server.url, "--state", server.state, "--seconds", 30, "--rounds", 2,
        "--arrivals", "poisson:rate=8", "--reports", reports,
    )  # fmt: skip
    assert code in (0, 3), output  # 3: a machine that was too busy to measure on
    return output, *report(reports)


def kept(directory: Path, arm: dict) -> list[np.ndarray]:
    """The samples of an arm, a block each."""
    folder = directory / arm["arm"].replace(" ", "-").replace(":", "")
    return [journal.load(file)[0] for file in sorted(folder.glob("*.parquet"))]


def test_every_arm_gets_the_same_schedules_and_the_same_payloads(finished):
    _, directory, summary = finished
    for workload in summary["workloads"].values():
        assert len(workload["arms"]) == 6
        asked = [[np.sort(r[["due", "payload"]]).tolist() for r in kept(directory, arm)] for arm in workload["arms"]]
        assert len(asked[0]) == 2
        assert all(each == asked[0] for each in asked)
        assert len({round_["schedule"] for round_ in workload["rounds"]}) == 2


def test_the_books_of_every_arm_balance_and_agree_with_its_samples(finished):
    _, directory, summary = finished
    for workload in summary["workloads"].values():
        for arm in workload["arms"]:
            books = dict(arm["books"])
            assert books.pop("scheduled") == sum(books.values()) == books["completed"]
            assert samples.books(np.concatenate(kept(directory, arm))) == arm["books"]


def test_the_exit_code_and_the_verdicts_agree(finished):
    output, _, summary = finished
    arms = [arm for workload in summary["workloads"].values() for arm in workload["arms"]]
    assert output.count("INVALID") == sum(len(arm["findings"]) for arm in arms)
    assert all(arm["valid"] == (not arm["findings"]) for arm in arms)


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
            assert set(arm["steps"]) == steps[name, arm["placement"]]
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


def test_every_column_of_the_table_is_explained_below_it(finished):
    output, *_ = finished
    table, legend = output.split("\nrate        ")
    head = next(line for line in table.splitlines() if line.startswith("arm "))
    for column in ("p50", "p99", "service", "err", "cpu cl", "srv", "KB up", "down"):
        assert column in head
        assert column.split()[0] in "rate        " + legend


def test_ctrl_c_leaves_the_tables_and_a_summary_of_what_is_done(server, tmp_path):
    process = bench("image", "--url", server.url, "--state", server.state, "--seconds", 600, "--reports", tmp_path)
    while not list(tmp_path.glob("*/image-*/*.journal")):
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in output
    assert "Traceback" not in output
    directory, summary = report(tmp_path)
    assert summary["complete"] is False
    arms = summary["workloads"]["image"]["arms"]
    assert not list(directory.glob("*/*.journal"))
    assert all(sum(map(len, kept(directory, arm))) == arm["books"]["scheduled"] for arm in arms)
    assert any("cut short" in found["measured"] for arm in arms for found in arm["findings"])


def test_without_a_server_it_says_so_in_one_line(tmp_path):
    code, output = run("--url", "localhost:9", "--reports", tmp_path)
    assert code == 1
    [line] = output.strip().splitlines()
    assert "no Triton server answers at http://localhost:9" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["video"], "unknown workload 'video'; try one of image, audio"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--arrivals", "gama:1"], "try one of constant, uniform, poisson"),
        (["--arrivals", "closed:users=2,think=0"], "closed"),
        (["--seconds", "-1"], "seconds must be a positive number"),
        (["--image", "/no/such"], "cannot read payloads"),
        (["--library", "opencv"], "unknown library 'opencv' for image; try one of dali, pillow"),
        (["--workloads"], "unrecognized arguments"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_two(arguments, says):
    code, output = run(*arguments)
    assert code == 2
    assert says in output.strip().splitlines()[-1]
    assert "Traceback" not in output
