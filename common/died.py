"""Whether the server of a state directory has died without `down`, in words, for every command that finds no answer."""

import os
from pathlib import Path

import psutil

from common.messages import name_command


def explain_death(record: dict, directory: Path) -> str:
    """Say in one line that the server of the launcher's `record` has died, since when, and what to do.

    Returns "" if it runs, if its `up` has not come to its end, or if it is a container, which its engine starts again.
    """
    pid = record.get("pid")
    if not pid or is_running(pid, record["name"]):
        return ""
    since = f", at {record['died']}" if record.get("died") else ""
    again = name_command("up")
    if os.environ.get("CROSSOVER_TOOL") != "make":
        again = f"`{record.get('command') or 'crossover up'}`"
    elif record.get("weights") == "tiny":
        again = "`make up WEIGHTS=tiny`"
    log = directory / "server.log"
    return f"the server that `up` started has died{since}; its log: {log}; {again} starts it again"


def is_running(pid: int, name: str) -> bool:
    """Return whether this process is of the server with this name; one that cannot be looked at is taken for it."""
    try:
        return psutil.Process(pid).environ().get("CROSSOVER_SERVER") == name
    except psutil.AccessDenied:
        return True
    except (psutil.Error, OSError):  # it has ended, or ends now
        return False
