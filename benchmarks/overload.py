"""`python -m benchmarks.overload`, until there is one command line: crossover.experiments.overload."""

import sys

from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run_module("crossover.experiments.overload"))
