"""Files that are there whole or not at all: whoever looks, also after a crash, sees the old one or the new one."""

import json
from pathlib import Path
from typing import Any


def write(path: Path, text: str) -> None:
    """Raises OSError where the disk is full; what was there before stays."""
    unfinished = path.with_name(f"{path.name}.part")
    try:
        unfinished.write_text(text, "utf-8")
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content, indent=1) + "\n")
