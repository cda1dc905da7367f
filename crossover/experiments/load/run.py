"""How fast is it at which load? Throughput, latency and CPU at a few rates, in about a minute.

    crossover load image --rate 2,4,8 --arms server

Every rate is offered to each arm once, as Poisson arrivals, lower rates first. Without --rate they are shares of the
rate at which the slowest arm, asked one request at a time, would always be busy. Everything lies in
reports/<time>-load/: report.html, load.json, and a trial for each rate and arm.
"""

from argparse import Namespace
from math import ceil, isfinite

from arrivals import Poisson
from arrivals.schedule import Schedule
from crossover.experiments.burst_shapes import exactly
from crossover.experiments.load.result import KIND
from crossover.experiments.options import check_run_options, check_server_options
from crossover.experiments.server_experiment import ServerExperiment
from crossover.measurement import resume
from crossover.measurement.measure import measure
from crossover.measurement.offer import wait_until_idle
from loadgen.arm import Arm, Mode
from workloads.workload import Workload

SHARES = (0.25, 0.5, 1.0, 1.5)
"""Of the rate at which a server that takes one request at a time would always be busy: the last shows the limit."""
FEWEST = 8  # arrivals in a trial at least
SHORTEST = 2.0  # seconds of a trial's schedule
OVERHEAD = 0.5  # seconds that a trial takes beyond its schedule


class Load(ServerExperiment):
    """Offers each arm of each workload every rate once. A rate that an arm cannot carry is a result like others."""

    kind = KIND
    identity = ("workloads", "seconds", "arms", "library", "rate")

    def measure(self) -> None:
        """Measure every rate of each workload; the workloads share the time."""
        self.begin()
        for workload in self.options.workloads.values():
            self.measure_workload(workload)
        self.complete()

    def measure_workload(self, workload: Workload) -> None:
        """Measure what is missing of all rates."""
        name = workload.name
        means = self.show_unloaded_latency(workload)  # which warms up as well
        if name not in self.described["workloads"]:
            self.described["workloads"][name] = self.choose_load(workload, means)
            self.write()
        described, inputs, cores = self.described["workloads"][name], self.inputs[name], len(self.cores)
        arms = [Arm(workload, each, Mode("async", cores), self.library(workload)) for each in self.arms(workload)]
        plan = [
            (self.directory / name / arm.slug / f"round-{number:02}", arm, self.make_schedule(described, number))
            for number in range(1, len(described["rates"]) + 1)
            for arm in arms
        ]
        missing = [each for each in plan if not resume.completed_trial(*each)]
        self.progress.start(len(plan), len(plan) - len(missing), described["seconds"] + OVERHEAD)
        for path, arm, schedule in missing:
            number = int(path.name.removeprefix("round-"))
            self.progress.show_trial(f"{name}: {arm.placement}, {described['rates'][number - 1]:g}/s")
            earlier = self.retries.given_up
            trial = measure(self.server, arm, schedule, inputs, path, cores, number, given_up=earlier)
            self.retries.note_given_up(trial)
            wait_until_idle(self.server, arm, inputs)
        self.progress.finish_line()

    def make_schedule(self, described: dict, number: int) -> Schedule:
        """Make the arrivals of one rate, the same for every arm. `number` counts the rates, from 1."""
        rate = described["rates"][number - 1]
        count = max(FEWEST, round(rate * described["seconds"]))
        return exactly(Poisson, rate, count, self.options.seed + number - 1)

    def choose_load(self, workload: Workload, means: dict[str, float]) -> dict:
        """Choose the rates and the length of a trial. Returns the workload's part of run.json.

        `means` are the unloaded latencies in seconds, by placement.
        """
        options, arms = self.options, self.arms(workload)
        rates = options.rates or [float(f"{share / max(means.values()):.2g}") for share in SHARES]
        share = options.seconds * workload.share / sum(each.share for each in options.workloads.values())
        seconds = max(SHORTEST, share / len(rates) / len(arms) - OVERHEAD)
        model = Arm(workload, arms[0], Mode("async"), self.library(workload))
        return {
            **workload.describe(arms),
            "back_to_back_seconds": means,
            "rates": rates,
            "seconds": seconds,
            "library": model.chosen,
            "payloads": [payload.name for payload in self.inputs[workload.name]],
        }


def check(options: Namespace) -> None:
    """Check the options and complete them: `rates`, ascending, empty where --rate is left open; one arm by default.

    Raises ValueError for a bad one.
    """
    options.rates = parse_rates(options.rate)
    given = options.arms
    check_server_options(options)
    if given is None:
        options.arms = {name: [workload.encoded] for name, workload in options.workloads.items()}
    count = len(options.rates or SHARES)
    total = sum(workload.share for workload in options.workloads.values())
    trials = {name: count * len(options.arms[name]) / each.share for name, each in options.workloads.items()}
    what = f"{count} rates for every arm of {', '.join(options.workloads)}, {SHORTEST:g} s each at least"
    check_run_options(options, ceil(max(trials.values()) * total * (SHORTEST + OVERHEAD)), what)


def parse_rates(text: str) -> list[float]:
    """Read --rate, requests per second with commas, and return them ascending. Raises ValueError."""
    try:
        rates = sorted({float(each) for each in text.split(",")}) if text else []
    except ValueError:
        rates = [0.0]
    if not all(rate > 0 and isfinite(rate) for rate in rates):
        raise ValueError(f"--rate takes requests per second, with commas, as 2,4,8, not {text!r}")
    return rates
