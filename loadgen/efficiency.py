"""`python -m loadgen.efficiency`, until there is one command line: crossover.experiments.efficiency.run."""

import sys

from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run_module("crossover.experiments.efficiency.run"))
