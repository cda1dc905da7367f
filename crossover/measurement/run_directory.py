"""The directory that a run leaves: what it is called, what its run.json says, where its trials lie."""

import errno
import fcntl
import json
import os
import shlex
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from common import plain_file
from crossover.measurement import run_shape
from crossover.measurement.trial import Trial, read_trials
from loadgen.samples.sample import FORMAT

BENCH = "bench"
COMMANDS = {BENCH: "compare", "crossover": "sweep", "study": "clients"}
"""The commands of kinds that have another name in run.json; others have their command's."""
HELD = 3
"""Runs that are named where their folder is taken for one of them: the newest."""


def describe_kind(kind: str) -> str:
    """Return the command that measures a kind of experiment, as messages name it."""
    return f"`crossover {COMMANDS.get(kind, kind)}`"


def make_name(kind: str = BENCH) -> str:
    """Make the name of a new directory: the time now, in UTC, and the experiment unless it is the comparison."""
    return datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S") + (f"-{kind}" if kind != BENCH else "")


def now() -> str:
    """Return the time now, in UTC, as in run.json: `2026-11-24T09:12:44+00:00`."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def lock(directory: Path) -> int:
    """Take a directory for this process alone. Returns a file descriptor, which keeps it taken until it is closed.

    Raises ValueError if another process has it. A file system without locks lets everyone in.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(f"{directory} is being measured by another process: wait until it ends, or end it") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            os.close(descriptor)
            raise
    return descriptor


def read_run(directory: Path) -> dict:
    """Read the content of a directory's run.json, with the keys that `run_shape` lists for its kind.

    Raises ValueError if it has none, a damaged one, or one of another format: that names the version's format.
    """
    path, run = directory / "run.json", read_file(directory)
    if is_of_locust(run):
        shows = f"`crossover report {shlex.quote(str(directory))}` shows it, by itself or beside another of Locust's"
        raise ValueError(f"{directory} is a run of Locust's: {shows}")
    try:
        run_shape.check(run, {"created": str, "machine?": dict})
        if (written := run.get("format", 1)) != FORMAT:
            version = run.get("machine", {}).get("revision") or "an unknown version"
            made = f"{directory} was made on {run['created']} by {version}, which writes format {written}"
            other = f"{made}; this version reads format {FORMAT}"
        else:
            other = ""
            run_shape.check(run, run_shape.EVERY)
            run_shape.check(run, run_shape.KINDS.get(run["kind"], {}))
            check_inside(run.get("sweeps", ()))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if other:
        raise ValueError(other)
    return run


def read_locust_run(directory: Path) -> dict | None:
    """Read the content of run.json of a run of Locust's; None if the directory is another kind's.

    Raises ValueError if there is no run.json, or one that is damaged or of another format.
    """
    run = read_file(directory)
    if not is_of_locust(run):
        return None
    if (written := run.get("format", 1)) != FORMAT:
        raise ValueError(f"{directory} is of format {written}; this version reads format {FORMAT}")
    try:
        run_shape.check(run, run_shape.LOCUST)
    except ValueError as error:
        raise ValueError(f"{directory / 'run.json'} is damaged: {error}") from None
    return run


def is_of_locust(run: Any) -> bool:
    """Tell whether the content of run.json is that of a run of Locust's: it has one arm, and no kind."""
    return isinstance(run, dict) and "arm" in run and not {"kind", "created"} & set(run)


def read_file(directory: Path) -> Any:
    """Read the content of a directory's run.json, whatever it is. Raises ValueError if there is none."""
    path = directory / "run.json"
    try:
        return json.loads(plain_file.read_written(path))
    except FileNotFoundError:
        why = "it has no run.json"
        if held := sorted(str(each.parent) for each in directory.glob("*/run.json")):
            more = f" and {len(held) - HELD} more" if len(held) > HELD else ""
            why = f"it holds {', '.join(held[-HELD:])}{more}"
        elif journals := sorted(map(str, directory.glob("*.journal"))):  # a worker's, on another machine
            why += f"; the samples alone can be had with `crossover report {shlex.quote(str(journals[0]))}`"
        raise ValueError(f"{directory} is no run: {why}") from None
    except NotADirectoryError:
        raise ValueError(f"{directory} is no run: give the directory that has its run.json") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def check_inside(folders: Iterable[str]) -> None:
    """Raise ValueError for the name of a folder that would lie outside of the run's own."""
    for name in folders:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"its sweep {name!r} lies outside of it")


def read_run_trials(directory: Path, run: dict) -> list[Trial]:
    """Read a run's trials; those of sweeps lie in a folder for each sweep. Raises ValueError for a damaged one."""
    return [trial for path in run.get("sweeps", [""]) for trial in read_trials(directory / path)]
