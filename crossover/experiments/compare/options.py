"""Options of the comparison; with --like, those of another run are taken over."""

import argparse
from math import inf
from pathlib import Path

from crossover.experiments.compare.load import check_arrivals
from crossover.experiments.options import (
    add_run_options,
    add_server_options,
    check_rounds,
    check_run_options,
    check_server_options,
)
from crossover.measurement import resume
from crossover.measurement.run_directory import BENCH
from crossover.measurement.unloaded_latency import SLO_FACTOR
from loadgen import arrivals
from loadgen.arm import MODES

REPEATED = ("arrivals", "seconds", "slo_ms", "digest")  # of each workload in the run.json of --like


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line of the comparison."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.bench", description="Compare the placements.")
    add_run_options(parser, 270, "of measurement, altogether")
    parser.add_argument("--rounds", type=int, default=10, help="interleaved rounds; each runs every arm once")
    modes = f"client modes, with commas, of {', '.join(MODES)} (default: %(default)s)"
    parser.add_argument("--modes", default="async", help=modes)
    process = "as `python -m loadgen.arrivals` takes them; default: Poisson at a rate that every arm can carry"
    parser.add_argument("--arrivals", default="", help=process)
    slo = f"ms within which an answer is good; default: {SLO_FACTOR} times the slower placement's unloaded latency"
    parser.add_argument("--slo", type=float, default=0, help=slo)
    precision = "stop early once the intervals of p50 and mean are within +- this share (default: %(default)s)"
    parser.add_argument("--precision", type=float, default=0.025, help=precision)
    like = "repeat that run: its arrivals, length of trials, rounds, seed and SLO, to compare the two afterwards"
    parser.add_argument("--like", metavar="DIR", default="", help=like)
    control = "self-check: the baseline arm against itself (aa), or against a copy that is 10 %% slower (slow)"
    parser.add_argument("--control", choices=["aa", "slow"], default="", help=control)
    add_server_options(parser)
    return parser


def check(options: argparse.Namespace) -> None:
    """Check the options and complete them: `modes` as a list, `offered` by workload if --like is given.

    Raises ValueError in one line that names the option and what is good.
    """
    options.offered = {}
    options.modes = list(dict.fromkeys(options.modes.split(",")))
    if unknown := [mode for mode in options.modes if mode not in MODES]:
        raise ValueError(f"unknown mode {unknown[0]!r}; try one of {', '.join(MODES)}")
    if options.like:
        repeat_run(options)
    check_server_options(options, arms=2)
    check_run_options(options)
    check_rounds(options)
    if not 0 <= options.slo < inf:
        raise ValueError(f"--slo must be a positive number of ms, or 0 for its default, not {options.slo:g}")
    if not 0 < options.precision < 1:
        raise ValueError(f"--precision must be a share above 0 and below 1, as 0.025, not {options.precision:g}")
    if options.arrivals:
        # A schedule is drawn here for nothing, so that a bad specification ends the command before it measures.
        arrivals.parse(options.arrivals).schedule(1, options.seed)
    check_arrivals(options)


def repeat_run(options: argparse.Namespace) -> None:
    """Take over the load of the run of --like: rounds, seed and seconds, and `options.offered`.

    `offered` has REPEATED of each workload. Raises ValueError if that is no comparison, lacks a workload, or if
    --arrivals or --slo are given as well.
    """
    if options.arrivals or options.slo:
        raise ValueError(f"--like takes arrivals and slo from {options.like}: leave out --arrivals and --slo")
    run = resume.load_for_resume(Path(options.like), BENCH)
    options.workloads = options.workloads or list(run["workloads"])
    if missing := [name for name in options.workloads if name not in run["workloads"]]:
        measured = ", ".join(run["workloads"]) or "nothing"
        raise ValueError(f"{options.like} has not measured {missing[0]}, but {measured}")
    options.rounds, options.seed, options.seconds = run["rounds"], run["seed"], run["asked"]["seconds"]
    options.offered = {name: {key: run["workloads"][name][key] for key in REPEATED} for name in options.workloads}
