"""Every error line of every command begins with the command's path, whatever breaks and whenever."""

import pytest

from tests.cli.test_main import NAMES
from tests.cli.test_wrong_settings import EXPERIMENTS
from tests.commands import conduct

NOBODY = ["--url", "localhost:9"]
BREAKS = {
    **{name: (1, ["image", *NOBODY, "--state", "."], "no Triton server answers") for name in EXPERIMENTS},
    "soak": (1, [*NOBODY, "--state", "."], "no Triton server answers"),
    "placements": (1, ["image", "--arms", "client,server", *NOBODY, "--state", "."], "no Triton server answers"),
    "check": (1, ["image", *NOBODY, "--state", "."], "no Triton server answers"),
    "infer": (1, [*NOBODY, "--state", "."], "no Triton server answers"),
    "report": (2, ["no/such"], "no/such is no run: it has no run.json"),
    "ui": (2, ["--reports", "no/such"], "no/such is no directory"),
    "arrivals": (2, ["gama:rate=3"], "unknown arrivals"),
    "up": (1, ["--state", "file/state"], "cannot write to "),
    "down": (1, ["--state", "file/state"], "cannot write to "),
    "status": (2, ["--lines", "3"], "no such option '--lines'"),
    "logs": (2, ["--lines", "-3"], "invalid value for '--lines'"),
    "models": (2, ["--seed", "-1"], "invalid value for '--seed'"),
    "gpu-check": (2, ["--seconds", "0"], "invalid value for '--seconds'"),
}
"""Command -> (exit code, arguments, what the line says)."""


def fails(capsys, command: str, code: int, arguments: list, says: str) -> None:
    ended, _, errors = conduct(capsys, command, *arguments)
    assert ended == code, errors
    lines = errors.splitlines()
    assert lines and all(line.startswith(f"crossover {command}: ") for line in lines), errors
    assert says in lines[-1]


def test_every_command_is_tried():
    assert set(BREAKS) == set(NAMES)


@pytest.mark.parametrize("command", NAMES)
def test_an_error_begins_with_the_commands_path(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    fails(capsys, command, *BREAKS[command])
