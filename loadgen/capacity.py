"""`python -m loadgen.capacity`, until there is one command line: crossover.experiments.capacity.run."""

import sys

from crossover.experiments.capacity.run import main
from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run(main))
