"""Checks of the comparison's options; with --like, the load of another run is taken over."""

from argparse import Namespace
from math import inf
from pathlib import Path

import arrivals
from arrivals.checks import check_positive
from crossover.analysis.bootstrap import minimum_rounds
from crossover.analysis.costs import parse_prices
from crossover.analysis.wording import join
from crossover.experiments.compare.load import check_arrivals, least_seconds
from crossover.experiments.options import check_rounds, check_run_options, check_server_options
from crossover.measurement import resume
from crossover.measurement.run_directory import BENCH
from loadgen.arm import MODES

REPEATED = ("arrivals", "seconds", "rounds", "slo_ms", "digest")  # of each workload in the run.json of --like


def load_planned(directory: Path) -> dict:
    """Return the run.json of a comparison. Raises ValueError if it is of another experiment or an older version."""
    run = resume.load_for_resume(directory, BENCH)
    if any("unloaded_seconds" not in workload for workload in run["workloads"].values()):
        raise ValueError(f"{directory} is of an older version, without unloaded pairs: a report of it can be made only")
    return run


def check(options: Namespace) -> None:
    """Check the options and complete them: `modes` as a list, `offered` by workload if --like is given, and `more`.

    `more` are the seconds that --continue adds: those of --seconds, which else are the ones of the run that goes on.
    Raises ValueError in one line that names the option and what is good.
    """
    # Left out, it is 0: as many as fit.
    if "rounds" in options.explicit:
        check_rounds(options)
    options.offered, options.more = {}, 0.0
    if options.continued:
        load_planned(Path(options.continued))
        if "seconds" in options.explicit:
            check_positive(seconds=options.seconds)
            options.more, options.seconds = options.seconds, options.earlier["seconds"]
    options.modes = list(dict.fromkeys(options.modes.split(",")))
    if unknown := [mode for mode in options.modes if mode not in MODES]:
        raise ValueError(f"unknown mode {unknown[0]!r}; try one of {', '.join(MODES)}")
    if options.prices:
        parse_prices(options.prices)
    if options.like:
        repeat_run(options)
    check_server_options(options, arms=2)
    rounds = f"{options.rounds or minimum_rounds()} rounds" + ", the fewest with an interval," * (not options.rounds)
    why = f"{rounds} of every arm of {join(list(options.workloads))}"
    check_run_options(options, 0 if options.continued or options.like else least_seconds(options), why)
    if not 0 <= options.slo < inf:
        raise ValueError(f"--slo must be a positive number of ms, or 0 for its default, not {options.slo:g}")
    if not 0 < options.precision < 1:
        raise ValueError(f"--precision must be a share above 0 and below 1, as 0.025, not {options.precision:g}")
    if options.arrivals:
        # A schedule is drawn here for nothing, so that a bad specification ends the command before it measures.
        arrivals.parse(options.arrivals).schedule(1, options.seed)
    check_arrivals(options)


def repeat_run(options: Namespace) -> None:
    """Take over the load of the run of --like: rounds, seed and seconds, and `options.offered`.

    `offered` has REPEATED of each workload. Raises ValueError if that is no comparison, lacks a workload, or if
    --arrivals or --slo are given as well.
    """
    if options.arrivals or options.slo:
        raise ValueError(f"--like takes arrivals and slo from {options.like}: leave out --arrivals and --slo")
    run = load_planned(Path(options.like))
    options.workloads = options.workloads or list(run["workloads"])
    if missing := [name for name in options.workloads if name not in run["workloads"]]:
        measured = ", ".join(run["workloads"]) or "nothing"
        raise ValueError(f"{options.like} has not measured {missing[0]}, but {measured}")
    options.rounds, options.seed, options.seconds = run["rounds"], run["seed"], run["asked"]["seconds"]
    options.offered = {name: {key: run["workloads"][name][key] for key in REPEATED} for name in options.workloads}
