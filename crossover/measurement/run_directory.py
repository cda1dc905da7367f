"""The directory that a run leaves: how it is called, what its run.json says, where its blocks lie."""

import json
from datetime import datetime, timezone
from pathlib import Path

from crossover.measurement import trial
from crossover.measurement.trial import Block
from loadgen.samples.sample import FORMAT

BENCH = "bench"

def make_name(kind: str = BENCH) -> str:
    """The time now, and the experiment unless it is bench."""
    return datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S") + (f"-{kind}" if kind != BENCH else "")


def read_run(directory: Path) -> dict:
    """The content of its run.json. Raises ValueError if it has none, a damaged one, or one of another format."""
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


def read_blocks(directory: Path, run: dict) -> list[Block]:
    """Its blocks; those of a crossover lie deeper, by their sweeps."""
    return [block for path in run.get("sweeps", [""]) for block in trial.read(directory / path)]
