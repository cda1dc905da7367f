"""How much can an arm carry, and how does it take bursts?

    crossover capacity image audio --slo 100 --percentile 99
    crossover capacity image --arms client,server,mixed:best --link 20

The capacity is the Poisson rate at which the percentile of latency reaches the SLO. All arms are probed in turns: each
probe's rate is higher than the arm's one before if that kept the SLO, lower if not, so that no lucky probe is final and
every arm meets the same hour of the machine; `crossover.analysis.capacity_pairs` makes intervals of them. Then the arms
are offered shares of their capacity, from evenly spaced to very bursty. Everything lies in reports/<time>-capacity/:
report.html, capacity.json, and each probe as a trial.

With --link the server is one of its own, at the far end of a link of that rate in Mbit/s, and it refuses nothing.
"""

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from math import inf
from pathlib import Path

import numpy as np

from common import atomic_write
from crossover.analysis.capacity_pairs import choose_rate
from crossover.experiments.capacity import search
from crossover.experiments.capacity.best_share import add_shares, list_shares, measure_balance
from crossover.experiments.capacity.check_link import check_link
from crossover.experiments.capacity.estimates import estimate_capacities, find_best_share
from crossover.experiments.capacity.plan import FEWEST_TURNS, Plan, choose_plan, least_seconds, list_plans
from crossover.experiments.capacity.probe import Prober
from crossover.experiments.capacity.result import KIND
from crossover.experiments.options import check_run_options, check_server_options
from crossover.experiments.server_experiment import ServerExperiment
from crossover.measurement import network_link
from crossover.measurement.retry import SPARE
from crossover.measurement.unloaded_latency import SLO_FACTOR, derive_slo
from loadgen.arm import Arm, Mode
from serving import state as records
from serving.server import Server
from workloads.optional import BEST, EVEN
from workloads.transport_choice import split_name
from workloads.workload import Workload

SEEDS_BEFORE_TURNS = 100
"""More than the probes before the turns: each probe of an arm has arrivals of its own."""


class Capacity(ServerExperiment):
    """Searches for the capacities of the arms of each workload, then offers each arm bursts.

    What there is time for is chosen before the search (`plan.choose_plan`) and noted in run.json. Interrupted, it
    repeats its search from the trials that are there: the same outcomes lead to the same probes.
    """

    kind = KIND
    identity = ("workloads", "seconds", "library", "slo", "percentile", "arms", "loads", "link", "weights")

    linked: Server | None = None
    """That of --link, once it is up."""

    def __init__(self, options):
        super().__init__(options)
        self.result: dict[str, dict] = {}

    def measure(self) -> None:
        """Search the capacities of the arms of each workload, and offer them bursts."""
        with self.place_server():
            self.begin()
            end, names = time.monotonic() + self.options.seconds, self.options.workloads
            for done, workload in enumerate(names.values()):
                self.measure_workload(workload, (end - time.monotonic()) / (len(names) - done))
            self.complete()

    @contextmanager
    def place_server(self) -> Iterator[None]:
        """With --link, start a server at its far end for the length of the block. Raises Unavailable if that fails."""
        mbit, weights = self.options.link, self.options.weights
        if not mbit:
            yield
            return
        state = Path(self.options.state).resolve() / KIND.name
        if why := network_link.missing(records.name(state)):
            raise network_link.Missing(f"--link: no link can be made here: {why}")
        print(f"starting a server with {weights} weights behind a link of {mbit:g} Mbit/s ...", flush=True)
        with network_link.link(records.name(state)) as link:
            link.limit(mbit)
            with network_link.server_behind_link(link, state, weights) as server:
                self.linked, self.options.url, self.options.state = server, server.url, str(state)
                self.take_server()
                try:
                    yield
                finally:
                    self.extra.unload()  # as long as the server is there

    def locate_server(self) -> Server:
        """Return the server at --url, or that of --link: its address is its namespace's, not this machine's."""
        if not self.linked:
            return super().locate_server()
        return replace(self.linked, state=records.read(Path(self.options.state)) or {})

    def write(self) -> None:
        """Write run.json, and the result so far: which probe comes next depends on what the one before came to."""
        super().write()
        atomic_write.write_json(self.directory / KIND.file, self.result)

    def measure_workload(self, workload: Workload, budget: float) -> None:
        """Find the capacity of each arm, then offer it bursts; about `budget` seconds."""
        name = workload.name
        workload, shares = self.choose_shares(workload)
        if name in self.described["workloads"]:
            self.show_unloaded_latency(workload)  # to warm up
        else:
            self.described["workloads"][name] = {**self.choose_limits(workload, budget), "shares": shares}
            self.write()
        described, probers = self.described["workloads"][name], self.make_probers(workload)
        about = {key: described[key] for key in ("subject", "placements", "percentile", "slo_ms")}
        about |= {"arms": [str(each.arm) for each in probers], "requests": 0, "planned_turns": described["turns"]}
        about |= {"shares": described.get("shares"), "link_mbit": self.options.link}
        result = self.result[name] = {**about, "probes": [], "burstiness": []}
        end = time.monotonic() + budget * SPARE
        # What an interruption leaves of the search is part of the result, too.
        try:
            self.take_turns(probers, result, end)
        finally:
            self.note_probes(probers, result)
        for prober, found in zip(probers, result["capacity"], strict=True):
            # Of the shares that mixed:best stands for, the best one alone is offered bursts.
            lower = shares and prober.arm.placement in shares["arms"] and found["arm"] != find_best_share(result)
            for load in described["loads"] if found["rate"] and not lower else ():
                if time.monotonic() > end:
                    print(f"  {prober.name}: no bursts at {load:g} of its capacity, for want of time", flush=True)
                    continue
                result["burstiness"] += prober.measure_bursts(found["rate"], load)
                self.write()

    def choose_shares(self, workload: Workload) -> tuple[Workload, dict | None]:
        """Return the workload with shares in place of mixed:best, if that is asked for, and `shares` of capacity.json.

        The balance of an interrupted run is kept.
        """
        arms = self.arms(workload)
        if not (asked := [each for each in arms if split_name(each)[0] == BEST]):
            return workload, None
        found, count = self.described["workloads"].get(workload.name, {}).get("shares"), len(self.cores)
        if not found:
            print(f"\n{workload.name}: what a request costs either side ...", flush=True)
            inputs, library = self.inputs[workload.name], self.library(workload)
            mbit = self.options.link or inf
            balance = measure_balance(self.server, workload, asked[0], library, inputs, count, mbit)
            found = {"balance": balance, "arms": []}
        tried = list_shares(found["balance"])
        workload, names = add_shares(workload, asked[0], tried)
        print(f"balance at {found['balance']:g} by the client: tries {', '.join(names)}", flush=True)
        self.options.workloads[workload.name] = workload
        arms = list(dict.fromkeys([*(each for each in arms if each != asked[0]), *names]))
        # Another dict: run.json holds the one with mixed:best, by which --continue knows the run.
        self.options.arms = {**self.options.arms, workload.name: arms}
        return workload, {**found, "arms": names}

    def make_probers(self, workload: Workload) -> list[Prober]:
        """Return a prober for each arm, the baseline first.

        Each client works asynchronously, with as many workers as it has cores.
        """
        described, inputs = self.described["workloads"][workload.name], self.inputs[workload.name]
        limits, count = (described["slo_ms"], described["percentile"]), len(self.cores)
        arms = [Arm(workload, each, Mode("async", count), self.library(workload)) for each in self.arms(workload)]
        seed, linked = self.options.seed, bool(self.options.link)
        return [Prober(self.retries, arm, inputs, self.directory, count, *limits, seed, linked) for arm in arms]

    def take_turns(self, probers: Sequence[Prober], result: dict, end: float) -> None:
        """Look for the rates to start from, then probe all arms in turns, in drawn order, with the same arrivals.

        After `end`, an instant of the monotonic clock, only FEWEST_TURNS are completed.
        """
        described = self.described["workloads"][probers[0].arm.workload.name]
        first = float(f"{search.START / max(described['back_to_back_seconds'].values()):.2g}")
        starts = [prober.find_start(first) for prober in probers]
        rates = {i: rate for i, rate in enumerate(starts) if rate}
        if not rates:
            return
        # As many for every arm: what counts as the capacity depends on how long a probe is.
        slo, percentile, seed = described["slo_ms"], described["percentile"], self.options.seed
        result["requests"] = search.probe_requests(max(rates.values()) / 2**0.5, slo, percentile)
        rng = np.random.default_rng([seed, len(probers)])
        for turn in range(described["turns"]):
            if turn >= FEWEST_TURNS and time.monotonic() > end:
                print(f"  {turn} turns instead of {described['turns']}, for want of time", flush=True)
                break
            for i in rng.permutation(list(rates)):
                arrivals = seed + SEEDS_BEFORE_TURNS + turn
                probe = probers[i].take_turn(turn, rates[i], result["requests"], arrivals)
                rates[i] = choose_rate(rates[i], np.inf if probe.ms is None else probe.ms, slo, turn)
            self.note_probes(probers, result)

    def note_probes(self, probers: Sequence[Prober], result: dict) -> None:
        """Write the probes so far, and what follows from them: capacities and ratios, as far as the turns go.

        An interruption may leave a turn in which not every arm was probed: `estimate_capacities` leaves it out.
        """
        result["probes"] = [asdict(probe) for prober in probers for probe in prober.probes]
        result |= estimate_capacities(result)
        self.write()

    def choose_limits(self, workload: Workload, budget: float) -> dict:
        """Choose the SLO, and the percentile, the turns and the loads of the bursts that take at most `budget` seconds.

        Returned as the workload's part of run.json; printed with the time that it takes.
        """
        options, means = self.options, self.show_unloaded_latency(workload)
        slo = options.slo or derive_slo(means)
        plans = list_plans(options.percentile, options.loads)
        plan, seconds = choose_plan(plans, budget, list(means.values()), slo)
        rule = "--slo" if options.slo else f"{SLO_FACTOR} times the slower placement's unloaded latency"
        minutes = f"about {seconds / 60:.2g} min"
        if missing := plan.describe_missing(whole := Plan(plan.percentile, plans[0].turns, plans[0].loads)):
            all_of_it = whole.estimate(max(means.values()), slo) * len(means) / 60
            minutes += f"; {missing}, for want of time: all take {all_of_it:.2g} min"
        if seconds > budget:
            minutes += f" instead of {budget / 60:.2g} (--seconds): {plan.turns} turns of every arm are the fewest"
            minutes += "; one workload, one of --arms or a lower --slo are shorter"
        print(f"{workload.name}: p{plan.percentile:g} at most {slo:g} ms ({rule}); {minutes}", flush=True)
        arms = [Arm(workload, each, Mode("async"), self.library(workload)) for each in self.arms(workload)]
        return {
            **workload.describe(self.arms(workload)),
            "back_to_back_seconds": means,
            "slo_ms": slo,
            "percentile": plan.percentile,
            "turns": plan.turns,
            "loads": list(plan.loads),
            "library": next((arm.chosen for arm in arms if arm.chosen), ""),
            "payloads": [payload.name for payload in self.inputs[workload.name]],
        }


def parse_loads(text: str | None) -> list[float] | None:
    """Parse --loads, shares of the capacity with commas; None if it is left out. Raises ValueError."""
    if text is None:
        return None
    try:
        loads = [float(each) for each in text.split(",") if each]
    except ValueError:
        loads = [0.0]
    if not all(0 < load <= 1 for load in loads):
        raise ValueError(f"--loads are shares of the capacity, above 0 and at most 1, not {text!r}")
    return loads


def check(options: Namespace) -> None:
    """Check the options. Raises ValueError for a bad one."""
    options.loads = parse_loads(options.loads)
    if options.slo < 0 or not np.isfinite(options.slo):
        raise ValueError(f"--slo must be a positive number of ms, or 0 for its default, not {options.slo:g}")
    if options.percentile and not 50 <= options.percentile <= 99.9:
        raise ValueError(f"--percentile must lie between 50 and 99.9, not {options.percentile:g}")
    check_server_options(options, searches=True)
    check_link(options)
    for name, arms in options.arms.items():
        if sum(split_name(each)[0] == BEST for each in arms) > 1:
            raise ValueError(
                f"--arms names {BEST} of {name} more than once; its shares are searched over one transport"
            )
    what = f"the fewest probes of every arm of {', '.join(options.workloads)}"
    counted = {name: count_arms(arms) for name, arms in options.arms.items()}
    check_run_options(options, least_seconds(counted, options.percentile, options.loads), what)


def count_arms(arms: Sequence[str]) -> int:
    """Return how many arms are probed: mixed:best stands for as many as there are shares."""
    return sum(len(list_shares(EVEN)) if split_name(each)[0] == BEST else 1 for each in arms)
