"""Locust's master with workers that come late, come back, or are not like it: each run has its own samples, whole."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest

from serving.ports import free_ports
from tests.conftest import ROOT
from tests.locust_plugin.locust_runs import fetch, flat, post

AS_HOST = "import socket, sys; n = sys.argv.pop(1); socket.gethostname = lambda: n; import locust.main as m; m.main()"
"""Locust on a machine of the name that is its first argument: a worker's name begins with it."""


def start(workload: str, *arguments, host: str = "host", directory: Path = ROOT) -> subprocess.Popen:
    locustfile = ROOT / "loadgen" / f"{workload}.py"
    command = [sys.executable, "-c", AS_HOST, host, "-f", locustfile, *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": None}
    return subprocess.Popen(list(map(str, command)), cwd=directory, **streams)


def start_master(server, reports: Path, *arguments, directory: Path = ROOT) -> tuple[subprocess.Popen, list]:
    """A master, and the arguments of its workers."""
    [bind] = free_ports(1)
    ours = "--master", "--master-bind-port", bind, "--host", server.url, "--reports", reports
    return start("image", *ours, *arguments, directory=directory), [
        "--worker", "--master-port", bind, "--reports", reports,
    ]  # fmt: skip


@pytest.fixture
def processes():
    """Those that a test starts; what is left of them is ended."""
    started: list[subprocess.Popen] = []
    yield started
    for each in started:
        if each.poll() is None:
            psutil.Process(each.pid).resume()
            each.kill()
        each.communicate()


def wait(find: Callable):
    """What `find` returns as soon as that is true."""
    end = time.monotonic() + 120
    while not (found := find()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def read_rows(run: Path) -> list[dict]:
    return pyarrow.parquet.read_table(run / "samples.parquet").to_pylist()


def test_a_worker_that_comes_late_takes_nothing_from_those_that_offer_the_run(server, tmp_path, processes):
    """Locust spreads its users anew then, by the names of the workers, and ended the share of the one it took from."""
    load = "--headless", "--expect-workers", 1, "--arrivals", "constant:rate=20", "--seconds", 12
    master, ours = start_master(server, tmp_path, *load)
    processes += [master, start("image", *ours, host="zzz")]
    wait(lambda: list(tmp_path.glob("*/worker-0.journal")))
    processes.append(start("image", *ours, host="aaa"))
    output, _ = master.communicate(timeout=300)
    assert "2 workers connected" in output  # it came while the run went on
    assert "books: scheduled 240 = completed 240 " in flat(output), output
    assert "interrupted" not in output


def test_a_worker_that_comes_back_says_nothing_of_its_run_in_the_next_one(server, tmp_path, processes):
    """The next run is offered by those that are there; what the other still had to tell was taken for samples of it."""
    [page] = free_ports(1)
    master, ours = start_master(server, tmp_path, "--web-port", page)
    workers = [start("image", *ours), start("image", *ours)]
    processes += [master, *workers]
    base = f"http://127.0.0.1:{page}"

    def read() -> dict:
        return json.loads(fetch(f"{base}/stats/requests", master))

    def offer(seconds: float, seed: int) -> None:
        form = f"arrivals=constant:rate=20&seconds={seconds}&seed={seed}"
        assert json.loads(post(f"{base}/swarm", form))["success"]

    wait(lambda: len(read()["workers"]) == 2)
    offer(8, 1)
    wait(lambda: len(list(tmp_path.glob("*/worker-*.journal"))) == 2)
    psutil.Process(workers[0].pid).suspend()
    [summary] = wait(lambda: list(tmp_path.glob("*/summary.json")))
    first = summary.parent
    wait(lambda: read()["state"] == "stopped")
    assert sorted(row["index"] for row in read_rows(first)) == list(range(160))
    [left] = first.glob("worker-*.journal")
    offer(10, 2)
    wait(lambda: any(path.parent != first for path in tmp_path.glob("*/worker-0.journal")))
    time.sleep(3)  # its arrivals begin
    psutil.Process(workers[0].pid).resume()
    wait(lambda: len(list(tmp_path.glob("*/summary.json"))) == 2)
    [second] = [path for path in tmp_path.iterdir() if path != first]
    told = read_rows(second)
    assert [row["status"] for row in told] == ["completed"] * 200
    assert json.loads((second / "run.json").read_text())["processes"] == 1
    assert left.exists()  # the master does not have what they hold


def test_the_page_starts_no_run_without_a_worker_or_before_the_last_one_has_its_verdict(server, tmp_path, processes):
    """It said that it had: the run began by itself once workers came, and one that was ending was dropped."""
    [page] = free_ports(1)
    master, ours = start_master(server, tmp_path, "--web-port", page)
    processes.append(master)
    base = f"http://127.0.0.1:{page}"

    def offer(seed: int) -> str:
        answer = json.loads(post(f"{base}/swarm", f"arrivals=constant:rate=20&seconds=30&seed={seed}"))
        return "started" if answer["success"] else answer["message"]

    wait(lambda: fetch(base, master))
    assert offer(1) == "no worker is connected: start one with --worker first"
    workers = [start("image", *ours), start("image", *ours)]
    processes += workers
    wait(lambda: len(json.loads(fetch(f"{base}/stats/requests", master))["workers"]) == 2)
    time.sleep(2)
    assert list(tmp_path.iterdir()) == []
    assert offer(2) == "started"
    wait(lambda: len(list(tmp_path.glob("*/worker-*.journal"))) == 2)
    assert offer(3).startswith("a run is under way: ")
    time.sleep(4)
    psutil.Process(workers[0].pid).suspend()  # so that the stop takes its time
    stopping = threading.Thread(target=post, args=(f"{base}/stop", ""))
    stopping.start()
    time.sleep(0.5)
    assert offer(4).startswith("a run is under way: ")
    psutil.Process(workers[0].pid).resume()
    stopping.join()
    [run] = tmp_path.iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["seed"] == 2 and summary["books"]["scheduled"] == len(read_rows(run))


@pytest.mark.parametrize("other", ["trace", "payloads", "workload"])
def test_a_worker_that_would_send_something_else_sends_nothing_and_the_run_says_why(server, tmp_path, processes, other):
    """Of a trace a part was offered from the worker's own file, and a worker of sounds never ended the run."""
    here, there, reports = tmp_path / "here", tmp_path / "there", tmp_path / "reports"
    photograph = (ROOT / "serving" / "smoke_test.jpg").read_bytes()
    for directory, step, pixels in ((here, 0.1, photograph), (there, 0.1, photograph)):
        (directory / "photos").mkdir(parents=True)
        step = 0.11 if directory == there and other == "trace" else step
        (directory / "trace.csv").write_text("timestamp\n" + "".join(f"{n * step:.3f}\n" for n in range(20)))
        extra = b"\0" if directory == there and other == "payloads" else b""
        (directory / "photos" / "one.jpg").write_bytes(pixels + extra)
    load = "--arrivals", "trace:file=trace.csv", "--payloads", "photos", "--seconds", 3
    at_once = "--headless", "--expect-workers", 2
    master, ours = start_master(server, reports, *at_once, *load, directory=here)
    odd = start("audio" if other == "workload" else "image", *ours, directory=there)
    processes += [master, start("image", *ours, directory=here), odd]
    output, _ = master.communicate(timeout=300)
    said, _ = odd.communicate(timeout=300)
    assert "Traceback" not in output + said and odd.returncode in (1, 2), said
    reason = {
        "trace": r"worker \d on .*: its arrivals are not the master's \(schedule \w+, not \w+\)",
        "payloads": r"worker \d on .*: its payloads are not the master's \(digest \w+, not \w+\)",
        "workload": "a worker on .* sends audio, and the master image",
    }[other]
    assert re.search(f"INVALID: interrupted: {reason}; give all machines the same", output), output
    [run] = reports.iterdir()
    assert sorted(row["index"] for row in read_rows(run)) == list(range(20))
