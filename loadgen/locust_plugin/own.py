"""The flag `--workload` of loadgen/own.py, read before Locust reads the others: they depend on the workload."""

import sys
from collections.abc import Sequence

from locust import events

from workloads import catalogue
from workloads.workload import Workload

FLAG = "--workload"


def find_workload(arguments: Sequence[str]) -> Workload:
    """Find the workload that a command line names, for which Locust is taught the flag.

    Ends the program with exit code 2 and one line if it names none, or one that cannot be used.
    """

    @events.init_command_line_parser.add_listener
    def declare(parser):
        parser.add_argument(FLAG, include_in_web_ui=False, help=f"{', '.join(catalogue.BUILT_IN)}, or a Python file")

    try:
        return catalogue.find(read_flag(arguments))
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def read_flag(arguments: Sequence[str]) -> str:
    """Return the value of --workload. Raises ValueError if the flag is missing or has no value."""
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, separator, rest = flag.partition("=")
        if name == FLAG and (rest if separator else value):
            return rest if separator else value
    good = f"{', '.join(catalogue.BUILT_IN)}, or {catalogue.EXAMPLE}"
    raise ValueError(f"loadgen/own.py needs {FLAG}: {good}")
