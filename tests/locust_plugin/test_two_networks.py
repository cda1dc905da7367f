"""Workers on two machines, each a network namespace with an address of its own: one schedule, books and report.

It needs root, and is skipped without.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from crossover.cli.main import main
from loadgen.samples import parquet
from loadgen.samples.sample import COMPLETED, RECORD, STATUSES
from serving.ports import free_ports
from tests.conftest import ROOT
from tests.locust_plugin.locust_runs import headless
from tests.networks import Missing, forward, networks

LOAD = "--arrivals", "poisson:rate=40", "--seed", 3, "--percentile", 50, "--timeout", 5
DELAY = 5  # ms on the way from a worker, where the kernel can


@pytest.fixture(scope="module")
def two():
    try:
        with networks(f"xo{os.getpid() % 10_000_000}", 2) as made:
            delayed = [made.delay(number, DELAY) for number in (0, 1)]
            print(f"a delay of {DELAY} ms" if all(delayed) else "no delay: this kernel has no netem")
            yield made
    except Missing as missing:
        pytest.skip(f"no network namespaces can be made here: {missing}")


BUSY = "failed to send heartbeat"
"""What Locust says of a worker that told nothing for distributed.SILENCE seconds."""


def run(two, server, reports: Path, *load, meanwhile=lambda *_: None) -> tuple[int, str]:
    """A run whose master is on this machine and whose workers are in the namespaces: exit code and output.

    `meanwhile` is called with a function that says whether the master still runs.
    """
    host, port = server.address.split(":")
    [bind] = free_ports(1)
    file = [sys.executable, "-m", "locust", "-f", "loadgen/image.py", "--headless", "--reports", reports]
    with forward(two.host, (host, int(port))) as there:
        ours = "--master", "--master-bind-host", two.host, "--master-bind-port", bind, "--expect-workers", 2
        commands = [[*file, *ours, "--host", f"http://{two.host}:{there}", *load]]
        theirs = "--worker", "--master-host", two.host, "--master-port", bind
        commands += [[*two.inside(number), *file, *theirs] for number in (0, 1)]
        running = [
            subprocess.Popen(
                list(map(str, each)), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            for each in commands
        ]
        try:
            meanwhile(lambda: running[0].poll() is None)
            output, _ = running[0].communicate(timeout=300)
            return running[0].returncode, output
        finally:
            for each in running:
                each.kill()
                print(each.communicate()[0])


def read(reports: Path) -> tuple[np.ndarray, list[str], list[str], dict]:
    [directory] = reports.glob("*-image-*")
    return *parquet.load(directory / "samples.parquet"), json.loads((directory / "summary.json").read_text())


def test_two_networks_send_exactly_the_one_machine_schedule(two, server, tmp_path, capsys):
    load = *LOAD, "--seconds", 1.5
    headless("image", server.url, tmp_path / "one", *load)
    for number in range(5):
        code, output = run(two, server, tmp_path / f"two{number}", *load)
        if BUSY not in output:  # else the whole machine stood still
            break
    (tmp_path / f"two{number}").rename(tmp_path / "two")
    assert code in (0, 3), output  # a busy machine's run may be INVALID
    one, _, names, alone = read(tmp_path / "one")
    both, _, other_names, together = read(tmp_path / "two")
    for column in ("index", "payload", "due"):
        assert one[column].tolist() == both[column].tolist()
    assert names == other_names and len(both) > 40
    assert (both["status"] == STATUSES.index(COMPLETED)).all()
    assert together.pop("processes") == 2
    assert together.keys() == alone.keys() and together["books"] == alone["books"]
    for setting in ("arm", "arrivals", "seconds", "seed", "schedule", "payloads", "percentile"):
        assert together[setting] == alone[setting]
    for where in ("one", "two"):
        [directory] = (tmp_path / where).glob("*-image-*")
        assert main(["report", str(directory), "-o", str(tmp_path / f"{where}-report")]) in (0, 3)
        assert f"outcomes: {len(both)} = {len(both)} completed" in capsys.readouterr().out


def test_a_worker_that_is_cut_off_is_seen_and_counted_and_the_run_is_invalid(two, server, tmp_path):
    reports = tmp_path

    def cut(is_running):
        """Cut off the network of the second worker once it has sent something."""
        while is_running():
            files = [*reports.glob("*/worker-1.journal")]
            if files and files[0].stat().st_size >= 10 * RECORD.itemsize:
                two.cut(next(number for number in (0, 1) if opened_in(two.names[number], files[0])))
                return
            time.sleep(0.02)

    for number in range(5):
        reports = tmp_path / str(number)
        code, output = run(two, server, reports, *LOAD, "--seconds", 3, meanwhile=cut)
        two.join()
        records, reasons, _, summary = read(reports)
        done = records["status"] == STATUSES.index(COMPLETED)
        if done[records["index"] % 2 == 0].all() and done.any():  # else the whole machine stood still
            break
    assert code == 1, output
    assert "worker 1 of 2 fell silent" in output
    assert "INVALID: interrupted: worker 1 died or was cut off" in output
    assert records["index"].tolist() == list(range(len(records))) and len(records) == summary["books"]["scheduled"]
    lost = records[~done]
    assert len(lost) and (lost["index"] % 2 == 1).all()
    assert "its worker died or was cut off" in {reasons[each["reason"]] for each in lost}


def opened_in(namespace: str, file: Path) -> bool:
    """Whether a process of that network namespace has the file open."""
    done = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    links = [link for pid in done.stdout.split() for link in Path(f"/proc/{pid}/fd").iterdir()]
    return any(link.exists() and link.samefile(file) for link in links)
