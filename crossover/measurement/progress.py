"""Progress of a run with the time left and an interim result: redrawn on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

BAR = 20  # characters
LOG_SECONDS = 15.0  # between two lines in a log, which nobody watches
PLANNED = 5  # trials that the plan counts for beside those measured: the first ones may be short by chance
CLEAR = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


class Progress:
    """Shows how many trials are done, about how long the rest takes, and what is being measured."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic):
        """Write to `stream`, by default standard output; `clock` returns seconds."""
        self._clock = clock
        self._console = Console(file=stream or sys.stdout, highlight=False)
        self._unfinished = False
        """Whether a line is there that will be redrawn."""
        self.start(1, 0, 0.0)

    def start(self, trials: int, done: int, seconds: float) -> None:
        """Begin a sequence of `trials`, of which `done` exist already; each takes about `seconds`."""
        self._trials, self._done, self._seconds, self._interim = trials, done, seconds, ""
        self._started, self._measured = self._clock(), 0
        self._logged: float | None = None  # when the last line was written into a log

    def show_trial(self, description: str) -> None:
        """Show that the next trial starts."""
        known = self._clock() - self._started + PLANNED * self._seconds
        left = (self._trials - self._done) * known / (self._measured + PLANNED)
        filled = BAR * self._done // self._trials
        bar = "#" * filled + "." * (BAR - filled)
        line = f"[{bar}] {self._done}/{self._trials}  {left:.0f} s left  {description}  {self._interim}"
        self._show(line.rstrip())
        self._done, self._measured = self._done + 1, self._measured + 1

    def set_interim(self, result: str) -> None:
        """Set the interim result that is shown with every trial from now on."""
        self._interim = result

    def print_line(self, line: str) -> None:
        """Print a line that stays."""
        self.finish_line()
        self._print(f"  {line}")

    def finish_line(self) -> None:
        """Move to a new line, so that whatever is printed next does not overwrite the progress.

        Without a line that is redrawn it does nothing.
        """
        if self._unfinished:
            self._print("")
        self._unfinished = False

    def _show(self, line: str) -> None:
        """Redraw the last line on a terminal; elsewhere print one, if the last is LOG_SECONDS old."""
        if self._console.is_terminal:
            self._console.control(CLEAR)
            # As wide as the terminal at most: a line that went on in the next could not be redrawn.
            self._console.print(Text(line), no_wrap=True, overflow="ellipsis", crop=True, end="")
            self._unfinished = True
        elif self._logged is None or self._clock() - self._logged >= LOG_SECONDS:
            self._print("  " + line)
            self._logged = self._clock()

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)
