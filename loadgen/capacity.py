"""`python -m loadgen.capacity`, until there is one command line: crossover.experiments.capacity.run."""

import sys

from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run_module("crossover.experiments.capacity.run"))
