"""Which of all placements? Any number of arms side by side, each with intervals against the first one.

    crossover placements image
    crossover placements image --arms client,client:uint8,server,server:scaled --seconds 300

Without --arms these are all that the workload has. Every arm is paired with the first one, one request at a time in
turns; then all arms are offered the same Poisson schedules, in rounds that hold each arm once, in an order drawn anew,
at a rate that the slowest one carries. Everything lies in reports/<time>-placements/.
"""

import random
from argparse import Namespace
from math import ceil

import arrivals
from arrivals.schedule import Schedule
from crossover.analysis.bootstrap import minimum_rounds
from crossover.experiments.options import check_run_options, check_server_options
from crossover.experiments.placements.result import KIND
from crossover.experiments.server_experiment import ServerExperiment
from crossover.measurement import pairs, resume
from crossover.measurement.unloaded_latency import derive_rate, derive_slo
from crossover.parity import check as parity
from crossover.parity.wording import refuse
from loadgen.arm import Arm, Mode
from serving.server import Unavailable
from workloads import catalogue, flags, optional
from workloads.workload import Workload

UNLOADED = 0.3
"""Share of a workload's time for pairs of single requests; rounds have the rest."""
SHORTEST, EXPECTED = 1.5, 8
"""Seconds of a trial's schedule, and arrivals in it, at least."""
OVERHEAD = 0.4  # seconds that a trial takes beyond its schedule


class Placements(ServerExperiment):
    """Measures every arm beside the first one: unloaded pairs, then interleaved rounds of all of them."""

    kind = KIND
    identity = ("workloads", "seconds", "arms", "library", "rate")

    def __init__(self, options: Namespace):
        super().__init__(options)
        self.parity: dict[str, list[dict]] = {}
        """Of each workload, how the answers of each arm differ from the first one's, as `parity.Pair.as_dict`."""

    def try_out(self) -> None:
        """Send a few payloads by every arm, and note how the answers differ.

        Raises ValueError if an arm computes something else than the first one without declaring a loss, unless
        --allow-different is given, and Unavailable if no payload was answered by both.
        """
        for name, workload in self.options.workloads.items():
            few, names, library = parity.choose_few(self.inputs[name]), self.arms(workload), self.library(workload)
            checked = parity.check_placements(self.server.url, workload, names, library, few)
            found = [pair for pair in checked if pair.names[0] == names[0]]
            for pair in found:
                if pair.verdict == parity.UNKNOWN:
                    raise Unavailable(f"{name}: no payload was answered by both placements: {pair.unanswered[0]}")
                if pair.verdict == parity.DIFFERENT and not self.options.allow_different:
                    raise ValueError(refuse(workload.file or name, pair.as_dict()))
            self.parity[name] = [pair.as_dict() for pair in found]

    def measure(self) -> None:
        """Measure each workload; they share the time."""
        self.begin()
        total = sum(workload.share for workload in self.options.workloads.values())
        for workload in self.options.workloads.values():
            self.measure_workload(workload, self.options.seconds * workload.share / total)
        self.complete()

    def measure_workload(self, workload: Workload, budget: float) -> None:
        """Measure what is missing of pairs and rounds, in about so many seconds altogether."""
        name = workload.name
        means = self.show_unloaded_latency(workload)  # which warms up as well
        if name not in self.described["workloads"]:
            self.described["workloads"][name] = self.choose_load(workload, means, budget)
            self.write()
        described = self.described["workloads"][name]
        self.measure_pairs(workload, described["pair_seconds"])
        arms, core_count = self.list_arms(workload), len(self.cores)
        plan = []
        for number in range(1, described["rounds"] + 1):
            schedule = self.make_schedule(described, number)
            # Drawn by name and seed: a run that is resumed keeps its order.
            order = random.Random(f"{name} {schedule.seed}").sample(arms, len(arms))
            plan += [(self.directory / name / arm.slug / f"round-{number:02}", arm, schedule, number) for arm in order]
        missing = [each for each in plan if not resume.completed_trial(*each[:3])]
        seconds = described["seconds"] + OVERHEAD
        self.retries.set_deadline(1.5 * len(missing) * seconds)
        self.progress.start(len(plan), len(plan) - len(missing), seconds)
        for path, arm, schedule, number in missing:
            self.progress.show_trial(f"{name} round {number}/{described['rounds']}: {arm.placement}")
            self.retries.measure(arm, schedule, self.inputs[name], path, core_count, number)
        self.progress.finish_line()

    def measure_pairs(self, workload: Workload, seconds: float) -> None:
        """Measure what is missing of the pairs of each arm with the first one, for so many seconds each."""
        first, *others = self.list_arms(workload)
        print(f"{workload.name}: one request at a time, each arm in turns with {first.placement} ...", flush=True)
        for arm in others:
            folder = self.directory / workload.name / arm.slug / pairs.FOLDER
            done = sum(each.seconds for each in pairs.read_pairs(self.directory, f"{workload.name}/{arm.slug}"))
            if seconds - done > 1:
                both, sent = (first, arm), self.inputs[workload.name]
                pairs.measure_pairs(self.server, both, sent, folder, seconds - done, self.options.seed)

    def list_arms(self, workload: Workload) -> list[Arm]:
        """List every arm, the first of --arms first."""
        mode = Mode("async", len(self.cores))
        return [Arm(workload, each, mode, self.library(workload)) for each in self.arms(workload)]

    def choose_load(self, workload: Workload, means: dict[str, float], budget: float) -> dict:
        """Choose the rate, the rounds and the length of a trial. Returns the workload's part of run.json.

        `means` are the unloaded latencies in seconds, by placement, `budget` the seconds of the workload.
        """
        arms = self.arms(workload)
        rate = self.options.rate or derive_rate(means)
        left = budget * (1 - UNLOADED)
        seconds = round(max(SHORTEST, EXPECTED / rate), 2)
        rounds = max(minimum_rounds(), int(left / len(arms) / (seconds + OVERHEAD)))
        print(f"{workload.name}: offering {rate:g}/s in {rounds} rounds of {seconds:g} s a trial", flush=True)
        return {
            **workload.describe(arms),
            "losses": {each: loss for each in arms if (loss := workload.placements[each].lossy)},
            "parity": self.parity.get(workload.name, []),
            "slugs": {arm.placement: arm.slug for arm in self.list_arms(workload)},
            "back_to_back_seconds": means,
            "arrivals": f"poisson:rate={rate:g}",
            "slo_ms": derive_slo(means),
            "rounds": rounds,
            "seconds": seconds,
            "pair_seconds": max(2.0, budget * UNLOADED / max(1, len(arms) - 1)),
            "library": self.list_arms(workload)[0].chosen,
            "payloads": [payload.name for payload in self.inputs[workload.name]],
        }

    def make_schedule(self, described: dict, number: int) -> Schedule:
        """Make the schedule of round `number`, the same for every arm."""
        return arrivals.parse(described["arrivals"]).schedule(described["seconds"], self.options.seed + number - 1)


def check(options: Namespace) -> None:
    """Check the options and complete them: `arms`, all that a workload has where --arms is left open.

    Raises ValueError in one line for a bad one.
    """
    given, references = options.arms, options.workloads
    check_server_options(options)
    if given is None:
        workloads = catalogue.find_all(references)
        options.arms = {name: list_every_arm(each, options.transport) for name, each in workloads.items()}
        options.workloads = flags.add_arms(workloads, options.arms, options.library)
    for name, chosen in options.arms.items():
        if len(chosen) < 2:
            raise ValueError(f"--arms takes at least two placements of {name}, not {chosen[0]} alone")
    if not 0 <= options.rate < float("inf"):
        raise ValueError(f"--rate takes requests per second, as 4, or 0 for its default, not {options.rate:g}")
    total = sum(workload.share for workload in options.workloads.values())
    trials = max(len(options.arms[name]) / each.share for name, each in options.workloads.items())
    least = ceil(trials * total * minimum_rounds() * (SHORTEST + OVERHEAD) / (1 - UNLOADED))
    check_run_options(options, least, f"{minimum_rounds()} rounds of every arm of {', '.join(options.workloads)}")


def list_every_arm(workload: Workload, transport: str | None) -> list[str]:
    """Return all arms that a workload has, with that transport where they can be asked over it; None: HTTP."""
    found = optional.list_possible(workload.bases)
    fixed = [name for name, placement in found.items() if placement.network or placement.gateway]
    return [name if name in fixed or not transport else f"{name}+{transport}" for name in found]
