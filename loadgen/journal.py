"""`python -m loadgen.journal`, until there is one command line: loadgen.samples.parquet."""

import sys

from loadgen import command
from loadgen.samples.parquet import main

if __name__ == "__main__":
    sys.exit(command.run(main))
