"""The main question: which placement of the preprocessing is better, and by how much?

    python -m loadgen.bench image audio --seconds 270

For each workload it measures the unloaded latency, and offers every arm the same Poisson schedules at a load that the
slowest can carry: in rounds, in which every arm has one trial, in an order drawn anew. The figures (intervals, stages,
costs) are made from the trials in reports/<time>/, by compare/result.py.
"""

import dataclasses
import random
import time
from collections.abc import Iterable, Sequence

from crossover.analysis import comparison
from crossover.experiments.compare import options
from crossover.experiments.compare.load import OVERHEAD, SHORTEST, lengthen
from crossover.experiments.compare.result import KIND, compare_modes
from crossover.experiments.experiment import ServerExperiment, run_command
from crossover.measurement.trial import Trial, read_trials
from crossover.measurement.unloaded_latency import derive_rate, derive_slo
from loadgen import arrivals
from loadgen.arm import Arm, Mode
from serving.server import Unavailable
from workloads import payloads
from workloads.workload import Workload

ENOUGH_ROUNDS = 8  # before --precision may end a workload early


class Comparison(ServerExperiment):
    """Interleaved rounds of every arm, workload by workload.

    A round holds each arm once, in an order drawn anew, on one schedule. It ends early once the intervals are as narrow
    as --precision asks, or when --seconds are over.
    """

    kind = KIND
    identity = ("workloads", "seconds", "arrivals", "arms", "library", "slo", "like")

    def __init__(self, options):
        super().__init__(options)
        for name, offered in options.offered.items():
            # The same load means nothing with other payloads.
            if offered["digest"] != payloads.digest(self.inputs[name]):
                raise ValueError(f"{options.like} sent other payloads for {name}: give the same as --{name} DIR")

    def measure(self) -> None:
        """Measure the rounds of each workload; workloads share the time by their `share`."""
        self.begin()
        total = sum(workload.share for workload in self.options.workloads.values())
        for workload in self.options.workloads.values():
            self.measure_workload(workload, self.options.seconds * workload.share / total)
        self.complete()

    def describe(self) -> dict:
        """Return the content of run.json, with the rounds, modes and control. Raises Unavailable."""
        return {**super().describe(), **{key: getattr(self.options, key) for key in ("rounds", "modes", "control")}}

    def measure_workload(self, workload: Workload, budget: float) -> None:
        """Measure what is missing of all rounds, in about `budget` seconds together with finding the load."""
        name, rounds = workload.name, self.options.rounds
        fresh = name not in self.described["workloads"]
        if fresh:
            self.described["workloads"][name] = self.choose_load(workload, budget)
            self.write()
        described, arms = self.described["workloads"][name], self.list_arms(workload)
        trials = [trial for trial in read_trials(self.directory) if trial.workload == name and trial.facts["complete"]]
        existing = {(trial.round, trial.arm) for trial in trials}
        missing, seconds = rounds * len(arms) - len(existing), described["seconds"] + OVERHEAD
        if missing and not fresh:
            print(f"{name}: one request at a time, to warm up ...", flush=True)
            self.unloaded_latency(workload)
        # Repetitions come out of the same time: the last rounds are left out for them.
        self.retries.set_deadline(missing * seconds)
        self.progress.start(rounds * len(arms), len(existing), seconds)
        for number in range(1, rounds + 1):
            schedule = self.make_schedule(described, number)
            # Drawn by name and seed: a run that is resumed keeps its order.
            order = random.Random(f"{name} {schedule.seed}").sample(arms, len(arms))
            lacking = [arm for arm in order if (number, str(arm)) not in existing]
            if lacking and self.retries.time_is_up:
                repeated = self.retries.repeated
                why = f"{repeated} invalid trial{'s' * (repeated != 1)} repeated"
                self.progress.print_line(f"{name}: the time is up after round {number - 1} of {rounds}, with {why}")
                break
            trials += [self.measure_trial(arm, schedule, number) for arm in lacking]
            if self.show_interim(name, trials, number):
                break
        self.progress.finish_line()

    def measure_trial(self, arm: Arm, schedule: arrivals.Schedule, number: int) -> Trial:
        """Measure an arm's trial of round `number`. Raises Unavailable if the server is gone for good."""
        name = arm.workload.name
        self.progress.show_trial(f"{name} round {number}/{self.options.rounds}: {arm}")
        path = self.directory / name / arm.slug / f"round-{number:02}"
        return self.retries.measure(arm, schedule, self.inputs[name], path, len(self.cores), number, strict=True)

    def show_interim(self, name: str, trials: Sequence[Trial], number: int) -> bool:
        """Show the result after round `number`. Returns whether it is precise enough to end the workload here."""
        found = compare_modes(self.described["workloads"][name], trials).values()
        precise = bool(found) and all(comparison.is_precise(each, self.options.precision) for each in found)
        if ENOUGH_ROUNDS <= number < self.options.rounds and precise:
            within = f"{' and '.join(comparison.HEADLINES)} are known to within {self.options.precision * 100:g} %"
            self.progress.print_line(f"{name}: enough after round {number} of {self.options.rounds}: {within}")
            return True
        self.progress.set_interim(estimate(found))
        return False

    def make_schedule(self, described: dict, number: int) -> arrivals.Schedule:
        """Make the schedule of round `number`, the same for every arm. Raises Unavailable if it has no arrival."""
        seconds = described["seconds"]
        schedule = arrivals.parse(described["arrivals"]).schedule(seconds, self.options.seed + number - 1)
        if not len(schedule):
            why = schedule.note or "give more --seconds"
            raise Unavailable(f"{schedule.spec}: no arrival in a trial of {seconds:.3g} s; {why}")
        return schedule

    def choose_load(self, workload: Workload, budget: float) -> dict:
        """Choose a load that every arm can carry, the length of a trial, and the SLO: the workload's part of run.json.

        Trials are as long as lets all rounds fit into `budget` seconds, but never without arrivals.
        """
        print(f"{workload.name}: one request at a time, to find a load every arm can carry ...", flush=True)
        began = time.monotonic()
        means, inputs = self.unloaded_latency(workload), self.inputs[workload.name]
        arms = self.list_arms(workload)
        left = budget - (time.monotonic() - began)
        offered = self.options.offered.get(workload.name) or {
            "arrivals": self.options.arrivals or f"poisson:rate={derive_rate(means):g}",
            "seconds": round(max(SHORTEST, left / self.options.rounds / len(arms) - OVERHEAD), 1),
            "slo_ms": self.options.slo or derive_slo(means),
        }
        if workload.name not in self.options.offered:
            rate = None if self.options.arrivals else derive_rate(means)
            offered["seconds"] = lengthen(offered, rate, self.options)
        unloaded = ", ".join(f"{placement} {mean * 1e3:.3g} ms" for placement, mean in means.items())
        print(f"{workload.name}: {unloaded} back to back; offering {offered['arrivals']} for", end=" ")
        print(f"{offered['seconds']:g} s a trial; goodput counts answers within {offered['slo_ms']:g} ms", flush=True)
        note = self.make_schedule(offered, 1).note
        if note:
            print(f"{workload.name}: {note}", flush=True)
        return {
            **offered,
            **workload.describe(list(dict.fromkeys(arm.placement for arm in arms))),
            "trace": note,
            "library": next((arm.chosen for arm in arms if arm.chosen), ""),
            "back_to_back_seconds": means,
            "payloads": [payload.name for payload in inputs],
            "digest": payloads.digest(inputs),
        }

    def list_arms(self, workload: Workload) -> list[Arm]:
        """List every placement in every mode; with --control, the baseline arm twice."""
        library, n, placements = self.library(workload), len(self.cores), self.arms(workload)
        # A thread that waits for its answer cannot preprocess: more threads than cores keep the cores busy.
        workers = {"sequential": 1, "threads": max(4, n), "async": n}
        modes = [Mode(mode, workers[mode]) for mode in self.options.modes]
        if self.options.control:
            one = Arm(workload, placements[0], modes[0], library)
            described = self.described["workloads"].get(workload.name)
            if self.options.control == "aa":
                return [one, dataclasses.replace(one, control="again")]
            # Before the first measurement the delay is not known; then only the number of arms counts.
            delay = 0.1 * described["back_to_back_seconds"][placements[0]] if described else 0.0
            return [one, dataclasses.replace(one, control="slower", delay=delay)]
        return [Arm(workload, placement, mode, library) for placement in placements for mode in modes]


def estimate(found: Iterable[Sequence[comparison.Comparison]]) -> str:
    """Write the ratio of the medians so far, for the line of progress; that of the last mode, empty without any."""
    medians = [each for comparisons in found for each in comparisons if each.metric == "p50"]
    return "; ".join(f"p50 {each.names[1]}/{each.names[0]} {comparison.format_ratio(each)}" for each in medians[-1:])


def main() -> int:
    """Run `python -m loadgen.bench`. Returns the exit code."""
    return run_command(options.make_parser(), options.check, Comparison)
