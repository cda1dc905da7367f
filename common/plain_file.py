"""Files that a command was given: a pipe, a device or a folder in their place is refused before it is read.

Opening a named pipe waits until somebody writes into it, and a device may have no end.
"""

import stat
from pathlib import Path


def check(path: Path) -> None:
    """Raise ValueError, in a few words, if something is there that is no file; OSError if nothing is."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(mode):
        raise ValueError("it is no regular file")


def read(path: Path) -> bytes:
    """Return a file's content. Raises as `check` does, and OSError if it cannot be read."""
    check(path)
    return path.read_bytes()
