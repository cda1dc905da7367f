"""End Locust on a signal in one line also while it is still importing itself, before it reads the locustfile.

gevent calls what a package registers under `gevent.plugins.monkey.will_patch_all`, and patching the standard library is
the first thing that Locust does: pyproject.toml registers `install` there. `signals` takes over with the locustfile.
What is left is the tenth of a second in which Python starts and imports gevent.
"""

import os
import re
import sys
from pathlib import Path
from typing import NoReturn

from loadgen import command, interrupts

FOLDER = Path(__file__).resolve().parent.parent
"""Where our locustfiles are."""


def install(event: object) -> None:
    """Handle signals in a process that runs one of our locustfiles; `event` is gevent's, and says nothing more.

    Any other program that uses gevent in this environment keeps its handlers.
    """
    if runs_ours([*sys.argv, os.environ.get("LOCUST_LOCUSTFILE", "")]):
        interrupts.install(give_up)


def runs_ours(arguments: list[str]) -> bool:
    """Return whether one of a command line's words is a file of ours, as `-f loadgen/image.py` has it."""
    paths = [Path(part) for each in arguments for part in re.sub("^(-f|--locustfile=)", "", each).split(",")]
    return any(each.suffix == ".py" and each.resolve().parent == FOLDER for each in paths)


def give_up(count: int) -> NoReturn:
    """End this process at once, whatever the number of the signal: nothing has begun.

    An exception could be lost: what a library calls back while it is imported swallows SystemExit, too.
    """
    print("interrupted before anything was sent", file=sys.stderr, flush=True)
    os._exit(command.INTERRUPTED)
