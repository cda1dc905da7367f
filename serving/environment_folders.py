"""The folders python_env_XXXXXX in the temporary directory: Triton's Python backend leaves them if it is killed.

It unpacks environments into them that models bring along, gigabytes each, and ours stay empty, as no model of ours
brings one. Their names say nothing, so the launcher puts a file with the server's name into those of its own server,
and removes by that.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from serving.processes import STUB, processes

PARENT = Path("/tmp")  # the backend knows no other
PATTERN = "python_env_*"
PATH = re.compile(rf"{PARENT}/python_env_\w{{6}}(?=/)")
TICK = 0.02  # seconds by which the time of a file may lie before the clock's
USED = "a stub of this server runs in it"
"""Content of the mark in a folder that is removed with all that is in it."""


@contextlib.contextmanager
def claim(server: str) -> Iterator[None]:
    """Mark the folder that a backend makes while its first model is loaded in the block, by that server's name.

    It is the first that appears: a backend makes its folder within milliseconds. Another server that starts in the same
    instant could have made it; it loses nothing then, as only a folder with nothing but the mark is removed.
    """
    began = time.time() - TICK
    try:
        yield
    finally:
        found = []
        for folder in PARENT.glob(PATTERN):
            with contextlib.suppress(OSError):  # it is gone, or somebody else's
                status = folder.stat()
                if status.st_uid == os.getuid() and status.st_ctime >= began and not any(folder.iterdir()):
                    found.append((status.st_ctime, folder))
        if found:
            with contextlib.suppress(OSError):
                (min(found)[1] / server).touch()


def mark_used(server: str) -> None:
    """Mark the folders in whose environments stubs of that server run, which proves that the server made them."""
    for pid, program in processes(server).items():
        if program == STUB:
            with contextlib.suppress(psutil.Error, OSError):
                if found := PATH.match(psutil.Process(pid).environ().get("LD_LIBRARY_PATH", "")):
                    (Path(found[0]) / server).write_text(USED)


def remove(server: str) -> None:
    """Remove the folders that are marked with that server's name, after it has ended."""
    for mark in PARENT.glob(f"{PATTERN}/{server}"):
        with contextlib.suppress(OSError):  # the server was quicker, or there is an environment in it
            if mark.read_text() == USED:
                shutil.rmtree(mark.parent)
            else:
                mark.unlink()
                mark.parent.rmdir()
