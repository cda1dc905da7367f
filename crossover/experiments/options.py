"""Checks of the options that experiments share.

An experiment calls them from its own check: they raise ValueError in one line, with which the command line ends in exit
code 2. The options themselves are declared in `crossover.cli.options`.
"""

from argparse import Namespace

from arrivals.checks import check_positive
from crossover.measurement import resume
from workloads import catalogue, flags


def check_run_options(options: Namespace, least: float = 0, why: str = "") -> None:
    """Check the options of every run. Raises ValueError in one line that names a bad value.

    `least` are the seconds of measurement without which the experiment says nothing, and `why` is what takes them.
    """
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, not {options.seed}")
    check_positive(seconds=options.seconds)
    resume.check_option(options)
    if options.seconds < least:
        raise ValueError(f"--seconds must be at least {least:g}, not {options.seconds:g}: {why}")


def check_server_options(options: Namespace, arms: int = 0, searches: bool = False) -> None:
    """Complete `workloads` (name -> workload), `arms` (name -> placements, baseline first), `payloads` (name -> DIR).

    `arms` is how many there must be, 0: any; `searches`: mixed:best may be among them. Raises ValueError for an unknown
    workload, placement or library.
    """
    options.workloads = catalogue.find_all(options.workloads)
    transport = getattr(options, "transport", None)
    options.arms = flags.choose_arms(options.arms, options.workloads, arms, transport, searches)
    options.workloads = flags.add_arms(options.workloads, options.arms, options.library)
    options.payloads = flags.parse_payloads(options.payloads, options.workloads)
    flags.check_library(options.library, options.workloads)


def check_rounds(options: Namespace) -> None:
    """Check that there is a round to measure. Raises ValueError otherwise."""
    if options.rounds < 1:
        raise ValueError(f"--rounds must be at least 1, not {options.rounds}")
