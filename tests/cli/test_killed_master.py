"""A master that is killed in the middle of a real run: `crossover report` merges what all machines have left."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossover.cli.main import main
from loadgen.samples import journal, parquet
from loadgen.samples.sample import RECORD
from serving.ports import free_ports
from tests.conftest import ROOT

ARRIVALS = 120


def start(disk: Path, *arguments) -> subprocess.Popen:
    """Start a process of Locust's that works in a folder of its own: a master tells its workers where reports go."""
    file = ROOT / "loadgen" / "image.py"
    command = [sys.executable, "-m", "locust", "-f", file, "--headless", "--reports", ".", *arguments]
    return subprocess.Popen(list(map(str, command)), cwd=disk, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def until(holds) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def count(folder: Path, name: str = "*") -> int:
    return sum(file.stat().st_size // RECORD.itemsize for file in folder.glob(f"*/{name}.journal"))


@pytest.fixture(scope="module")
def killed(server, tmp_path_factory) -> tuple[Path, list[Path]]:
    """The folder of a run whose master was killed, and the journals of its two workers, each on a disk of its own.

    Where this process had no core for so long that the master had heard of every arrival, another one is killed.
    """
    for _ in range(10):
        disks = [tmp_path_factory.mktemp(name) for name in ("master", "one", "two")]
        run_and_kill_master(server.url, disks)
        if count(disks[0]) < ARRIVALS:
            break
    assert 0 < count(disks[0]) < ARRIVALS
    return next(disks[0].glob("*")), [next(disk.glob("*/worker-*.journal")) for disk in disks[1:]]


def run_and_kill_master(url: str, disks: list[Path]) -> None:
    """Run a master and its two workers, kill the master after some answers, and let the workers end their shares."""
    port = free_ports(1)[0]
    load = "--arrivals", f"constant:rate={ARRIVALS / 3}", "--seconds", 3, "--host", url
    ours = "--master", "--master-bind-port", port, "--expect-workers", 2
    running = [start(disks[0], *ours, *load), *(start(disk, "--worker", "--master-port", port) for disk in disks[1:])]
    try:
        until(lambda: count(disks[0]) > ARRIVALS / 6)
        running[0].kill()
        # Nobody hears of these any more.
        until(lambda: count(disks[1]) + count(disks[2]) == ARRIVALS)
    finally:
        for each in running:
            each.kill()
            each.wait()


def report(capsys, *arguments) -> tuple[int, str, str]:
    return main(["report", *map(str, arguments)]), *capsys.readouterr()


def test_the_master_s_journal_alone_leaves_arrivals_unfinished_and_names_the_journals_to_fetch(
    killed, tmp_path, capsys
):
    code, output, errors = report(capsys, killed[0], "-o", tmp_path)
    assert (code, errors) == (1, "")
    said = re.search(
        r"INVALID: interrupted: its process ended .* of (\d+) arrivals .* then (\d+) are in its journal, and worker-0",
        output,
    )
    due, known = map(int, said.groups())
    records, reasons, _ = parquet.load(tmp_path / "samples.parquet")
    assert known == count(killed[0].parent) and len(records) == due
    assert records["index"].tolist() == list(range(due)), "every arrival that was due is in the books, once"
    lost = {reasons[each["reason"]] for each in records if each["done"] == 0}
    assert lost <= {"no journal has its outcome"}


def test_with_the_workers_journals_every_arrival_has_its_outcome(killed, tmp_path, capsys):
    code, output, errors = report(capsys, killed[0], *killed[1], "-o", tmp_path)
    assert (code, errors) == (1, "")
    assert (
        f"of {ARRIVALS} arrivals that were due until then {ARRIVALS} are in 3 journals (must run to its end)" in output
    )
    assert f"outcomes: {ARRIVALS} = {ARRIVALS} completed" in output
    assert parquet.load(tmp_path / "samples.parquet")[0]["index"].tolist() == list(range(ARRIVALS))
    # On one machine all lie in one folder.
    shutil.copytree(killed[0], tmp_path / "run")
    for file in killed[1]:
        for each in (file, journal.reasons_path(file)):
            shutil.copy(each, tmp_path / "run")
    assert f"{ARRIVALS} are in 3 journals (" in report(capsys, tmp_path / "run", "-o", tmp_path / "again")[1]


def test_the_workers_journals_alone_become_one_file_of_samples(killed, tmp_path, capsys):
    code, output, errors = report(capsys, *killed[1], "-o", tmp_path)
    assert (code, errors) == (0, "")
    [samples] = tmp_path.glob("worker-*.parquet")
    assert output == f"the samples: {samples}\n"
    assert parquet.load(samples)[0]["index"].tolist() == list(range(ARRIVALS))


def test_a_journal_of_another_run_is_refused(killed, tmp_path, capsys):
    run = shutil.copytree(killed[0], tmp_path / "run")
    text = (run / "run.json").read_text()
    other = journal.Journal(tmp_path / "worker-0.journal")
    records, _ = journal.read(killed[1][0])
    other.close()
    shifted = records.copy()
    shifted["due"] += 1000
    shifted.tofile(other.path)
    code, output, errors = report(capsys, run, other.path, "-o", tmp_path / "out")
    assert (code, output) == (2, "") and errors.count("\n") == 1
    assert f"{other.path} is of another run: its arrivals are not those of constant:rate=40" in errors
    assert (run / "run.json").read_text() == text and not (tmp_path / "out").exists()
