"""`crossover`, and `python -m crossover`: the command line is imported where Ctrl-C is one line already."""

import sys

from loadgen import command


def run() -> int:
    """Run the command line of this process. Returns the exit code."""
    return command.run_module("crossover.cli.main")


if __name__ == "__main__":
    sys.exit(run())
