"""`python -m loadgen.bench`, until there is one command line: crossover.experiments.compare.run."""

import sys

from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run_module("crossover.experiments.compare.run"))
