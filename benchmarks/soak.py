"""`python -m benchmarks.soak`, until there is one command line: crossover.experiments.soak."""

import sys

from crossover.experiments.soak import main
from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run(main))
