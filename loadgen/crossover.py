"""`python -m loadgen.crossover`, until there is one command line: crossover.experiments.sweep.run."""

import sys

from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run_module("crossover.experiments.sweep.run"))
