"""The line of progress: redrawn within a terminal's width, and a plain line now and then in a log."""

import io
import os
import pty
import subprocess
import sys

from crossover.measurement.progress import LOG_SECONDS, Progress
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
        "[#############.......] 2/3  17 s l",
    ]
    assert max(map(len, lines)) == 80 and lines[-1].startswith("[##") and "…" in shown
    assert stays == ["  a line that stays", "what comes next", ""]


def test_in_a_log_a_line_is_whole_and_without_any_control_character():
    done = subprocess.run([sys.executable, "-c", SHOWS], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    assert first.endswith("which is a long name of an arm  server/client 1.02 so far") and len(first) > 100
    assert first.startswith("  [######..............] 1/3  ") and "\x1b" not in done.stdout and "\r" not in done.stdout
    assert (second, third) == ("  a line that stays", "what comes next")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_has_a_line_now_and_then_whatever_the_number_of_trials():
    clock, log = Clock(), io.StringIO()
    progress = Progress(log, clock)
    for sequence in ("image", "audio"):
        progress.start(100, 0, 3.0)
        for _ in range(100):
            progress.show_trial(sequence)
            clock.now += 3.0
    lines = log.getvalue().splitlines()
    assert len(lines) == 2 * 300 / LOG_SECONDS
    # The first one of each sequence stands there at once.
    assert "0/100" in lines[0] and "0/100" in lines[len(lines) // 2] and lines[len(lines) // 2].endswith("audio")


def test_a_first_trial_that_is_short_by_chance_does_not_make_the_plan_forgotten():
    clock, log = Clock(), io.StringIO()
    progress = Progress(log, clock)
    progress.start(40, 0, 60.0)
    for number in range(40):
        progress.show_trial("audio")
        clock.now += 60.0 if number else 20.0
    left = [float(line.split("  ")[2].removesuffix(" s left")) for line in log.getvalue().splitlines()]
    truth = [60 * (40 - number) for number in range(40)]
    assert all(0.85 * true <= each <= true for each, true in zip(left, truth, strict=True))
