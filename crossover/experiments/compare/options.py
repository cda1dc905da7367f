"""What a bench is asked for: by flags, or as another was."""

import argparse
from math import inf
from pathlib import Path

from crossover.measurement import resume, unloaded_latency
from crossover.measurement.run_directory import BENCH
from loadgen import arrivals
from loadgen.arm import MODES, Arm, Mode
from loadgen.arrivals.checks import check_positive
from workloads.workload import IMAGE, WORKLOADS

REPEATED = ("arrivals", "seconds", "slo_ms", "digest")  # of each workload of another's run.json
ASKED = ("workloads", "seconds", "arrivals", "library", "slo", "like")  # what makes it this experiment and no other


def parsed() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="python -m loadgen.bench", description="Compare the placements.")
    parser.add_argument("workloads", nargs="*", default=[], metavar="image|audio", help="default: both")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--state", default=".run", help="the launcher's state directory")
    parser.add_argument("--seconds", type=float, default=270, help="of measurement, altogether")
    parser.add_argument("--rounds", type=int, default=10, help="interleaved rounds; each runs every arm once")
    parser.add_argument("--modes", default="async", help=f"of the clients, of {', '.join(MODES)}; with commas")
    parser.add_argument("--arrivals", default="", help="instead of a Poisson load found by measurement")
    slo = (
        f"ms within which an answer is good; default: {unloaded_latency.SLO_FACTOR} times what one request takes alone"
    )
    parser.add_argument("--slo", type=float, default=0, help=slo)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", default="", help=f"of the image clients: {', '.join(IMAGE.libraries)}")
    parser.add_argument("--image", metavar="DIR", default="", help="photographs to send instead of the built-in ones")
    parser.add_argument("--audio", metavar="DIR", default="", help="clips to send instead of the built-in ones")
    parser.add_argument("--reports", default="reports")
    precision = "stop early when the intervals of p50 and mean are within this share (default: %(default)s)"
    parser.add_argument("--precision", type=float, default=0.025, help=precision)
    resume.flag(parser)
    like = "take over from that bench: arrivals, length of blocks, rounds, seed and slo, to compare the two afterwards"
    parser.add_argument("--like", metavar="DIR", default="", help=like)
    control = "instead: the client's arm against itself, as it is or made 10 %% slower, to see what comes out"
    parser.add_argument("--control", choices=["aa", "slow"], default="", help=control)
    return parser, parser.parse_args()


def check(options) -> None:
    """Raises ValueError."""
    options.workloads, options.offered = list(dict.fromkeys(options.workloads)), {}
    options.modes = list(dict.fromkeys(options.modes.split(",")))
    if unknown := [name for name in options.workloads if name not in WORKLOADS]:
        raise ValueError(f"unknown workload {unknown[0]!r}; try one of {', '.join(WORKLOADS)}")
    if unknown := [mode for mode in options.modes if mode not in MODES]:
        raise ValueError(f"unknown mode {unknown[0]!r}; try one of {', '.join(MODES)}")
    if options.like:
        repeat(options)
    options.workloads = options.workloads or list(WORKLOADS)
    if options.rounds < 1 or options.seed < 0:
        raise ValueError("--rounds must be at least 1 and --seed must not be negative")
    if not 0 <= options.slo < inf:
        raise ValueError(f"--slo must be a positive number of ms, not {options.slo:g}")
    resume.check(options)
    check_positive(seconds=options.seconds, precision=options.precision)
    if options.arrivals:
        arrivals.parse(options.arrivals).schedule(1, options.seed)
    Arm(IMAGE, "client", Mode("sequential"), options.library)


def repeat(options) -> None:
    """Take over what --like's blocks were offered, into `options.offered` by workload. Raises ValueError."""
    if options.arrivals or options.slo:
        raise ValueError(f"--like takes arrivals and slo from {options.like}: leave out --arrivals and --slo")
    run = resume.kept(Path(options.like), BENCH)
    options.workloads = options.workloads or list(run["workloads"])
    if missing := [name for name in options.workloads if name not in run["workloads"]]:
        there = ", ".join(run["workloads"]) or "nothing"
        raise ValueError(f"{options.like} has not measured {missing[0]}, but {there}")
    options.rounds, options.seed, options.seconds = run["rounds"], run["seed"], run["asked"]["seconds"]
    options.offered = {name: {key: run["workloads"][name][key] for key in REPEATED} for name in options.workloads}
