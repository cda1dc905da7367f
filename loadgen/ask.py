"""`python -m loadgen.ask`, until there is one command line: crossover.infer."""

import sys

from crossover.infer import main
from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run(main))
