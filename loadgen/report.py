"""`python -m loadgen.report`, until there is one command line: crossover.report_command."""

import sys

from crossover.report_command import main
from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run(main))
