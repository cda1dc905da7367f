"""The directory that a run leaves: what it is called, what its run.json says, where its trials lie."""

import json
from datetime import datetime, timezone
from pathlib import Path

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
    """Read the content of a directory's run.json.

    Raises ValueError if it has none, a damaged one, or one of another format: that names the version's format.
    """
    try:
        run = json.loads((directory / "run.json").read_text())
        created, written = run["created"], run.get("format", 1)
        lacks = [key for key in ("machine", "kind") if key not in run]
    except FileNotFoundError:
        raise ValueError(f"{directory} is no report: it has no run.json") from None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{directory / 'run.json'} is damaged: {error}") from None
    if written != FORMAT:
        version = run.get("machine", {}).get("revision") or "an unknown version"
        made = f"{directory} was made on {created} by {version}, which writes format {written}"
        raise ValueError(f"{made}; this version reads format {FORMAT}")
    if lacks:
        raise ValueError(f"{directory / 'run.json'} is damaged: it lacks {', '.join(lacks)}")
    return run


def read_run_trials(directory: Path, run: dict) -> list[Trial]:
    """Read a run's trials; those of sweeps lie in a folder for each sweep. Raises ValueError for a damaged one."""
    return [trial for path in run.get("sweeps", [""]) for trial in read_trials(directory / path)]
