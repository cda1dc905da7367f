"""Options of the comparison; with --continue and --like, those of another run are taken over."""

import argparse
from collections.abc import Sequence
from math import inf
from pathlib import Path

from crossover.analysis.costs import Prices, parse_prices
from crossover.experiments.compare.load import ROUNDS, UNLOADED, check_arrivals
from crossover.experiments.options import (
    add_run_options,
    add_server_options,
    check_run_options,
    check_server_options,
)
from crossover.measurement import resume
from crossover.measurement.run_directory import BENCH
from crossover.measurement.unloaded_latency import SLO_FACTOR
from loadgen import arrivals
from loadgen.arm import MODES
from loadgen.arrivals.checks import check_positive

PROGRAM = "python -m loadgen.bench"
COMMAND = ("python", "-m", "loadgen.bench")  # before the flags in run.json's argv
REPEATED = ("arrivals", "seconds", "rounds", "slo_ms", "digest")  # of each workload in the run.json of --like


def make_parser(arguments: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line; `arguments` are all that it will read, instead of this process's."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Compare the placements.", allow_abbrev=False)
    shared = f"of measurement, altogether: {UNLOADED * 100:g} %% of it one request at a time, the rest in rounds"
    add_run_options(parser, 270, f"{shared}; with --continue: that many more")
    rounds = f"interleaved rounds, each of which runs every arm once; default: {ROUNDS} or more of short trials"
    parser.add_argument("--rounds", type=int, default=0, help=f"{rounds}, where they fit")
    modes = f"client modes, with commas, of {', '.join(MODES)} (default: %(default)s)"
    parser.add_argument("--modes", default="async", help=modes)
    process = "as `python -m loadgen.arrivals` takes them; default: Poisson at a rate that every arm can carry"
    parser.add_argument("--arrivals", default="", help=process)
    slo = f"ms within which an answer is good; default: {SLO_FACTOR} times the slower placement's unloaded latency"
    parser.add_argument("--slo", type=float, default=0, help=slo)
    precision = "stop early once latency's ratio is known to within this share (default: %(default)s)"
    parser.add_argument("--precision", type=float, default=0.025, help=precision)
    prices = f"of a core-hour and of a GB, in any currency; default: {Prices().client:g} and {Prices().gb:g}"
    parser.add_argument("--prices", metavar="cpu=..,gb=..", default="", help=f"{prices}; also client= and server=")
    like = "repeat that run: its arrivals, length of trials, rounds, seed and SLO, to compare the two afterwards"
    parser.add_argument("--like", metavar="DIR", default="", help=like)
    control = "self-check: the baseline arm against itself (aa), or against a copy that is 10 %% slower (slow)"
    parser.add_argument("--control", choices=["aa", "slow"], default="", help=control)
    add_server_options(parser, arguments)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. With --continue, what it does not say is taken from the run that it names.

    `more` are the seconds that --continue adds, else 0. Raises ValueError if the directory has no run to continue.
    """
    finder = argparse.ArgumentParser(prog=PROGRAM, add_help=False, allow_abbrev=False)
    finder.add_argument("--continue", dest="continued", default="")
    finder.add_argument("--seconds", type=float)
    given, _ = finder.parse_known_args(arguments)
    if not given.continued:
        return argparse.Namespace(**vars(make_parser(arguments).parse_args(arguments)), more=0.0)
    resume.check_option(given)
    if given.seconds is not None:
        check_positive(seconds=given.seconds)
    directory = Path(given.continued)
    before = load_planned(directory).get("argv", [])[len(COMMAND) :]
    parser = make_parser([*before, *arguments])
    options = parser.parse_args(before)
    workloads, seconds = options.workloads, options.seconds
    # What the options hold already is kept where the command line does not say otherwise.
    options = parser.parse_args(arguments, options)
    options.workloads = options.workloads or workloads
    return argparse.Namespace(**{**vars(options), "seconds": seconds}, more=given.seconds or 0.0)


def load_planned(directory: Path) -> dict:
    """Return the run.json of a comparison. Raises ValueError if it is of another experiment or an older version."""
    run = resume.load_for_resume(directory, BENCH)
    if any("unloaded_seconds" not in workload for workload in run["workloads"].values()):
        raise ValueError(f"{directory} is of an older version, without unloaded pairs: a report of it can be made only")
    return run


def check(options: argparse.Namespace) -> None:
    """Check the options and complete them: `modes` as a list, `offered` by workload if --like is given.

    Raises ValueError in one line that names the option and what is good.
    """
    options.offered = {}
    options.modes = list(dict.fromkeys(options.modes.split(",")))
    if unknown := [mode for mode in options.modes if mode not in MODES]:
        raise ValueError(f"unknown mode {unknown[0]!r}; try one of {', '.join(MODES)}")
    if options.prices:
        parse_prices(options.prices)
    if options.like:
        repeat_run(options)
    check_server_options(options, arms=2)
    check_run_options(options)
    if options.rounds < 0:
        raise ValueError(f"--rounds must be at least 1, or 0 for as many as fit, not {options.rounds}")
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
    run = load_planned(Path(options.like))
    options.workloads = options.workloads or list(run["workloads"])
    if missing := [name for name in options.workloads if name not in run["workloads"]]:
        measured = ", ".join(run["workloads"]) or "nothing"
        raise ValueError(f"{options.like} has not measured {missing[0]}, but {measured}")
    options.rounds, options.seed, options.seconds = run["rounds"], run["seed"], run["asked"]["seconds"]
    options.offered = {name: {key: run["workloads"][name][key] for key in REPEATED} for name in options.workloads}
