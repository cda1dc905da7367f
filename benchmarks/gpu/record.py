"""The one file that a run leaves, `gpu.jsonl`, and the deadline that it keeps.

Every line is a JSON object, written at once: `kind` is `run` (what was asked, the machine, the cards), `figure` (stage,
size, arm, figure, value, low, high, unit, n, and more), `note`, `failed` or `did not fit`. `at` is seconds since the
run began. A second run into the same folder adds its lines.
"""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from common.figures import interval, significant
from common.messages import one_line

FILE, LOG = "gpu.jsonl", "gpu.log"
RESERVE = 8.0
"""Seconds at the end that are kept for stopping the server."""
PATIENCE = 15.0
"""Seconds beyond three times its estimate after which a point is cut off."""

AGAIN = 15.0
"""Seconds after which a point is cut off once more: what it started is stopped meanwhile."""
LONGEST = 600
"""Characters of a reason."""

T = TypeVar("T")


class TimeUp(KeyboardInterrupt):
    """A point took too long. It is a KeyboardInterrupt, as clients turn other exceptions into failed requests."""


class Record:
    """Writes lines into the folder, prints them, and knows how much time is left."""

    def __init__(self, directory: Path, seconds: float):
        """Open the folder's files; the deadline is `seconds` from now. Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.seconds, self.began = directory, seconds, time.monotonic()
        self.end = self.began + seconds
        drop_cut_off_line(directory / FILE)
        self._lines, self._log = (directory / FILE).open("a"), (directory / LOG).open("a")

    @property
    def left(self) -> float:
        """Seconds until the run must begin to stop."""
        return self.end - RESERVE - time.monotonic()

    def write(self, kind: str, **fields: Any) -> None:
        """Append one line at once; what is no finite number becomes null."""
        content = {"kind": kind, "at": round(time.monotonic() - self.began, 1), **clean(fields)}
        self._lines.write(json.dumps(content) + "\n")
        self._lines.flush()

    def say(self, text: str) -> None:
        """Print a line, and keep it in the log."""
        line = f"{time.monotonic() - self.began:6.1f} s  {text}"
        print(line, flush=True)
        self._log.write(line + "\n")
        self._log.flush()

    def note(self, text: str, stage: str = "") -> None:
        """Write and print a remark on what is measured."""
        self.write("note", stage=stage, text=text)
        self.say(text)

    def figure(
        self,
        stage: str,
        size: str,
        arm: str,
        figure: str,
        value: float | None,
        unit: str = "",
        low: float | None = None,
        high: float | None = None,
        **more: Any,
    ) -> None:
        """Write and print one figure, with the limits of its interval or of its repetitions where it has any."""
        self.write(
            "figure", stage=stage, size=size, arm=arm, figure=figure, value=value, unit=unit, low=low, high=high, **more
        )
        number = " ".join(filter(None, (significant(value), interval(low, high), unit)))
        self.say(f"{stage} {size:<9} {arm:<12} {figure}: {number}")

    def attempt(self, stage: str, point: str, cost: float, do: Callable[[], T]) -> T | None:
        """Measure a point that takes about `cost` seconds, and return what `do` does; None if it did not work out.

        One that does not fit into the time left is written down and not begun. One that fails is a line with its
        reason. One that takes far too long, or too long for the deadline, is cut off and has failed.
        """
        if self.left < cost:
            self.leave_out(stage, point, cost)
            return None
        limit = min(max(1.0, self.left), 3 * cost + PATIENCE)
        with time_limit(limit) as alarm:
            try:
                return do()
            except KeyboardInterrupt:
                # A TimeUp that Python dropped comes again as an ordinary interruption: see loadgen/interrupts.py.
                if not alarm.rung:
                    raise
                self.fail(stage, point, f"cut off after {limit:.0f} s")
            except Exception as error:
                self.fail(stage, point, one_line(f"{type(error).__name__}: {error}"))
        return None

    def leave_out(self, stage: str, point: str, cost: float) -> None:
        """Write and print that a point of about `cost` seconds does not fit into the time left."""
        left = max(0.0, self.left)
        self.write("did not fit", stage=stage, point=point, needed=cost, left=left)
        self.say(f"{stage} {point}: did not fit: it takes {cost:.0f} s, {left:.0f} s are left")

    def fail(self, stage: str, point: str, reason: str) -> None:
        """Write and print why a point has no figures, in LONGEST characters at most."""
        if len(reason) > LONGEST:
            reason = f"{reason[: LONGEST // 3]} ... {reason[-2 * LONGEST // 3 :]}"
        self.write("failed", stage=stage, point=point, reason=reason)
        self.say(f"{stage} {point}: failed: {reason}")

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        self._log.close()


def drop_cut_off_line(path: Path) -> None:
    """Remove what stands behind the last line's end: a run that was killed left it, and the next line would join it."""
    if path.exists():
        content = path.read_bytes()
        if (end := content.rfind(b"\n") + 1) < len(content):
            with path.open("r+b") as file:
                file.truncate(end)


class Alarm:
    """Whether a time limit has passed."""

    rung = False


@contextmanager
def time_limit(seconds: float) -> Iterator[Alarm]:
    """Raise TimeUp in the body, in the main thread, after so many seconds, and again every AGAIN seconds."""
    alarm = Alarm()

    def ring(number: int, frame: object) -> None:
        alarm.rung = True
        raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield alarm
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def clean(value: Any) -> Any:
    """Return a value as JSON can hold it: no infinity, no nan, paths and numpy's numbers as plain ones."""
    if isinstance(value, dict):
        return {str(key): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [clean(each) for each in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None
