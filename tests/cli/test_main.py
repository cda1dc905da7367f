"""The group of commands: what its help costs, and how wrong usage ends."""

import os
import subprocess
import sys

import pytest

from crossover.cli import main
from tests.conftest import ROOT

NAMES = [name for section in main.COMMANDS.values() for name in section]


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "crossover", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_the_help_names_every_command_and_fits_a_screen():
    done = run("--help")
    assert done.returncode == 0
    assert set(NAMES) <= set(done.stdout.split())
    assert len(done.stdout.splitlines()) <= 50


def test_the_help_imports_no_command_and_nothing_that_takes_long():
    program = "import sys; from crossover.cli import main; main.main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "scipy", "matplotlib", "gevent", "tritonclient", "crossover.cli.compare"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compair"], "crossover: no such command 'compair'; did you mean 'compare'?"),
        (["zzz"], "crossover: no such command 'zzz'; try one of compare, placements, check, capacity"),
        (["--jsno"], "crossover: no such option '--jsno'"),
        (["compare", "--jsn"], "crossover compare: no such option '--jsn'; did you mean '--json'?"),
        (["compare", "--url"], "crossover compare: option '--url' requires an argument"),
    ],
)
def test_wrong_usage_is_one_line_with_the_nearest_name_and_exit_code_2(arguments, says):
    done = run(*arguments)
    assert done.returncode == 2 and not done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith(says)


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        ("crossover co", ["plain,compare"]),
        ("crossover compare --se", ["plain,--seconds", "plain,--seed"]),
        ("crossover compare im", ["plain,image", "file,im"]),
    ],
)
def test_a_shell_completes_commands_options_and_workloads(words, offers):
    asked = {"_CROSSOVER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command, environment = [sys.executable, "-m", "crossover"], {**os.environ, **asked}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.splitlines() == offers


@pytest.mark.parametrize("command", NAMES)
def test_the_help_of_a_command_fits_a_screen(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    assert main.main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 40 and "\\b" not in shown
