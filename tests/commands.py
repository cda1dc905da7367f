"""What the live tests of compare, capacity, sweep and clients share: their commands, and how each of them ends."""

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from crossover.cli import main
from tests import forks

COMMANDS = {"bench": "compare", "crossover": "sweep", "study": "clients"}
"""Kind in run.json -> command, where the two differ."""


def start(experiment: str, *arguments, shorter: str = "") -> subprocess.Popen:
    """`crossover <command> ...`; `shorter` are statements that come before it runs: constants changed."""
    name = COMMANDS.get(experiment, experiment)
    imports = "import sys; from loadgen import command; from crossover.cli import main; "
    imports += "from crossover.experiments.capacity import plan, search; "
    imports += "from crossover.experiments.sweep import grid, points; "
    imports += "from crossover.experiments.compare import load, run"
    script = f"{imports}; {shorter}; sys.exit(command.run(main.main))"
    return forks.start("crossover", name, *arguments, script=script if shorter else "")


def run(experiment: str, *arguments, shorter: str = "", timeout: float = 800) -> tuple[int, str]:
    """(exit code, output)"""
    process = start(experiment, *arguments, shorter=shorter)
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


def conduct(capsys, experiment: str, *arguments) -> tuple[int, str, str]:
    """(exit code, output, errors) of `crossover <command> ...` within this process; 130 after Ctrl-C."""
    try:
        code = main.main([COMMANDS.get(experiment, experiment), *map(str, arguments)])
    except KeyboardInterrupt:
        code = 130
    return code, *capsys.readouterr()


def interrupted(process: subprocess.Popen, enough: Callable[[], bool], after: float = 0) -> str:
    """Its output, if Ctrl-C comes so many seconds after there is enough. It must say that it was interrupted."""
    while not enough():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
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
    """(exit code, output, errors) of `crossover report ...` in a new folder, where it leaves reports/<name>-report.

    The output ends before the line that names the page.
    """
    monkeypatch.chdir(tempfile.mkdtemp())
    code, output, errors = conduct(capsys, "report", *arguments)
    return code, output.partition("\n\nthe page: ")[0], errors


def refuses(experiment: str, arguments: list[str], says: str, capsys) -> None:
    """A wrong flag is one line that begins with the command, and exit code 2."""
    code, output, errors = conduct(capsys, experiment, *arguments)
    assert (code, output) == (2, "")
    [line] = errors.splitlines()
    assert line.startswith("crossover") and says in line, line


def says_that_no_server_answers(experiment: str, *arguments) -> None:
    """In one line, after what it planned to do."""
    code, output = run(experiment, "--url", "localhost:9", *arguments)
    assert code == 1
    said = output.strip().splitlines()
    assert "no Triton server answers at http://localhost:9" in said[-1] and "Traceback" not in output
    if experiment != "crossover":
        assert len(said) == 1
