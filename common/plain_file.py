"""Files that a command was given, or finds in a folder that it was given.

A pipe, a device, a folder or a file without an end is refused before it is read: opening a named pipe waits until
somebody writes into it, and memory that is lacking raises nothing on Linux: the kernel ends some process, and not
always the one that asked for it.
"""

import json
import stat
from pathlib import Path
from typing import Any

LARGEST = 2**31 - 1
"""Bytes of one file: a message of gRPC holds no more."""
LARGEST_WRITTEN = 64_000_000
"""Bytes of a JSON file, or of a page, as runs write them: a foreign folder may hold one that has no end."""


def check(path: Path) -> None:
    """Raise ValueError, in a few words, if something is there that is no file; OSError if nothing is."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(mode):
        raise ValueError("it is no regular file")


def measure(path: Path) -> int:
    """Return a file's size in bytes. Raises as `check` does, and ValueError if it is larger than LARGEST."""
    check(path)
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"it has {size / 1e9:.3g} GB; a request holds at most {LARGEST / 1e9:.3g} GB")
    return size


def read(path: Path) -> bytes:
    """Return a file's content. Raises as `measure` does, and OSError if it cannot be read."""
    measure(path)
    return path.read_bytes()


def read_written(path: Path) -> bytes:
    """Return the content of a file that a run has written. As `read`, but ValueError for more than LARGEST_WRITTEN."""
    if path.stat().st_size > LARGEST_WRITTEN:
        raise ValueError(f"it has more than {LARGEST_WRITTEN} bytes")
    return read(path)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises ValueError that names one that is damaged or no file, and OSError."""
    try:
        return json.loads(read_written(path))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
