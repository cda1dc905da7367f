"""Progress of a run with the time left and an interim result: redrawn on a terminal, a line per trial in a log."""

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

BAR = 20  # characters
CLEAR = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


class Progress:
    """Shows how many trials are done, about how long the rest takes, and what is being measured."""

    def __init__(self, stream: TextIO | None = None):
        """Write to `stream`, by default standard output."""
        self._console = Console(file=stream or sys.stdout, highlight=False)
        self._unfinished = False
        """Whether a line is there that will be redrawn."""
        self.start(1, 0, 0.0)

    def start(self, trials: int, done: int, seconds: float) -> None:
        """Begin a sequence of `trials`, of which `done` exist already; each takes about `seconds`."""
        self._trials, self._done, self._seconds, self._interim = trials, done, seconds, ""
        self._started, self._measured = time.monotonic(), 0

    def show_trial(self, description: str) -> None:
        """Show that the next trial starts."""
        if self._measured:
            # From the second trial on, the mean of those measured is known better than the plan.
            self._seconds = (time.monotonic() - self._started) / self._measured
        left = (self._trials - self._done) * self._seconds
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
        """Redraw the last line on a terminal; elsewhere print one."""
        if self._console.is_terminal:
            self._console.control(CLEAR)
            # As wide as the terminal at most: a line that went on in the next could not be redrawn.
            self._console.print(Text(line), no_wrap=True, overflow="ellipsis", crop=True, end="")
            self._unfinished = True
        else:
            self._print("  " + line)

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)
