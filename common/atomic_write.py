"""Files that are there as a whole or not at all: readers see the old file or the new one, also after a crash."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replace_file(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield the path of an empty file beside `path`, which replaces `path` when the block ends.

    The temporary file bears the number of this process, so that two processes may write the same file. It gets the
    permissions `mode`, less the process's umask, before anything is written. If the block raises, as on a full disk or
    Ctrl-C, the temporary file is removed and `path` stays what it was. An OSError of the temporary file names `path`.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.unlink(missing_ok=True)  # left by a process that was killed and had our number
        unfinished.touch(mode, exist_ok=False)
        yield unfinished
        unfinished.replace(path)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        # Nobody looks for a hidden file that is gone.
        if isinstance(error, OSError) and error.errno and str(error.filename) == str(unfinished):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def write(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace a file by this text, in UTF-8. Raises OSError where the disk is full; the old file is kept then."""
    with replace_file(path, mode) as unfinished:
        unfinished.write_text(text, "utf-8")


def write_json(path: Path, content: Any) -> None:
    """Replace a file by this content as JSON. Raises OSError where the disk is full; the old file is kept then."""
    write(path, json.dumps(content, indent=1) + "\n")
