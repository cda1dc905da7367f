"""`python -m loadgen.bench`, until there is one command line: crossover.experiments.compare.run."""

import sys

from crossover.experiments.compare.run import main
from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run(main))
