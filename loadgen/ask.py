"""`python -m loadgen.ask`, until there is one command line: crossover.infer."""

import sys

from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run_module("crossover.infer"))
