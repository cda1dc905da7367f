"""`python -m loadgen.report`, until there is one command line: crossover.report_command."""

import sys

from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run_module("crossover.report_command"))
