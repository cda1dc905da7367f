"""How every command of ours starts and ends, beside what its own `main` does."""

import os
import sys
from collections.abc import Callable

from loadgen import interrupts

INTERRUPTED = 130  # the exit code, whichever signal it was


def run(main: Callable[[], int | None]) -> int:
    """The exit code of `main`, in a process that Ctrl-C, SIGTERM and SIGHUP end alike.

    It is 0 where the reader of the output had enough, as `| head` has: the broken pipes of the wire are outcomes of
    requests and do not get here.
    """
    interrupts.heed()
    try:
        code = main() or 0
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    return code
