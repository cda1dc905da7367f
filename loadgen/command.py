"""How every command starts and ends, apart from what its own `main` does."""

import sys
from collections.abc import Callable
from importlib import import_module

from common.output import Output
from loadgen import interrupts

INTERRUPTED = 130  # the exit code after Ctrl-C, SIGTERM or SIGHUP


def run(main: Callable[[], int | None]) -> int:
    """Run `main` in a process that Ctrl-C, SIGTERM and SIGHUP end alike, and return the exit code.

    It is what `main` returns (None is 0), or INTERRUPTED with one line on standard error.
    """
    interrupts.install()
    sys.stdout, sys.stderr = Output(sys.stdout), Output(sys.stderr)
    try:
        code = main() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def run_module(name: str) -> int:
    """Import a module and run its `main` as `run` does: a Ctrl-C while it is imported ends it as a later one does."""
    return run(lambda: import_module(name).main())
