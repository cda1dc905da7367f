"""The line of progress: redrawn within a terminal's width, and a plain line per trial in a log."""

import os
import pty
import subprocess
import sys

from tests.conftest import ROOT

SHOWS = """
from crossover.measurement.progress import Progress
progress = Progress()
progress.start(3, 1, 20.0)
progress.set_interim("server/client 1.02 so far")
progress.show_trial("image round 2/3: image client async:1, which is a long name of an arm")
progress.show_trial("image round 3/3: image server async:1")
progress.print_line("a line that stays")
print("what comes next")
"""


def run(columns: int) -> str:
    """What a terminal of that width receives."""
    mine, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", SHOWS], cwd=ROOT, stdout=its, env=environment, check=True)
    os.close(its)
    received = b""
    while True:
        try:
            received += (chunk := os.read(mine, 4096))
        except OSError:  # all has been read
            return received.decode()
        if not chunk:
            return received.decode()


def test_on_a_terminal_it_is_one_line_that_never_wraps():
    shown = run(80).replace("\r\n", "\n")
    redrawn, *stays = shown.split("\n")
    lines = [each.replace("\x1b[2K", "") for each in redrawn.split("\r")]
    assert [each[:34] for each in lines if each] == [
        "[######..............] 1/3  40 s l",
        "[#############.......] 2/3  0 s le",
    ]
    assert max(map(len, lines)) == 80 and lines[-1].startswith("[##") and "…" in shown
    assert stays == ["  a line that stays", "what comes next", ""]


def test_in_a_log_each_trial_has_a_whole_line_without_any_control_character():
    done = subprocess.run([sys.executable, "-c", SHOWS], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, *_ = done.stdout.splitlines()
    assert first.endswith("which is a long name of an arm  server/client 1.02 so far") and len(first) > 100
    assert second.startswith("  [#############.......] 2/3  ") and "\x1b" not in done.stdout and "\r" not in done.stdout
