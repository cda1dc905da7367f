"""The directory that a run leaves: what it is called, what its run.json says, where its trials lie."""

import json
from datetime import datetime, timezone
from pathlib import Path

from crossover.measurement import run_shape
from crossover.measurement.trial import Trial, read_trials
from loadgen.samples.sample import FORMAT

BENCH = "bench"


def make_name(kind: str = BENCH) -> str:
    """Make the name of a new directory: the time now, in UTC, and the experiment unless it is the comparison."""
    return datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S") + (f"-{kind}" if kind != BENCH else "")


def now() -> str:
    """Return the time now, in UTC, as in run.json: `2026-11-24T09:12:44+00:00`."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_run(directory: Path) -> dict:
    """Read the content of a directory's run.json, with the keys that `run_shape` lists for its kind.

    Raises ValueError if it has none, a damaged one, or one of another format: that names the version's format.
    """
    path = directory / "run.json"
    try:
        run = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{directory} is no report: it has no run.json") from None
    except NotADirectoryError:
        raise ValueError(f"{directory} is no report: give the directory that has its run.json") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    # A run of Locust's has one arm and no kind.
    if isinstance(run, dict) and "arm" in run and not {"kind", "created"} & set(run):
        raise ValueError(f"{directory} is a run of Locust's; report makes those of experiments again")
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
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if other:
        raise ValueError(other)
    return run


def read_run_trials(directory: Path, run: dict) -> list[Trial]:
    """Read a run's trials; those of sweeps lie in a folder for each sweep. Raises ValueError for a damaged one."""
    return [trial for path in run.get("sweeps", [""]) for trial in read_trials(directory / path)]
