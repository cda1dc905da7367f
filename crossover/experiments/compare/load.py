"""What a comparison offers: how long a trial is, so that every round has arrivals."""

import argparse
import math

from loadgen import arrivals

OVERHEAD = 1.0  # seconds a trial takes beyond its schedule
SHORTEST = 2.0  # seconds of a trial's schedule
EXPECTED = 8  # arrivals in a trial at least, where the rate follows from what was measured


def lengthen(offered: dict, rate: float | None, options: argparse.Namespace) -> float:
    """Return the seconds of a trial in which every round has arrivals.

    There are EXPECTED on average, where the run chose the `rate`.

    A longer schedule begins like a shorter one, so it has their arrivals, too. Arrivals that the user chose (`rate` is
    None) come within the time that they gave (`check_arrivals`), of which finding the load has taken some.
    """
    seconds = offered["seconds"] if rate is None else max(offered["seconds"], math.ceil(10 * EXPECTED / rate) / 10)
    while empty_round(offered["arrivals"], seconds, options) is not None:
        seconds = round(seconds * 1.25, 1)
    return seconds


def empty_round(spec: str, seconds: float, options: argparse.Namespace) -> arrivals.Schedule | None:
    """Return the first round's schedule that has no arrival in so many seconds; None if all have one."""
    process = arrivals.parse(spec)
    schedules = (process.schedule(seconds, options.seed + number) for number in range(options.rounds))
    return next((schedule for schedule in schedules if not len(schedule)), None)


def check_arrivals(options: argparse.Namespace) -> None:
    """Check the arrivals. Raises ValueError if a round's trial would have none of the arrivals that the user chose."""
    total = sum(workload.share for workload in options.workloads.values())
    for name, workload in options.workloads.items() if options.arrivals else ():
        arms = 2 if options.control else len(options.arms[name]) * len(options.modes)
        share = options.seconds * workload.share / total / options.rounds / arms
        seconds = max(SHORTEST, share - OVERHEAD)
        if (empty := empty_round(options.arrivals, seconds, options)) is not None:
            why = empty.note or "give more --seconds or a higher rate"
            raise ValueError(f"--arrivals {options.arrivals}: none in a trial of {seconds:.3g} s ({name}); {why}")
