"""What a comparison offers: how its time is shared out, how long a trial is, and how many rounds there are."""

import math
from argparse import Namespace
from dataclasses import dataclass

import arrivals
from arrivals.schedule import Schedule
from common.figures import significant
from crossover.analysis.bootstrap import minimum_rounds
from crossover.measurement.unloaded_latency import derive_rate, derive_slo
from serving.server import Unavailable

UNLOADED = 0.22
"""Share of a workload's time for its unloaded pairs; its rounds have the rest."""
OVERHEAD = 0.3  # seconds a trial takes beyond its schedule: 0.16 to 0.33 were measured
SHORTEST = 1.5  # seconds of a trial's schedule
USUAL = 2.5  # seconds up to which a trial becomes longer before there are more than ROUNDS
EXPECTED, FEWEST = 8, 4
"""Arrivals in a trial: where ROUNDS rounds fit, and at least. What is left of the noise lies between trials: 20 rounds
of five arrivals have three quarters of the width of 12 rounds of eight."""
ROUNDS, MOST = 20, 60
"""Rounds that are wanted, and from which on trials become longer instead."""


@dataclass(frozen=True)
class Rounds:
    """The loaded part of a comparison."""

    seconds: float
    """Of a trial's schedule."""
    count: int


def plan_load(means: dict[str, float], budget: float, arms: int, options: Namespace) -> dict:
    """Plan a workload's load: arrivals, rounds, seconds of a trial and SLO, as run.json has them.

    `means` are the unloaded latencies in seconds, by placement, `budget` the seconds for rounds of so many `arms`.
    """
    spec = options.arrivals or f"poisson:rate={derive_rate(means):g}"
    rate = estimate_rate(spec, budget, options.seed) if options.arrivals else derive_rate(means)
    rounds = plan_rounds(budget, arms, max(rate, 1 / budget), options.rounds)
    seconds = lengthen(spec, rounds.seconds, options.seed, rounds.count)
    if not options.rounds and seconds > rounds.seconds:
        rounds = Rounds(seconds, max(1, count_rounds(budget, arms, seconds)))
    return {"arrivals": spec, "seconds": seconds, "rounds": rounds.count, "slo_ms": options.slo or derive_slo(means)}


def make_schedule(described: dict, seed: int, number: int) -> Schedule:
    """Make the schedule of round `number`, the same for every arm. Raises Unavailable if it has no arrival.

    `described` is the workload's part of run.json, `seed` the run's.
    """
    seconds = described["seconds"]
    schedule = arrivals.parse(described["arrivals"]).schedule(seconds, seed + number - 1)
    if not len(schedule):
        why = schedule.note or "give more --seconds"
        raise Unavailable(f"{schedule.spec}: no arrival in a trial of {significant(seconds)} s; {why}")
    return schedule


def plan_rounds(budget: float, arms: int, rate: float, count: int = 0) -> Rounds:
    """Share `budget` seconds out among rounds of one trial per arm, at so many arrivals per second.

    A trial has EXPECTED arrivals and SHORTEST seconds at least; within these limits there are ROUNDS rounds, then
    trials become longer up to USUAL, then there are more rounds up to MOST, then trials become longer again. Where
    ROUNDS do not fit, trials are shorter, with FEWEST arrivals at least. With a `count` there are so many rounds,
    whatever their length.
    """
    if count:
        return Rounds(round(max(SHORTEST, budget / count / arms - OVERHEAD), 1), count)

    def length(rounds: int) -> float:
        return budget / rounds / arms - OVERHEAD

    least = max(SHORTEST, EXPECTED / rate)
    seconds = min(max(least, length(ROUNDS)), max(USUAL, least * 1.25))
    seconds = max(min(seconds, max(least * FEWEST / EXPECTED, length(ROUNDS))), length(MOST))
    seconds = math.floor(100 * seconds + 1e-9) / 100
    return Rounds(seconds, max(1, count_rounds(budget, arms, seconds)))


def count_rounds(budget: float, arms: int, seconds: float) -> int:
    """Return how many rounds of trials of so many seconds fit into the budget."""
    return int(budget / arms / (seconds + OVERHEAD) + 1e-9)


def least_seconds(options: Namespace) -> float:
    """Return the seconds without which a comparison says nothing: as many rounds as an interval needs, or --rounds.

    `plan_rounds` makes trials shorter if need be, unless --rounds says how many there are.
    """
    rounds, trial = minimum_rounds(), SHORTEST * FEWEST / EXPECTED
    if options.rounds > 0:
        rounds, trial = options.rounds, SHORTEST
    total = sum(workload.share for workload in options.workloads.values())
    least = 0.0
    for name, workload in options.workloads.items():
        seconds = rounds * count_arms(options, name) * (trial + OVERHEAD) / (1 - UNLOADED)
        least = max(least, seconds * total / workload.share)
    return math.ceil(least)


def count_arms(options: Namespace, name: str) -> int:
    """Return how many arms a workload has: each placement in each mode, or the two of --control."""
    return 2 if options.control else len(options.arms[name]) * len(options.modes)


def estimate_rate(spec: str, budget: float, seed: int) -> float:
    """Return the arrivals per second of a process, over a schedule as long as the budget; 0 without any."""
    return len(arrivals.parse(spec).schedule(budget, seed)) / budget


def lengthen(spec: str, seconds: float, seed: int, count: int) -> float:
    """Return the seconds of a trial in which each of `count` rounds has arrivals: those given, or more.

    A longer schedule begins like a shorter one, so it has their arrivals, too.
    """
    while empty_round(spec, seconds, seed, count) is not None:
        seconds = round(seconds * 1.25, 1)
    return seconds


def empty_round(spec: str, seconds: float, seed: int, count: int) -> Schedule | None:
    """Return the first round's schedule that has no arrival in so many seconds; None if all have one."""
    process = arrivals.parse(spec)
    schedules = (process.schedule(seconds, seed + number) for number in range(count))
    return next((schedule for schedule in schedules if not len(schedule)), None)


def check_arrivals(options: Namespace) -> None:
    """Check the arrivals. Raises ValueError if a round's trial would have none of the arrivals that the user chose."""
    total = sum(workload.share for workload in options.workloads.values())
    for name, workload in options.workloads.items() if options.arrivals else ():
        budget = options.seconds * workload.share / total * (1 - UNLOADED)
        rate = max(estimate_rate(options.arrivals, budget, options.seed), 1 / budget)
        planned = plan_rounds(budget, count_arms(options, name), rate, options.rounds)
        if (empty := empty_round(options.arrivals, planned.seconds, options.seed, planned.count)) is not None:
            why = empty.note or "give more --seconds or a higher rate"
            shown = f"a trial of {significant(planned.seconds)} s ({name})"
            raise ValueError(f"--arrivals {options.arrivals}: none in {shown}; {why}")
