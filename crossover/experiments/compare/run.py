"""The main question: which placement of the preprocessing is better, and by how much?

    crossover compare image audio --seconds 270
    crossover compare --continue reports/<time> --seconds 600

For each workload it measures unloaded pairs, one request at a time, and derives a load from them that the slowest arm
can carry. Then it offers every arm the same Poisson schedules: in rounds, in which every arm has one short trial, in an
order drawn anew. The figures are made from what lies in reports/<time>/, by compare/result.py.
"""

import contextlib
import dataclasses
import random
import time
from collections.abc import Sequence

import numpy as np

import arrivals
from common.figures import significant
from crossover.analysis.answer import compare_rounds, is_precise, pair_trials
from crossover.analysis.costs import Prices, parse_prices
from crossover.experiments.compare.load import OVERHEAD, UNLOADED, count_rounds, make_schedule, plan_load
from crossover.experiments.compare.look_record import list_looks, list_unloaded_looks
from crossover.experiments.compare.result import KIND, read_all_pairs
from crossover.experiments.server_experiment import ServerExperiment
from crossover.measurement import pairs as unloaded
from crossover.measurement.trial import Trial, read_trials
from crossover.parity import check as parity
from crossover.parity.wording import refuse
from loadgen.arm import Arm, Mode
from serving.server import Unavailable
from workloads import payloads
from workloads.workload import Workload

ENOUGH_ROUNDS = 20  # before --precision may end a workload early
STEPS = 5  # of the progress of unloaded pairs


class Comparison(ServerExperiment):
    """Unloaded pairs and interleaved rounds of every arm, workload by workload.

    A round holds each arm once, in an order drawn anew, on one schedule. It ends early once the interval is as narrow
    as --precision asks, or when the workload's time is over.
    """

    kind = KIND
    identity = ("workloads", "seconds", "arrivals", "arms", "library", "slo", "like")

    def __init__(self, options):
        super().__init__(options)
        self.delay = 0.0
        """Seconds by which the second arm of --control slow is later, until run.json says it."""
        self.parity: dict[str, dict] = {}
        """How the answers of each workload's placements differ, as `parity.Pair.as_dict`; with --control nothing."""
        for name, offered in options.offered.items():
            # The same load means nothing with other payloads.
            if offered["digest"] != payloads.digest(self.inputs[name]):
                same = f"give the same as --payloads {name}=DIR"
                raise ValueError(f"{options.like} sent other payloads for {name}: {same}")

    def measure(self) -> None:
        """Measure each workload; workloads share the time, and what --continue adds, by their `share`."""
        self.begin()
        total = sum(workload.share for workload in self.options.workloads.values())
        for workload in self.options.workloads.values():
            share = workload.share / total
            self.measure_workload(workload, self.options.seconds * share, self.options.more * share)
        self.complete()

    def describe(self) -> dict:
        """Return the content of run.json, with the rounds, modes and control. Raises Unavailable."""
        return {**super().describe(), **{key: getattr(self.options, key) for key in ("rounds", "modes", "control")}}

    def begin(self) -> None:
        """Begin as every experiment on a server, and note the prices. Raises ValueError and Unavailable as it does."""
        super().begin()
        if self.options.prices or "prices" not in self.described:
            given = self.options.prices
            self.described["prices"] = (parse_prices(given) if given else Prices()).as_dict()
            self.write()

    def try_out(self) -> None:
        """Send a few payloads by both placements, and note how the answers differ.

        Raises ValueError if they compute different things, unless --allow-different is given; Unavailable if no payload
        was answered by both.
        """
        if self.options.control:
            return
        self.server.field("/v2", "version")
        for name, workload in self.options.workloads.items():
            few = parity.choose_few(self.inputs[name])
            chosen, library = self.arms(workload), self.library(workload)
            [pair] = parity.check_placements(self.server.url, workload, chosen, library, few)
            self.parity[name] = pair.as_dict()
            if pair.verdict == parity.UNKNOWN:
                raise Unavailable(f"{name}: no payload was answered by both placements: {pair.unanswered[0]}")
            if pair.verdict == parity.DIFFERENT and not self.options.allow_different:
                raise ValueError(refuse(workload.file or name, self.parity[name]))

    def report(self, code: int, began: float) -> int:
        """Note in run.json that the data are looked at, then report them. Returns the exit code."""
        if self.begun:
            # What is damaged, or a full disk, is reported by what comes next.
            with contextlib.suppress(OSError, ValueError):
                run, trials = self.described, read_trials(self.directory)
                seen = list_unloaded_looks(run, trials, read_all_pairs(self.directory, run))
                run |= {"looks": list_looks(run, trials), "unloaded_looks": seen}
                self.write()
        return super().report(code, began)

    def measure_workload(self, workload: Workload, budget: float, more: float) -> None:
        """Measure what is missing of pairs and rounds: of `budget` seconds altogether, and of `more` added to them."""
        name = workload.name
        fresh = name not in self.described["workloads"]
        if fresh:
            self.described["workloads"][name] = self.choose_load(workload, budget + more)
            self.write()
        described = self.described["workloads"][name]
        if more and not fresh:
            described["unloaded_seconds"] += more * UNLOADED
            loaded = more * (1 - UNLOADED)
            added = max(1, count_rounds(loaded, len(self.list_arms(workload)), described["seconds"]))
            # What was planned and not measured, as an early end left it, is no part of what was asked for.
            described["rounds"] = self.count_measured(name) + added
            self.write()
        warm = self.measure_pairs(workload, described["unloaded_seconds"]) or fresh
        self.measure_rounds(workload, described, warm)

    def count_measured(self, name: str) -> int:
        """Return how many rounds of a workload have a trial that was measured to its end."""
        trials = [trial for trial in read_trials(self.directory) if trial.workload == name and trial.facts["complete"]]
        return max((trial.round for trial in trials), default=0)

    def measure_pairs(self, workload: Workload, seconds: float) -> bool:
        """Measure unloaded pairs until there are so many seconds of them. Returns whether any were missing.

        Raises Unavailable if the server is gone.
        """
        measured = unloaded.read_pairs(self.directory, workload.name)
        missing = seconds - sum(each.seconds for each in measured)
        if measured and missing < 1:
            return False
        print(f"{workload.name}: one request at a time, placements in turns, for {missing:.0f} s ...", flush=True)
        self.progress.start(STEPS, 0, missing / STEPS)
        shown = 0

        def show(share: float) -> None:
            nonlocal shown
            if share * STEPS > shown:
                shown += 1
                self.progress.show_trial(f"{workload.name}: unloaded pairs")

        first, second = self.list_unloaded_arms(workload)
        folder = self.directory / workload.name / unloaded.FOLDER
        inputs = self.inputs[workload.name]
        unloaded.measure_pairs(self.server, (first, second), inputs, folder, missing, self.options.seed, show)
        self.progress.finish_line()
        return True

    def measure_rounds(self, workload: Workload, described: dict, warm: bool) -> None:
        """Measure what is missing of all rounds, after warming up unless the server is `warm`."""
        name, rounds, arms = workload.name, described["rounds"], self.list_arms(workload)
        trials = [trial for trial in read_trials(self.directory) if trial.workload == name and trial.facts["complete"]]
        existing = {(trial.round, trial.arm) for trial in trials}
        missing, seconds = rounds * len(arms) - len(existing), described["seconds"] + OVERHEAD
        if missing > 0 and not warm:
            print(f"{name}: one request at a time, to warm up ...", flush=True)
            unloaded.warm_up(self.server, self.list_unloaded_arms(workload), self.inputs[name])
        # Repetitions come out of the same time: the last rounds are left out for them.
        self.retries.set_deadline(missing * seconds)
        self.progress.start(rounds * len(arms), len(existing), seconds)
        for number in range(1, rounds + 1):
            schedule = make_schedule(described, self.options.seed, number)
            # Drawn by name and seed: a run that is resumed keeps its order.
            order = random.Random(f"{name} {schedule.seed}").sample(arms, len(arms))
            lacking = [arm for arm in order if (number, str(arm)) not in existing]
            if lacking and self.retries.time_is_up:
                repeated = self.retries.repeated
                why = f", with {repeated} trial{'s' * (repeated != 1)} repeated" if repeated else ""
                self.progress.print_line(f"{name}: the time is up after round {number - 1} of {rounds}{why}")
                break
            trials += [self.measure_trial(arm, schedule, number) for arm in lacking]
            if lacking and self.is_enough(name, trials, number, rounds):
                break
        self.progress.finish_line()

    def measure_trial(self, arm: Arm, schedule: arrivals.Schedule, number: int) -> Trial:
        """Measure an arm's trial of round `number`. Raises Unavailable if the server is gone for good."""
        name = arm.workload.name
        self.progress.show_trial(f"{name} round {number}/{self.described['workloads'][name]['rounds']}: {arm}")
        path = self.directory / name / arm.slug / f"round-{number:02}"
        return self.retries.measure(arm, schedule, self.inputs[name], path, len(self.cores), number)

    def is_enough(self, name: str, trials: Sequence[Trial], number: int, rounds: int) -> bool:
        """Show the ratio after round `number`, without an interval. Returns whether to end the workload here.

        The interval's width decides that, and never where it lies: that would be a look which nobody has paid for.
        """
        described = self.described["workloads"][name]
        modes = dict.fromkeys(trial.mode for trial in trials)
        baseline, steps = next(iter(described["placements"])), described["steps"]
        pairs = unloaded.read_pairs(self.directory, name)
        found = [compare_rounds(pair_trials(trials, mode, baseline), steps, pairs) for mode in modes]
        ratios = [each.ratio for each in found if each and each.rounds]
        # Who asks for more seconds gets them.
        early = ENOUGH_ROUNDS <= number < rounds and not self.options.more
        if early and found and is_precise(found, self.options.precision):
            within = f"latency's ratio is known to within {self.options.precision * 100:g} %"
            self.progress.print_line(f"{name}: enough after round {number} of {rounds}: {within}")
            return True
        first, *_, second = self.list_arms(self.options.workloads[name])
        names = f"{second.control or second.placement}/{first.placement}"
        self.progress.set_interim(f"{names} {significant(ratios[-1].ratio)} so far" if ratios else "")
        return False

    def choose_load(self, workload: Workload, budget: float) -> dict:
        """Measure unloaded pairs, choose a load that every arm can carry, and plan the rounds.

        Returns the workload's part of run.json. Raises Unavailable if the server answers no pair.
        """
        began, name = time.monotonic(), workload.name
        if self.options.control == "slow":
            self.delay = 0.1 * self.unloaded_latency(workload)[self.arms(workload)[0]]
        self.measure_pairs(workload, budget * UNLOADED)
        means, inputs = self.mean_unloaded_latency(workload), self.inputs[name]
        arms = self.list_arms(workload)
        left = max(budget * (1 - UNLOADED) / 2, budget - (time.monotonic() - began))
        offered = self.options.offered.get(name) or plan_load(means, left, len(arms), self.options)
        alone = self.geometric_means(workload)
        shown = ", ".join(f"{placement} {significant(ms)} ms" for placement, ms in alone.items())
        rounds = f"{offered['rounds']} round{'s' * (offered['rounds'] != 1)}"
        print(f"{name}: latency alone {shown}; offering {offered['arrivals']} in {rounds}", end=" ")
        print(
            f"of {offered['seconds']:g} s a trial; goodput counts answers within {offered['slo_ms']:g} ms", flush=True
        )
        note = make_schedule(offered, self.options.seed, 1).note
        if note:
            print(f"{name}: {note}", flush=True)
        return {
            **offered,
            **workload.describe(list(dict.fromkeys(arm.placement for arm in arms))),
            "parity": self.parity.get(name),
            "share": workload.share,
            "unloaded_seconds": budget * UNLOADED,
            "trace": note,
            "library": next((arm.chosen for arm in arms if arm.chosen), ""),
            "delay": self.delay,
            "back_to_back_seconds": means,
            "payloads": [payload.name for payload in inputs],
            "digest": payloads.digest(inputs),
        }

    def mean_unloaded_latency(self, workload: Workload) -> dict[str, float]:
        """Return the mean seconds of an unloaded request by placement. Raises Unavailable if none was answered."""
        return self.by_placement(workload, self.unloaded_ms(workload).mean(axis=0) / 1e3)

    def geometric_means(self, workload: Workload) -> dict[str, float]:
        """Return the ms of an unloaded request by placement, as the row `latency alone` has them.

        Raises Unavailable as `mean_unloaded_latency` does.
        """
        return self.by_placement(workload, np.exp(np.log(self.unloaded_ms(workload)).mean(axis=0)))

    def unloaded_ms(self, workload: Workload) -> np.ndarray:
        """Return the ms of all unloaded pairs: (pairs, 2 arms). Raises Unavailable if none was answered."""
        times = unloaded.pool_service_ms(unloaded.read_pairs(self.directory, workload.name))
        if not len(times):
            raise Unavailable(f"{workload.name}: no pair of requests was answered by both placements")
        return times

    def by_placement(self, workload: Workload, figures: np.ndarray) -> dict[str, float]:
        """Return the figures of both unloaded arms by placement; with --control what the baseline has."""
        result: dict[str, float] = {}
        for arm, figure in zip(self.list_unloaded_arms(workload), figures, strict=True):
            result.setdefault(arm.placement, float(figure))
        return result

    def list_unloaded_arms(self, workload: Workload) -> list[Arm]:
        """List the two arms of unloaded pairs, the baseline first: every mode would send these one at a time."""
        first_mode = self.list_arms(workload)[:: len(self.options.modes)] if not self.options.control else None
        arms = first_mode or self.list_arms(workload)
        return [dataclasses.replace(arm, mode=Mode("sequential")) for arm in arms]

    def list_arms(self, workload: Workload) -> list[Arm]:
        """List every placement in every mode; with --control, the baseline arm twice."""
        library, n, placements = self.library(workload), len(self.cores), self.arms(workload)
        # A thread that waits for its answer cannot preprocess: more threads than cores keep the cores busy.
        workers = {"sequential": 1, "threads": max(4, n), "async": n}
        modes = [Mode(mode, workers[mode]) for mode in self.options.modes]
        if self.options.control:
            one = Arm(workload, placements[0], modes[0], library)
            if self.options.control == "aa":
                return [one, dataclasses.replace(one, control="again")]
            delay = self.described["workloads"].get(workload.name, {}).get("delay", self.delay)
            return [one, dataclasses.replace(one, control="slower", delay=delay)]
        return [Arm(workload, placement, mode, library) for placement in placements for mode in modes]
