"""`python -m loadgen.study`, until there is one command line: crossover.experiments.client_modes.run."""

import sys

from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run_module("crossover.experiments.client_modes.run"))
