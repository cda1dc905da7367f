"""Where does the answer change? The arms' ratio over the input's size, the network, the workers, the cores.

    crossover sweep --weights tiny --sweeps size,network --seconds 300

It starts servers of its own, with the real networks and with the tiny stand-in: an accelerator that is never the
bottleneck. At every point of a sweep both placements are offered the same schedules, in rounds of short trials, at 0.6
of what the slower one does back to back. Everything shown, report.html too, is a fold over the trials in
reports/<time>-crossover/.
"""

import os
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from crossover.experiments.experiment import Experiment
from crossover.experiments.options import check_rounds, check_run_options
from crossover.experiments.sweep import figures, grid, own_workloads
from crossover.experiments.sweep import result as sweep_result
from crossover.experiments.sweep.grid import Place, Sweep
from crossover.experiments.sweep.points import PointMeasurement
from crossover.experiments.sweep.record import OWN, PHRASES, describe_sweep, list_server_differences
from crossover.experiments.sweep.result import KIND
from crossover.experiments.sweep.site import Site, find_derived
from crossover.measurement import host, network_link, resume
from crossover.measurement.retry import Retries
from serving.server import Server
from serving.state import name
from serving.temporary_server import UNBOUNDED, temporary_server
from workloads import catalogue, flags

START = 20  # seconds until a server is up


class SweepExperiment(Experiment):
    """Sweeps, on servers of its own or on one that is up.

    `waiting` holds what is to be measured at each site, (weights, place), in this order; sweeps that need a place that
    this machine cannot make are left out, and the others have their time.
    """

    kind = KIND
    identity = ("sweeps", "workloads", "arms", "weights", "seconds", "url")

    def __init__(self, options):
        super().__init__(options)
        self.available = sorted(os.sched_getaffinity(0))
        self.checked = False
        """Whether every payload was sent once."""
        arms, cores = options.arms, len(self.available)
        self.sweeps, self.left_out = grid.planned(options.sweeps, options.workloads, arms, cores)
        self.up = Server.at(options.url, Path(options.state)) if options.url else None
        """The server of --url, if one is given."""
        self.weights = [self.up.state.get("weights", "real")] if self.up else options.weights
        places = {point.place for sweep in self.sweeps for point in sweep.points}
        if self.up and not self.up.state:
            self.left_out += [f"network and cores need servers of a launcher's here, unlike {options.url}"]
            places &= {Place()}
        if any(place.linked for place in places) and (why := network_link.missing(name(self.state))):
            self.left_out += [f"network, so the others have its time: no such link can be made here: {why}"]
            places -= {place for place in places if place.linked}
        # A sweep whose every place was left out has nothing to measure.
        self.sweeps = [sweep for sweep in self.sweeps if places & {point.place for point in sweep.points}]
        self.waiting: dict[tuple[str, Place], list[Sweep]] = {
            (weights, place): [sweep for sweep in self.sweeps if sweep.at(place)]
            for weights in self.weights
            # Places without a link come first: a link that cannot be made leaves the others measured.
            for place in sorted(places, key=lambda place: (place.linked, place.cores))
        }
        # Ten seconds for each sweep at each place, beside the servers' starts, are the least that makes sense.
        starting, parts = self.starting(self.waiting), sum(map(len, self.waiting.values()))
        if options.seconds - starting < (least := 10 * parts):
            raise ValueError(f"--seconds must be at least {starting + least} for these sweeps, not {options.seconds:g}")

    @property
    def state(self) -> Path:
        """The launcher's state directory of the servers that it starts."""
        return Path(self.options.state).resolve() / "crossover"

    def starting(self, sites: Iterable[tuple[str, Place]]) -> float:
        """Estimate the seconds until servers are up at all of these sites, (weights, place) each."""
        return START * sum(not (self.up and place == Place()) for _, place in sites)

    def shares(self) -> list[float]:
        """Return the relative time that each of the sweeps to come needs."""
        return [share(weights, sweep, place) for (weights, place), each in self.waiting.items() for sweep in each]

    def budget(self) -> float:
        """Return the seconds for the next sweep at the server that is up.

        It is the sweep's share of what is left of --seconds for all to come, less the time until their servers are up.
        """
        _, *later = self.waiting
        shares = self.shares()
        return (self.end - time.monotonic() - self.starting(later)) * shares[0] / sum(shares)

    def name_models(self, weights: str) -> str:
        """Return what lines call the models of a server with these weights: one that is up may have none of ours."""
        ours = not self.up or self.up.state.get("weights") in PHRASES
        return weights if ours else OWN

    def plan(self) -> str:
        """Write what is going to be swept, for about how long, and what is left out and why."""
        sweeps = [f"{sweep.workload.name}: {sweep.title} ({len(sweep.points)} points)" for sweep in self.sweeps]
        lines = [
            f"{' and '.join(map(self.name_models, self.weights))}: {'; '.join(sweeps) or 'nothing to sweep'}",
            f"{self.options.rounds} rounds at each point, about {self.options.seconds / 60:.1f} min in all (--seconds)",
        ]
        return "\n".join([*lines, *(f"left out: {why}" for why in self.left_out)])

    def describe(self) -> dict:
        """Return the content of run.json at the beginning: no sweeps yet. Raises Unavailable."""
        return {**super().describe(), "rounds": self.options.rounds, "left_out": self.left_out, "sweeps": {}}

    def measure(self) -> None:
        """Measure the sweeps site by site, so that each server is started once."""
        print(self.plan(), flush=True)
        own_workloads.check_prepare(self.options.workloads, self.options.arms, self.up)
        if self.up:
            self.check_payloads(self.up)
        self.begin()
        seconds = self.options.seconds
        if self.options.continued:
            self.left_out = self.described["left_out"]
            seconds *= self.drop_finished()
        self.end = time.monotonic() + seconds
        while self.waiting:
            weights, place = next(iter(self.waiting))
            try:
                self.measure_at(weights, place)
            except network_link.Missing as missing:
                self.leave_out(f"network: no such link can be made here: {missing}")
            del self.waiting[weights, place]
        self.complete()

    def check_payloads(self, server: Server) -> None:
        """Send the payloads of users' own workloads, to the first server that is up. Raises ValueError."""
        if not self.checked:
            own_workloads.check_payloads(self.options.workloads, self.options.arms, server)
        self.checked = True

    def remarks(self) -> list[str]:
        """Return what was left out, and why, a line each."""
        return [f"left out: {why}" for why in self.left_out]

    def drop_finished(self) -> float:
        """Drop the sweeps that an interrupted run has finished; returns the share of the time that the others need."""
        total = sum(self.shares())
        for (weights, place), each in list(self.waiting.items()):
            left = [sweep for sweep in each if not self.points_of(weights, sweep, place).finished]
            self.waiting[weights, place] = left
            if not left:
                del self.waiting[weights, place]
        return sum(self.shares()) / total if total else 0

    def measure_at(self, weights: str, place: Place) -> None:
        """Measure all sweeps with points at one place. Raises Missing if there is no such place on this machine."""
        began, left = time.monotonic(), self.waiting[weights, place]
        with self.site(weights, place) as site:
            self.check_payloads(site.server)
            if site.server is not self.up:
                self.end += max(0, time.monotonic() - began - START)  # a slow start is not at the sweeps' expense
            while left:
                self.sweep(site, left[0], place)
                # Only now: `budget` counts the sweep that is being measured among those to come.
                left.pop(0)

    @contextmanager
    def site(self, weights: str, place: Place) -> Iterator[Site]:
        """Provide a server at that place: the one that is up if it suits, else one of its own, gone afterwards."""
        if self.up and place == Place():
            yield Site(weights, self.up)
            return
        state, engine = self.state, self.options.engine
        cores = ",".join(map(str, self.available[-place.cores :])) if place.cores else ""
        print(f"\nstarting a server with {weights} weights{' behind a link' * place.linked} ...", flush=True)
        host.pin(self.available)  # the server inherits it
        if not place.linked:
            with temporary_server(state, weights, engine, cores, slo=UNBOUNDED) as server:
                yield Site(weights, server)
            return
        derived = find_derived(self.sweeps)
        with network_link.link(name(state)) as link:
            if why := link.distance():
                self.leave_out(f"network delay: this kernel has no netem, so the link adds no distance: {why}")
            with network_link.server_behind_link(link, state, weights, cores, derived) as server:
                yield Site(weights, server, link)

    def points_of(self, weights: str, sweep: Sweep, place: Place) -> PointMeasurement:
        """Return the measurement of a sweep's points at one place, with what is known of them in run.json."""
        path, options = f"{weights}/{sweep.slug}", self.options
        known = self.described["sweeps"].get(path, {})
        return PointMeasurement(sweep, sweep.at(place), self.directory / path, known, options.rounds, options.seed)

    def sweep(self, site: Site, sweep: Sweep, place: Place) -> None:
        """Measure a sweep's points at one place, and print its table. Raises ValueError if the server differs."""
        sweep = sweep.complete(site.server.url)
        client = self.client_cores(site.server)
        path, about = f"{site.weights}/{sweep.slug}", describe_sweep(site, sweep, client)
        known = self.described["sweeps"].setdefault(path, about)
        resume.refuse_differences(self.directory, list_server_differences(known, about))
        measurement = self.points_of(site.weights, sweep, place)
        models = self.name_models(site.weights)
        named, budget = f"{models}, {sweep.workload.name}: {sweep.title}", self.budget()
        end = time.monotonic() + budget
        if not measurement.loads:
            print(f"{named}: one request at a time, to find a load for every point ...", flush=True)
            if slow := measurement.choose_loads(site, client, measurement.plan_time(budget), measurement.points):
                self.leave_out(f"{named}: {', '.join(slow)}: too slow for {budget:.0f} s; give more --seconds")
            self.write()
        retries = Retries(lambda: self.reconnect(site), self.progress.print_line)
        measurement.measure(site, client, self.progress, retries)
        if sweep.between and not known.get("closer_look"):
            entries, left = figures.evaluate(self.directory, path, known), end - time.monotonic()
            if point := measurement.add_point(site, client, left, entries):
                print(f"{named}: one more point near the crossing, {point.x:.4g} {sweep.unit}", flush=True)
            self.write()
            if point:
                measurement.measure(site, client, self.progress, retries)
        for entry in figures.evaluate(self.directory, path, known):
            print(sweep_result.table(entry), flush=True)

    def reconnect(self, site: Site) -> Server:
        """Return the site's server, also if it was restarted and is another by now."""
        if site.link:
            return site.server
        return Server.at(site.server.url, Path(self.options.state) if site.server is self.up else self.state)

    def client_cores(self, server: Server) -> list[int]:
        """Return the cores that the server does not use; all if it uses every one."""
        return [core for core in self.available if core not in server.cores] or self.available

    def leave_out(self, why: str) -> None:
        """Print, and note in run.json, what is left out and why; once for the same reason."""
        if why not in self.left_out:
            self.left_out.append(why)
            print(f"  left out: {why}", flush=True)


def share(weights: str, sweep: Sweep, place: Place) -> float:
    """Return the relative time of a sweep's points at one place: a slow link takes most of it."""
    arms, weight = 1 + len(sweep.baselines), sweep.workload.sweep_shares.get(weights, 1)
    return weight * arms * sum(1 + 50 / (point.mbit or np.inf) for point in sweep.at(place))


def check(options: Namespace) -> None:
    """Turn the lists with commas into lists, names into workloads. Raises ValueError that names the good values."""
    for flag, good in (("sweeps", grid.NAMES), ("weights", PHRASES)):
        values = list(dict.fromkeys(getattr(options, flag).split(",")))
        if unknown := [value for value in values if value not in good]:
            raise ValueError(f"unknown --{flag} {unknown[0]!r}; try some of {', '.join(good)}, with commas")
        setattr(options, flag, values)
    options.workloads = catalogue.find_all(options.workloads)
    options.arms = flags.choose_arms(options.arms, options.workloads, 2)
    flags.refuse_transports(options.arms, "sweep")
    flags.refuse_optional(options.arms, options.workloads, "sweep")
    check_run_options(options)
    check_rounds(options)
