"""The options that experiments share, and their checks.

An experiment adds them to its parser, beside its own, and calls the checks from its own check: they raise ValueError in
one line, which `experiment.run_command` prints before it exits with 2.
"""

import argparse
from collections.abc import Sequence

from crossover.measurement import resume
from loadgen.arrivals.checks import check_positive
from workloads import catalogue, flags


def add_run_options(parser: argparse.ArgumentParser, seconds: float, meaning: str, resumable: bool = True) -> None:
    """Add the options of every experiment that leaves a directory; `meaning` says what --seconds is the length of."""
    parser.add_argument("--seconds", type=float, default=seconds, help=f"{meaning} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reports", default="reports")
    # `Experiment` reads it, also where an experiment has no --continue.
    parser.set_defaults(continued="")
    if resumable:
        resume.add_option(parser)


def check_run_options(options: argparse.Namespace) -> None:
    """Check the options of `add_run_options`. Raises ValueError in one line that names a bad value."""
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, not {options.seed}")
    check_positive(seconds=options.seconds)
    resume.check_option(options)


def add_server_options(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> None:
    """Add the options of an experiment on a server that is up: which, what it is sent, by which arms and library.

    Called last: each workload has an option of its name, which none of the others may have. The files of one's own
    workloads are looked for in `arguments`, by default this process's.
    """
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--state", default=".run", help="the launcher's state directory")
    arms = "placements with commas, the baseline first; default: the workload's first two"
    parser.add_argument("--arms", metavar="A,B", help=arms)
    flags.declare(parser, arguments)


def check_server_options(options: argparse.Namespace, arms: int = 0) -> None:
    """Complete `options.workloads`, name -> workload, and `options.arms`, name -> placements, the baseline first.

    `arms` is how many there must be, 0: any. Raises ValueError for an unknown workload, placement or library.
    """
    options.workloads = catalogue.find_all(options.workloads)
    options.arms = flags.choose_arms(options.arms, options.workloads, arms)
    flags.check_library(options.library, options.workloads)


def check_rounds(options: argparse.Namespace) -> None:
    """Check that there is a round to measure. Raises ValueError otherwise."""
    if options.rounds < 1:
        raise ValueError(f"--rounds must be at least 1, not {options.rounds}")
