"""`python -m loadgen.journal`, until there is one command line: loadgen.samples.parquet."""

import sys

from loadgen import command

if __name__ == "__main__":
    sys.exit(command.run_module("loadgen.samples.parquet"))
