"""Where does the answer change? The ratio server / client over the input's size, the network, the workers, the cores.

    python -m loadgen.crossover --weights tiny --sweeps size,network --seconds 300

It starts servers of its own, with the real networks and with the tiny stand-in: an accelerator that is never the
bottleneck. At every point of a sweep both placements are offered the same schedules, in rounds of short blocks, at 0.6
of what the slower one does back to back. Everything shown, report.html too, is a fold over the blocks in
reports/<time>-crossover/.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from loadgen import arrivals, blocks, crossing, files, machine, network, report, sweeps
from loadgen.alone import back_to_back
from loadgen.arms import Arm, Mode
from loadgen.bench import stamp
from loadgen.measure import measure
from loadgen.progress import Progress, quietly
from loadgen.schedule import Schedule
from loadgen.serverside import Server, Unavailable
from loadgen.sites import Site, behind, heed_sigterm, launched
from loadgen.sweeps import Place, Point, Sweep
from loadgen.workloads import WORKLOADS
from serving.state import name

UTILISATION = 0.6  # offered load as a share of what the slower placement does back to back
LEAST, MOST = 11, 100  # arrivals in a block: 6 rounds of 11 are enough for an interval of the median
WEIGHT = {"tiny": {"image": 1, "audio": 1}, "real": {"image": 3, "audio": 10}}  # of the time, as that of a request
START = 20  # seconds until a server is up
PHRASES = {"tiny": "an accelerator that is never the bottleneck (tiny stand-in)", "real": "the real network"}


class Crossover:
    """One directory of sweeps."""

    def __init__(self, options):
        self.options = options
        self.available = sorted(os.sched_getaffinity(0))
        self.sweeps, self.left_out = sweeps.planned(options.sweeps, options.workloads, len(self.available))
        self.given = Server.at(options.url, Path(options.state)) if options.url else None
        self.weights = [self.given.state.get("weights", "real")] if self.given else options.weights
        places = {point.place for sweep in self.sweeps for point in sweep.points}
        if self.given and not self.given.state:
            self.left_out += [f"network and cores need servers of a launcher's here, unlike {options.url}"]
            places &= {Place()}
        if any(place.linked for place in places) and (why := network.missing(name(self.state))):
            self.left_out += [f"network, so the others have its time: no such link can be made here: {why}"]
            places -= {place for place in places if place.linked}
        self.sweeps = [sweep for sweep in self.sweeps if places & {point.place for point in sweep.points}]
        self.waiting = {
            (weights, place): [sweep for sweep in self.sweeps if sweep.at(place)]
            for weights in self.weights
            for place in sorted(places, key=lambda place: (place.linked, place.cores))
        }
        starting, parts = self.starting(self.waiting), sum(map(len, self.waiting.values()))
        if options.seconds - starting < (least := 10 * parts):
            raise ValueError(f"--seconds must be at least {starting + least} for these sweeps, not {options.seconds:g}")
        self.directory = Path(options.reports) / f"{stamp()}-crossover"
        self.progress = Progress()
        self.described: dict = {}

    @property
    def state(self) -> Path:
        """Of own servers."""
        return Path(self.options.state).resolve() / "crossover"

    def starting(self, sites: Iterable[tuple[str, Place]]) -> float:
        """Seconds until servers are up at all of these."""
        return START * sum(not (self.given and place == Place()) for _, place in sites)

    def budget(self) -> float:
        """Seconds for the sweep that is next at the server that is up: its share of what there is for all to come."""
        _, *later = self.waiting
        shares = [share(weights, sweep, place) for (weights, place), each in self.waiting.items() for sweep in each]
        return (self.end - time.monotonic() - self.starting(later)) * shares[0] / sum(shares)

    def plan(self) -> str:
        told = [f"{sweep.workload.name}: {sweep.title} ({len(sweep.points)} points)" for sweep in self.sweeps]
        lines = [
            f"{' and '.join(self.weights)}: {'; '.join(told) or 'nothing to sweep'}",
            f"{self.options.rounds} rounds at each point, about {self.options.seconds / 60:.1f} min in all (--seconds)",
        ]
        return "\n".join([*lines, *(f"left out: {why}" for why in self.left_out)])

    def run(self) -> None:
        self.described = {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "complete": False,
            "argv": ["python", "-m", "loadgen.crossover", *sys.argv[1:]],
            "seed": self.options.seed,
            "rounds": self.options.rounds,
            "machine": machine.describe(),
            "left_out": self.left_out,
            "sweeps": {},
        }
        self.directory.mkdir(parents=True)
        self.end = time.monotonic() + self.options.seconds
        while self.waiting:
            weights, place = next(iter(self.waiting))
            try:
                self.at(weights, place)
            except network.Missing as missing:
                self.leave_out(f"network: no such link can be made here: {missing}")
            del self.waiting[weights, place]
        self.described["complete"] = True
        self.write()

    def at(self, weights: str, place: Place) -> None:
        began, left = time.monotonic(), self.waiting[weights, place]
        with self.site(weights, place) as site:
            if site.server is not self.given:
                self.end += max(0, time.monotonic() - began - START)  # a slow start is not at the sweeps' expense
            while left:
                self.sweep(site, left[0], left[0].at(place))
                left.pop(0)

    @contextmanager
    def site(self, weights: str, place: Place) -> Iterator[Site]:
        if self.given and place == Place():
            yield Site(weights, self.given)
            return
        state, engine = self.state, self.options.engine
        cores = ",".join(map(str, self.available[-place.cores :])) if place.cores else ""
        print(f"\nstarting a server with {weights} weights{' behind a link' * place.linked} ...", flush=True)
        machine.pin(self.available)  # the server inherits it
        if not place.linked:
            with launched(state, weights, engine, cores) as server:
                yield Site(weights, server)
            return
        as_bytes = any("UINT8 tensor" in sweep.forms for sweep in self.sweeps)
        with network.link(name(state)) as link:
            if why := link.distance():
                self.leave_out(f"network delay: this kernel has no netem, so the link adds no distance: {why}")
            with behind(link, state, weights, cores, as_bytes) as server:
                yield Site(weights, server, link)

    def sweep(self, site: Site, sweep: Sweep, points: list[Point]) -> None:
        """Every point in every round."""
        path, rounds = f"{site.weights}/{sweep.slug}", self.options.rounds
        described = self.described["sweeps"].setdefault(path, self.about(site, sweep))
        loads = self.loads(site, sweep, points)
        for point, rate, seconds in loads:
            kilobytes = round(float(np.mean([len(payload.encoded) for payload in point.sent()])) / 1e3, 1)
            about = {"arrivals": f"poisson:rate={rate:g}", "seconds": seconds, "kilobytes": kilobytes}
            described["points"].append({"x": point.x, "label": point.label, **about})
        self.write()
        mean = sum(seconds + sweeps.OVERHEAD for _, _, seconds in loads) / max(1, len(loads))
        self.progress.begin(rounds * len(loads) * (1 + len(sweep.clients)), 0, mean)
        own = {point.label: [] for point, *_ in loads}
        for turn in range(1, rounds + 1):
            for point, rate, seconds in loads:
                schedule = arrivals.parse(f"poisson:rate={rate:g}").schedule(seconds, self.options.seed + turn - 1)
                if len(schedule):
                    folder = self.directory / path / point.label
                    own[point.label] += self.round(site, sweep, point, folder, turn, schedule)
            self.progress.tell(crossing.running(own.values(), next(iter(sweep.clients))))
        self.progress.end()
        for entry in crossing.evaluate(self.directory, path, described):
            print(crossing.table(entry), flush=True)

    def loads(self, site: Site, sweep: Sweep, points: list[Point]) -> list[tuple[Point, float, float]]:
        """(point, rate that both placements can carry, seconds of a block) of those that there is time for."""
        rounds, arms, budget, began = self.options.rounds, 1 + len(sweep.clients), self.budget(), time.monotonic()
        named = f"{site.weights}, {sweep.workload.name}: {sweep.title}"
        print(f"{named}: one request at a time, to find a load for every point ...", flush=True)
        rates: dict[str, float] = {}
        for point in sorted(points, key=ease):
            self.prepare(site, point)
            times = [back_to_back(site.server, form, "", point.sent()) for form in sweep.clients.values()]
            rate = float(f"{UTILISATION / max(max(each.values()) for each in times):.2g}")
            left = budget - (time.monotonic() - began)
            if rounds * arms * LEAST / rate > left:
                break  # the others take longer still
            rates[point.label] = rate
        measured = [point for point in points if point.label in rates]
        found = sweeps.lengths([rates[each.label] for each in measured], arms, rounds, left, LEAST, MOST)
        kept = [(p, rates[p.label], seconds) for p, seconds in zip(measured, found, strict=True) if seconds]
        if slow := [point.label for point in points if point not in [each[0] for each in kept]]:
            self.leave_out(f"{named}: {', '.join(slow)}: too slow for {budget:.0f} s; give more --seconds")
        return kept

    def prepare(self, site: Site, point: Point) -> int:
        """How many cores the client has at this point."""
        cores = self.apart(site.server)[: point.client_cores or None]
        machine.pin(cores)
        if site.link:
            site.link.limit(point.mbit)
        return len(cores)

    def apart(self, server: Server) -> list[int]:
        """The client's cores: all that the server leaves."""
        return [core for core in self.available if core not in server.cores] or self.available

    def round(
        self, site: Site, sweep: Sweep, point: Point, folder: Path, turn: int, schedule: Schedule
    ) -> list[blocks.Block]:
        cores = self.prepare(site, point)
        mode = Mode("async", point.workers or cores)
        arms = {crossing.folder(form): Arm(each, "client", mode) for form, each in sweep.clients.items()}
        arms["server"] = Arm(sweep.workload, "server", mode)
        made = []
        for arm in random.Random(f"{folder.name} {schedule.seed}").sample(list(arms), len(arms)):
            self.progress.now(f"{sweep.workload.name} {point.label} round {turn}/{self.options.rounds}: {arm}")
            path = folder / arm / f"round-{turn:02}"
            made.append(measure(site.server, arms[arm], schedule, point.sent(), path, cores, turn))
        return made

    def about(self, site: Site, sweep: Sweep) -> dict:
        model = sweep.workload.client.model
        facts = site.server.facts((model,))
        origin = facts["models"][model].get("provenance", {}).get("weights", "unknown")
        return {
            "workload": sweep.workload.name,
            "sweep": sweep.title,
            "unit": sweep.unit,
            "network": f"{site.weights} ({origin} weights)",
            "regime": PHRASES[site.weights],
            "forms": list(sweep.clients),
            "server": {**facts, "engine": site.server.state.get("engine"), "cores": site.server.cores},
            "client_cores": self.apart(site.server),
            "points": [],
        }

    def leave_out(self, why: str) -> None:
        if why not in self.left_out:
            self.left_out.append(why)
            print(f"  left out: {why}", flush=True)

    def write(self) -> None:
        files.write_json(self.directory / "run.json", self.described)


def share(weights: str, sweep: Sweep, place: Place) -> float:
    """Of the time, for the points at that place: a slow link takes most of it."""
    arms, weight = 1 + len(sweep.clients), WEIGHT[weights][sweep.workload.name]
    return weight * arms * sum(1 + 50 / (point.mbit or np.inf) for point in sweep.at(place))


def ease(point: Point) -> float:
    """Ascends with the time that a request takes."""
    return -point.mbit if point.mbit else point.x


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.crossover", description="Sweep what decides.")
    parser.add_argument("--sweeps", default=",".join(sweeps.NAMES), help="default: %(default)s")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="default: %(default)s")
    parser.add_argument("--weights", default="real,tiny", help="of the servers it starts (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1800, help="altogether, about (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="at each point; fewer than 6 give no interval")
    parser.add_argument("--url", default="", help="a running server, instead of own ones for size and workers")
    parser.add_argument("--state", default=".run", help="the launcher's; own servers live in a part of it")
    parser.add_argument("--engine", choices=["auto", "local", "docker"], default="auto", help="of own servers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reports", default="reports")
    options = parser.parse_args()
    heed_sigterm()
    try:
        for flag, good in (("sweeps", sweeps.NAMES), ("workloads", WORKLOADS), ("weights", WEIGHT)):
            values = list(dict.fromkeys(getattr(options, flag).split(",")))
            if unknown := [value for value in values if value not in good]:
                raise ValueError(f"unknown --{flag} {unknown[0]!r}; try some of {', '.join(good)}, with commas")
            setattr(options, flag, values)
        if options.rounds < 1 or options.seed < 0:
            raise ValueError("--rounds must be at least 1 and --seed must not be negative")
        arrivals.positive(seconds=options.seconds)
        run = Crossover(options)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    print(run.plan(), flush=True)
    code = 0
    try:
        run.run()
    except KeyboardInterrupt:
        print("\ninterrupted: what follows is what was measured until here")
        code = 130
    except (OSError, Unavailable, network.Missing) as error:
        run.progress.end()
        print(error, file=sys.stderr)
        code = 1
    if not any(blocks.read(run.directory / path) for path in run.described.get("sweeps", ())):
        return code or 1
    found = report.write(run.directory)
    print("\n" + report.text(run.directory, found))
    print("\n".join(f"left out: {why}" for why in run.left_out))
    print(f"\nreport.html, crossover.json, a plot of every sweep and all samples: {run.directory}")
    return code or (3 if any(point["invalid"] for entry in found for point in entry["points"]) else 0)


if __name__ == "__main__":
    sys.exit(quietly(main))
