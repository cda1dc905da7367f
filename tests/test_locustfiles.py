"""Both locustfiles as a user runs them: the real Locust, the real server."""

import csv
import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from loadgen.samples import INTEGERS, STATUSES
from tests.conftest import ROOT, ports

LOCUST = ROOT / ".venv" / "bin" / "locust"
BOTH = pytest.mark.parametrize("workload", ["image", "audio"])


def locust(workload: str, *arguments, **popen) -> subprocess.Popen:
    command = [LOCUST, "-f", f"loadgen/{workload}.py", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **popen)


def headless(workload: str, url: str, reports: Path, *arguments) -> tuple[int, str]:
    process = locust(workload, "--headless", "--host", url, "--reports", reports, *arguments)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def rows(reports: Path) -> list[dict]:
    files = sorted(reports.glob("*/samples.csv"))
    assert files, f"no samples under {reports}"
    return [row for file in files for row in csv.DictReader(file.open())]


@BOTH
@pytest.mark.parametrize("placement", ["client", "server"])
@pytest.mark.parametrize("mode", ["sequential", "threads", "async"])
def test_every_arm_answers_every_due_time_and_exits_with_zero(server, tmp_path, workload, placement, mode):
    code, output = headless(
        workload, server.url, tmp_path, "--placement", placement, "--mode", mode,
        "--workers", 2, "--arrivals", "constant:rate=10", "--seconds", 1,
    )  # fmt: skip
    assert code == 0, output
    assert "books: scheduled 10 = completed 10 + failed 0" in output
    assert sorted(int(row["index"]) for row in rows(tmp_path)) == list(range(10))
    assert "Traceback" not in output


def test_without_a_server_every_due_time_is_an_error_sample_and_the_exit_code_is_one(tmp_path):
    code, output = headless("image", "http://127.0.0.1:9", tmp_path, "--arrivals", "constant:rate=20", "--seconds", 1)
    assert code == 1
    assert [row["status"] for row in rows(tmp_path)] == ["failed"] * 20
    assert "Connection refused" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--arrivals", "gama:rate=3"], "try one of constant, uniform, poisson"),
        (["--arrivals", "poisson:rate=-1"], "rate must be a positive number"),
        (["--placement", "moon"], "choose from 'client', 'server'"),
        (["--mode", "async", "--workers", "0"], "workers and in-flight cap must be at least 1"),
        (["--seconds", "-3"], "seconds must be"),
        (["--payloads", "/no/such/directory"], "cannot read payloads: No such file or directory"),
        (["--payloads", "tests"], "no payloads in tests"),
        (["--secondz", "3"], "Did you mean '--seconds'?"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_two(tmp_path, arguments, says):
    code, output = headless("image", "http://127.0.0.1:9", tmp_path, *arguments)
    assert code == 2
    assert says in output
    assert "Traceback" not in output
    assert not list(tmp_path.iterdir())


def test_corrupt_payloads_become_failed_samples_that_say_why(server, tmp_path):
    folder = tmp_path / "payloads"
    folder.mkdir()
    (folder / "cut.jpg").write_bytes((ROOT / "serving" / "canary.jpg").read_bytes()[:300])
    for placement in ("client", "server"):
        reports = tmp_path / placement
        code, output = headless(
            "image", server.url, reports, "--placement", placement, "--payloads", folder,
            "--arrivals", "constant:rate=5", "--seconds", 1,
        )  # fmt: skip
        assert code == 1
        why = "HTTP 400" if placement == "server" else "client preprocessing"
        assert all(row["status"] == "failed" and why in row["reason"] for row in rows(reports))
        assert "Traceback" not in output


def test_ctrl_c_in_the_middle_leaves_a_sample_for_every_due_time(server, tmp_path):
    process = locust(
        "image", "--headless", "--host", server.url, "--reports", tmp_path,
        "--arrivals", "constant:rate=20", "--seconds", 3600,
    )  # fmt: skip
    while not (files := list(tmp_path.glob("*/samples.csv"))) or files[0].stat().st_size < 500:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    balance = re.search(r"books: scheduled 72000 = (.*)", output).group(1)
    counts = dict(re.findall(r"(completed|unfinished) (\d+)", balance))
    assert int(counts["completed"]) > 0
    assert int(counts["completed"]) + int(counts["unfinished"]) == 72000
    assert len(rows(tmp_path)) == 72000
    assert "Traceback" not in output


def test_two_worker_processes_offer_exactly_the_one_process_schedule(server, tmp_path):
    arguments = ["--arrivals", "poisson:rate=40", "--seconds", 2, "--seed", 3]
    headless("image", server.url, tmp_path / "one", *arguments)
    code, output = headless("image", server.url, tmp_path / "two", *arguments, "--processes", 2)
    assert code == 0, output
    assert len(list((tmp_path / "two").iterdir())) == 2
    one, two = (sorted((int(r["due"]), r["payload"]) for r in rows(tmp_path / name)) for name in ("one", "two"))
    assert one == two


def test_the_samples_file_holds_what_its_schema_says(server, tmp_path):
    headless("audio", server.url, tmp_path, "--arrivals", "constant:rate=5", "--seconds", 1)
    for row in rows(tmp_path):
        assert row["status"] in STATUSES
        assert all(row[name].isdecimal() for name in INTEGERS)


@BOTH
def test_the_web_form_starts_a_run_and_refuses_a_bad_one_with_the_reason(server, tmp_path, workload):
    port = int(ports()[0].partition("=")[2])
    web = ["--web-host", "127.0.0.1", "--web-port", port]
    process = locust(workload, "--host", server.url, *web, "--reports", tmp_path)
    base = f"http://127.0.0.1:{port}"
    try:
        page = fetch(base, process)
        for field in ("placement", "mode", "arrivals", "seed", "workers", "payloads", "seconds"):
            assert f'"{field}"' in page
        assert not json.loads(post(f"{base}/swarm", "arrivals=gama:3"))["success"]
        assert "try one of" in json.loads(post(f"{base}/swarm", "arrivals=gama:3"))["message"]
        for _ in range(2):  # and again: nothing of the first run is left in the second
            assert json.loads(post(f"{base}/swarm", "arrivals=constant:rate=10&seconds=1&placement=client"))["success"]
            while json.loads(fetch(f"{base}/stats/requests", process))["state"] != "stopped":
                time.sleep(0.2)
            [stats] = [s for s in json.loads(fetch(f"{base}/stats/requests", process))["stats"] if s["method"]]
            assert (stats["num_requests"], stats["num_failures"]) == (10, 0)
        assert len(list(tmp_path.iterdir())) == 2
    finally:
        process.terminate()
        process.communicate(timeout=30)


def fetch(url: str, process: subprocess.Popen) -> str:
    """GET, as soon as the page is there."""
    while True:
        assert process.poll() is None, process.stdout.read()
        try:
            return urllib.request.urlopen(url, timeout=10).read().decode()
        except urllib.error.URLError:
            time.sleep(0.2)


def post(url: str, body: str) -> str:
    return urllib.request.urlopen(url, body.encode(), timeout=10).read().decode()
