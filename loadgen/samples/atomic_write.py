"""Files that are there whole or not at all: whoever looks, also after a crash, sees the old one or the new one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what becomes `path` when it is whole; after a full disk or Ctrl-C what was there before stays."""
    unfinished = path.with_name(f"{path.name}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write(path: Path, text: str) -> None:
    """Raises OSError where the disk is full; what was there before stays."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, "utf-8")


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content, indent=1) + "\n")
