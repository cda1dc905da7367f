"""`crossover`, and `python -m crossover`: the command line is imported where Ctrl-C is one line already."""

import sys
from pathlib import Path

from loadgen import command

OWN = {path.name for path in Path(__file__).resolve().parents[1].iterdir()}


def run() -> int:
    """Run the command line of this process. Returns the exit code: 1 where a library is missing from this Python."""
    try:
        return command.run_module("crossover.cli.main")
    except ModuleNotFoundError as missing:
        if str(missing.name).partition(".")[0] in OWN:
            raise
        lacks = f"{missing.name} is missing from this environment, {sys.prefix}"
        print(f"crossover: {lacks}; run `make env`, then use .venv", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(run())
