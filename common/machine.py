"""What tells one machine and one version of this code from another, for every kind of run."""

import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path


@lru_cache(1)
def identify() -> dict:
    """Return processor, cores, system and git revision, as run.json holds them under `machine`; looked up once."""
    return {
        "cpu": read_cpu_model(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "revision": read_revision(),
    }


def read_cpu_model() -> str:
    """Return the processor's name as Linux gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def read_revision() -> str | None:
    """Return the git revision of this checkout, marked if it has changes; None outside a checkout."""
    # `describe --dirty` would write the index, and leave its lock behind on a full disk.
    describe, changes = ("describe", "--always"), ("status", "--porcelain", "--untracked-files=no")
    try:
        revision, changed = (
            subprocess.run(
                ["git", "--no-optional-locks", *command],
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                check=False,
            ).stdout.strip()
            for command in (describe, changes)
        )
    except FileNotFoundError:
        return None
    return f"{revision}{'-dirty' if changed else ''}" if revision else None
