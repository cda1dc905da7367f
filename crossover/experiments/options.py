"""The options that experiments share, and their checks.

An experiment adds them to its parser, beside its own, and calls the checks from its own check: they raise ValueError in
one line, which `experiment.run_command` prints before it exits with 2.
"""

import argparse

from crossover.measurement import resume
from loadgen.arm import Arm, Mode
from loadgen.arrivals.checks import check_positive
from workloads.workload import IMAGE, WORKLOADS


def add_run_options(parser: argparse.ArgumentParser, seconds: float, meaning: str, resumable: bool = True) -> None:
    """Add the options of every experiment that leaves a directory; `meaning` says what --seconds is the length of."""
    parser.add_argument("--seconds", type=float, default=seconds, help=f"{meaning} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reports", default="reports")
    parser.set_defaults(continued="")
    if resumable:
        resume.add_option(parser)


def check_run_options(options: argparse.Namespace) -> None:
    """Raises ValueError for a bad value of `add_run_options`, in one line that names it."""
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, not {options.seed}")
    check_positive(seconds=options.seconds)
    resume.check_option(options)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of an experiment on a server that is up: which, what it is sent, and by which library."""
    parser.add_argument("workloads", nargs="*", default=[], metavar="image|audio", help="default: both")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--state", default=".run", help="the launcher's state directory")
    parser.add_argument("--library", default="", help=f"of the image clients: {', '.join(IMAGE.libraries)}")
    parser.add_argument("--image", metavar="DIR", default="", help="photographs to send instead of the built-in ones")
    parser.add_argument("--audio", metavar="DIR", default="", help="clips to send instead of the built-in ones")


def check_server_options(options: argparse.Namespace) -> None:
    """Complete `options.workloads`. Raises ValueError for an unknown workload or library."""
    options.workloads = list(dict.fromkeys(options.workloads)) or list(WORKLOADS)
    if unknown := [name for name in options.workloads if name not in WORKLOADS]:
        raise ValueError(f"unknown workload {unknown[0]!r}; try one of {', '.join(WORKLOADS)}")
    Arm(IMAGE, "client", Mode("sequential"), options.library)


def check_rounds(options: argparse.Namespace) -> None:
    """Raises ValueError if there is not one round."""
    if options.rounds < 1:
        raise ValueError(f"--rounds must be at least 1, not {options.rounds}")
