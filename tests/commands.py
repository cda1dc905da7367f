"""What the live tests of bench, capacity, crossover and study share: their commands, and how each of them ends."""

import importlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = {"bench": "compare", "capacity": "capacity", "crossover": "sweep", "efficiency": "efficiency"}
MODULES = {
    command: f"crossover.experiments.{folder}.run" for command, folder in {**FOLDERS, "study": "client_modes"}.items()
}


def start(experiment: str, *arguments, shorter: str = "") -> subprocess.Popen:
    """`python -m loadgen.<experiment> ...`; `shorter` are statements that come before its main(): constants changed."""
    imports = f"import sys; from loadgen import command; from {MODULES[experiment]} import main; "
    imports += "from crossover.experiments.capacity import plan, search; "
    imports += "from crossover.experiments.sweep import grid, points"
    script = f"{imports}; {shorter}; sys.exit(command.run(main))"
    command = ["-c", script] if shorter else ["-m", f"loadgen.{experiment}"]
    full = [sys.executable, *command, *map(str, arguments)]
    return subprocess.Popen(full, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(experiment: str, *arguments, shorter: str = "", timeout: float = 800) -> tuple[int, str]:
    """(exit code, output)"""
    process = start(experiment, *arguments, shorter=shorter)
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


def interrupted(process: subprocess.Popen, enough: Callable[[], bool], after: float = 0) -> str:
    """Its output, if Ctrl-C comes so many seconds after there is enough. It must say that it was interrupted."""
    while not enough():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "interrupted" in output and "Traceback" not in output and "KeyboardInterrupt" not in output
    return output


def goes_on(experiment: str, directory: Path, *arguments, shorter: str = "") -> None:
    """An interrupted run, to its end: what it has measured stays as it is. With another seed it is refused."""
    kept = {file: file.stat().st_mtime_ns for file in directory.rglob("round-*.json") if complete(file)}
    assert kept
    code, output = run(experiment, *arguments, "--seed", 2, "--continue", directory, shorter=shorter)
    assert code == 2 and f"{directory} cannot be continued: seed: 1 against 2" in output.splitlines()[-1]
    code, output = run(experiment, *arguments, "--continue", directory, shorter=shorter)
    assert code in (0, 3), output  # 3: a machine that was too busy to measure on
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert len(list(directory.rglob("round-*.json"))) > len(kept)
    assert json.loads((directory / "run.json").read_text())["complete"]


def complete(trial: Path) -> bool:
    return json.loads(trial.read_text())["facts"]["complete"]


def only(reports: Path) -> Path:
    """The one directory there."""
    [directory] = reports.iterdir()
    return directory


def again(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    """(exit code, output, errors) of `python -m loadgen.report ...`."""
    from crossover import report_command as report

    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    code = report.main()
    return code, *capsys.readouterr()


def refuses(experiment: str, arguments: list[str], says: str, monkeypatch, capsys) -> None:
    """A wrong flag is one line, or argparse's usage and a line, and exit code 2."""
    monkeypatch.setattr(sys, "argv", [experiment, *arguments])
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(MODULES[experiment]).main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert says in said[-1]
    assert len(said) == 1 or said[0].startswith("usage: ")


def says_that_no_server_answers(experiment: str, *arguments) -> None:
    """In one line, after what it planned to do."""
    code, output = run(experiment, "--url", "localhost:9", *arguments)
    assert code == 1
    said = output.strip().splitlines()
    assert "no Triton server answers at http://localhost:9" in said[-1] and "Traceback" not in output
    if experiment != "crossover":
        assert len(said) == 1
