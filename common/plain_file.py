"""Files that a command was given, or finds in a folder that it was given.

A pipe, a device or a folder in their place is refused before it is read: opening a named pipe waits until somebody
writes into it, and a device may have no end.
"""

import json
import stat
from pathlib import Path
from typing import Any

LARGEST = 64_000_000
"""Bytes of a JSON file, or of a page, as runs write them: a foreign folder may hold one that has no end."""


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


def read_written(path: Path) -> bytes:
    """Return the content of a file that a run has written. Raises as `read` does, and for more than LARGEST bytes."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    return read(path)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises ValueError that names one that is damaged or no file, and OSError."""
    try:
        return json.loads(read_written(path))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
