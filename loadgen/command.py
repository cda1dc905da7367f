"""How every command of ours starts and ends, beside what its own `main` does."""

import os
import sys
from collections.abc import Callable

from loadgen import interrupts

INTERRUPTED = 130  # the exit code, whichever signal it was


class Output:
    """A stream whose reader may go, as that of `| head` does: what is written from then on is dropped.

    So a measurement goes on to its end and its report, whoever reads what it prints.
    """

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self.drop()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except BrokenPipeError:
            self.drop()

    def drop(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def run(main: Callable[[], int | None]) -> int:
    """The exit code of `main`, in a process that Ctrl-C, SIGTERM and SIGHUP end alike."""
    interrupts.heed()
    sys.stdout, sys.stderr = Output(sys.stdout), Output(sys.stderr)
    try:
        code = main() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    return code
