"""Locust as a user runs it, for the tests: headless or with its page, and what a run leaves."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pyarrow.parquet

from tests import forks
from tests.conftest import ROOT

LOCUST = ROOT / ".venv" / "bin" / "locust"


def locust(workload: str, *arguments, **popen) -> subprocess.Popen:
    return forks.start("locust", "-f", f"loadgen/{workload}.py", *arguments, **popen)


def anew(workload: str, *arguments) -> subprocess.Popen:
    """Locust as it is typed, in a process that has imported nothing yet."""
    command = [LOCUST, "-f", f"loadgen/{workload}.py", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def headless(workload: str, url: str, reports: Path, *arguments) -> tuple[int, str]:
    process = locust(workload, "--headless", "--host", url, "--reports", reports, *arguments)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def rows(reports: Path) -> list[dict]:
    """The samples of the one run there was."""
    [file] = reports.glob("*/samples.parquet")
    assert [other.name for other in file.parent.iterdir() if "worker" in other.name] == []
    return pyarrow.parquet.read_table(file).to_pylist()


def flat(text: str) -> str:
    return " ".join(text.split())


def fetch(url: str, process: subprocess.Popen) -> str:
    """GET, as soon as the page is there."""
    while True:
        assert process.poll() is None, process.stdout.read()
        try:
            return urllib.request.urlopen(url, timeout=120).read().decode()
        except urllib.error.URLError:
            time.sleep(0.2)


def post(url: str, body: str) -> str:
    return urllib.request.urlopen(url, body.encode(), timeout=120).read().decode()


def live_rows(base: str, process: subprocess.Popen) -> list[dict]:
    """The runs of the Crossover tab, the latest first."""
    return json.loads(fetch(f"{base}/crossover/runs", process))["runs"]


def opened(process: psutil.Process) -> list[Path]:
    return [Path(file.path) for file in process.open_files()]
