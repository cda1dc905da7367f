"""`python -m benchmarks.soak`, until there is one command line: crossover.experiments.soak."""

import sys

from loadgen import command


def main() -> int:
    """Import the command only now, so that a Ctrl-C meanwhile ends it as a later one does. Return its exit code."""
    from crossover.experiments.soak import main as run

    return run()


if __name__ == "__main__":
    sys.exit(command.run(main))
