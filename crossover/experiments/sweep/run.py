"""Where does the answer change? The ratio server / client over the input's size, the network, the workers, the cores.

    python -m loadgen.crossover --weights tiny --sweeps size,network --seconds 300

It starts servers of its own, with the real networks and with the tiny stand-in: an accelerator that is never the
bottleneck. At every point of a sweep both placements are offered the same schedules, in rounds of short blocks, at 0.6
of what the slower one does back to back. Everything shown, report.html too, is a fold over the blocks in
reports/<time>-crossover/.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from common import atomic_write
from common.messages import one_line
from crossover import report_command as report
from crossover.experiments.sweep import grid, network_link
from crossover.experiments.sweep import result as sweep_result
from crossover.experiments.sweep.grid import Place, Sweep
from crossover.experiments.sweep.points import Sweeping
from crossover.experiments.sweep.site import Site, server_behind_link
from crossover.measurement import compatibility, host, resume, trial
from crossover.measurement.progress import Progress
from crossover.measurement.retry import Attempts
from crossover.measurement.run_directory import FORMAT, make_name
from loadgen import command, interrupts
from loadgen.arrivals.checks import check_positive
from serving.server import Server, Unavailable
from serving.state import name
from serving.temporary_server import temporary_server
from workloads.workload import WORKLOADS

ASKED = ("sweeps", "workloads", "weights", "seconds", "url")  # what makes it this experiment and no other
WEIGHT = {"tiny": {"image": 1, "audio": 1}, "real": {"image": 3, "audio": 10}}  # of the time, as that of a request
START = 20  # seconds until a server is up
UNBOUNDED = "0"  # ms: a server that refuses what takes long would hide how long that takes
PHRASES = {"tiny": "an accelerator that is never the bottleneck (tiny stand-in)", "real": "the real network"}


class Crossover:
    """One directory of sweeps."""

    def __init__(self, options):
        self.options = options
        self.available = sorted(os.sched_getaffinity(0))
        self.sweeps, self.left_out = grid.planned(options.sweeps, options.workloads, len(self.available))
        self.given = Server.at(options.url, Path(options.state)) if options.url else None
        self.weights = [self.given.state.get("weights", "real")] if self.given else options.weights
        places = {point.place for sweep in self.sweeps for point in sweep.points}
        if self.given and not self.given.state:
            self.left_out += [f"network and cores need servers of a launcher's here, unlike {options.url}"]
            places &= {Place()}
        if any(place.linked for place in places) and (why := network_link.missing(name(self.state))):
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
        self.directory = Path(options.continued or Path(options.reports) / make_name("crossover"))
        self.progress = Progress()
        self.described: dict = {}

    @property
    def state(self) -> Path:
        """Of own servers."""
        return Path(self.options.state).resolve() / "crossover"

    def starting(self, sites: Iterable[tuple[str, Place]]) -> float:
        """Seconds until servers are up at all of these."""
        return START * sum(not (self.given and place == Place()) for _, place in sites)

    def shares(self) -> list[float]:
        """Of the time, of all sweeps to come."""
        return [share(weights, sweep, place) for (weights, place), each in self.waiting.items() for sweep in each]

    def budget(self) -> float:
        """Seconds for the sweep that is next at the server that is up: its share of what there is for all to come."""
        _, *later = self.waiting
        shares = self.shares()
        return (self.end - time.monotonic() - self.starting(later)) * shares[0] / sum(shares)

    def plan(self) -> str:
        told = [f"{sweep.workload.name}: {sweep.title} ({len(sweep.points)} points)" for sweep in self.sweeps]
        lines = [
            f"{' and '.join(self.weights)}: {'; '.join(told) or 'nothing to sweep'}",
            f"{self.options.rounds} rounds at each point, about {self.options.seconds / 60:.1f} min in all (--seconds)",
        ]
        return "\n".join([*lines, *(f"left out: {why}" for why in self.left_out)])

    def run(self) -> None:
        """Raises Unavailable, OSError, ValueError if what is to be continued was another experiment."""
        self.described = {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "complete": False,
            "kind": "crossover",
            "format": FORMAT,
            "argv": ["python", "-m", "loadgen.crossover", *sys.argv[1:]],
            "seed": self.options.seed,
            "rounds": self.options.rounds,
            "asked": resume.asked(self.options, ASKED, {}),
            "machine": host.describe(),
            "left_out": self.left_out,
            "sweeps": {},
        }
        seconds = self.options.seconds
        if self.options.continued:
            self.described = resume.again(self.directory, "crossover", self.described)
            self.left_out = self.described["left_out"]
            seconds *= self.drop_finished()
        self.directory.mkdir(parents=True, exist_ok=bool(self.options.continued))
        self.write()
        self.end = time.monotonic() + seconds
        while self.waiting:
            weights, place = next(iter(self.waiting))
            try:
                self.at(weights, place)
            except network_link.Missing as missing:
                self.leave_out(f"network: no such link can be made here: {missing}")
            del self.waiting[weights, place]
        self.described["complete"] = True
        self.write()

    def drop_finished(self) -> float:
        """Do not wait for what an interrupted run has finished; the share of the time that the others have."""
        whole = sum(self.shares())
        for (weights, place), each in list(self.waiting.items()):
            left = [sweep for sweep in each if not self.sweeping(weights, sweep, place).finished]
            self.waiting[weights, place] = left
            if not left:
                del self.waiting[weights, place]
        return sum(self.shares()) / whole if whole else 0

    def at(self, weights: str, place: Place) -> None:
        began, left = time.monotonic(), self.waiting[weights, place]
        with self.site(weights, place) as site:
            if site.server is not self.given:
                self.end += max(0, time.monotonic() - began - START)  # a slow start is not at the sweeps' expense
            while left:
                self.sweep(site, left[0], place)
                left.pop(0)

    @contextmanager
    def site(self, weights: str, place: Place) -> Iterator[Site]:
        if self.given and place == Place():
            yield Site(weights, self.given)
            return
        state, engine = self.state, self.options.engine
        cores = ",".join(map(str, self.available[-place.cores :])) if place.cores else ""
        print(f"\nstarting a server with {weights} weights{' behind a link' * place.linked} ...", flush=True)
        host.pin(self.available)  # the server inherits it
        if not place.linked:
            with temporary_server(state, weights, engine, cores, slo=UNBOUNDED) as server:
                yield Site(weights, server)
            return
        as_bytes = any("UINT8 tensor" in sweep.forms for sweep in self.sweeps)
        with network_link.link(name(state)) as link:
            if why := link.distance():
                self.leave_out(f"network delay: this kernel has no netem, so the link adds no distance: {why}")
            with server_behind_link(link, state, weights, cores, as_bytes, UNBOUNDED) as server:
                yield Site(weights, server, link)

    def sweeping(self, weights: str, sweep: Sweep, place: Place) -> Sweeping:
        path, options = f"{weights}/{sweep.slug}", self.options
        known = self.described["sweeps"].get(path, {})
        return Sweeping(sweep, sweep.at(place), self.directory / path, known, options.rounds, options.seed)

    def sweep(self, site: Site, sweep: Sweep, place: Place) -> None:
        """Every point in every round."""
        path, about = f"{site.weights}/{sweep.slug}", self.about(site, sweep)
        known = self.described["sweeps"].setdefault(path, about)
        resume.refuse(self.directory, unlike(known, about))
        sweeping, client = self.sweeping(site.weights, sweep, place), self.apart(site.server)
        named, budget = f"{site.weights}, {sweep.workload.name}: {sweep.title}", self.budget()
        if not sweeping.loads:
            print(f"{named}: one request at a time, to find a load for every point ...", flush=True)
            if slow := sweeping.choose(site, client, budget):
                self.leave_out(f"{named}: {', '.join(slow)}: too slow for {budget:.0f} s; give more --seconds")
            self.write()
        attempts = Attempts(lambda: self.found(site), self.progress.print_line)
        sweeping.measure(site, client, self.progress, attempts)
        for entry in sweep_result.evaluate(self.directory, path, known):
            print(sweep_result.table(entry), flush=True)

    def found(self, site: Site) -> Server:
        """The site's, also if it is another by now."""
        if site.link:
            return site.server
        return Server.at(site.server.url, Path(self.options.state) if site.server is self.given else self.state)

    def apart(self, server: Server) -> list[int]:
        """The client's cores: all that the server leaves."""
        return [core for core in self.available if core not in server.cores] or self.available

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
        atomic_write.write_json(self.directory / "run.json", self.described)


def share(weights: str, sweep: Sweep, place: Place) -> float:
    """Of the time, for the points at that place: a slow link takes most of it."""
    arms, weight = 1 + len(sweep.clients), WEIGHT[weights][sweep.workload.name]
    return weight * arms * sum(1 + 50 / (point.mbit or np.inf) for point in sweep.at(place))


def unlike(known: dict, about: dict) -> list[str]:
    """How a sweep's server differs from the one it began on; not in its cores, which may be what is swept."""
    common = {**resume.NOWHERE, "machine": {}, "seed": None, "workloads": {}}
    differing = compatibility.list_differences(*({**common, "server": sweep["server"]} for sweep in (known, about)))
    engines = [sweep["server"]["engine"] for sweep in (known, about)]
    return differing + ([f"engine: {engines[0]} against {engines[1]}"] if engines[0] != engines[1] else [])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.crossover", description="Sweep what decides.")
    parser.add_argument("--sweeps", default=",".join(grid.NAMES), help="default: %(default)s")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="default: %(default)s")
    parser.add_argument("--weights", default="real,tiny", help="of the servers it starts (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1800, help="altogether, about (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="at each point; fewer than 6 give no interval")
    parser.add_argument("--url", default="", help="a running server, instead of own ones for size and workers")
    parser.add_argument("--state", default=".run", help="the launcher's; own servers live in a part of it")
    parser.add_argument("--engine", choices=["auto", "local", "docker"], default="auto", help="of own servers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reports", default="reports")
    resume.flag(parser)
    options = parser.parse_args()
    try:
        for flag, good in (("sweeps", grid.NAMES), ("workloads", WORKLOADS), ("weights", WEIGHT)):
            values = list(dict.fromkeys(getattr(options, flag).split(",")))
            if unknown := [value for value in values if value not in good]:
                raise ValueError(f"unknown --{flag} {unknown[0]!r}; try some of {', '.join(good)}, with commas")
            setattr(options, flag, values)
        if options.rounds < 1 or options.seed < 0:
            raise ValueError("--rounds must be at least 1 and --seed must not be negative")
        check_positive(seconds=options.seconds)
        resume.check(options)
        run = Crossover(options)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    print(run.plan(), flush=True)
    code, further = 0, f"; go on with --continue {run.directory}"
    try:
        run.run()
    except KeyboardInterrupt:
        run.progress.finish_line()
        print(f"\ninterrupted: what follows is what was measured until here{further}")
        code = command.INTERRUPTED
    except ValueError as error:
        print(one_line(error), file=sys.stderr)
        return 1
    except (OSError, Unavailable, network_link.Missing) as error:
        run.progress.finish_line()
        print(one_line(error) + further * run.directory.exists(), file=sys.stderr)
        code = 1
    try:
        with interrupts.defer_interrupts():
            if not any(trial.read(run.directory / path) for path in run.described.get("sweeps", ())):
                return code or 1
            found = report.write(run.directory)
            print("\n" + report.text(run.directory, found))
            print("\n".join(f"left out: {why}" for why in run.left_out))
            print(f"\nreport.html, crossover.json, a plot of every sweep and all samples: {run.directory}")
    except KeyboardInterrupt:
        print(f"\ninterrupted; its report can be made (again) by: python -m loadgen.report {run.directory}")
        return command.INTERRUPTED
    except (OSError, ValueError) as error:
        print(f"no report: {one_line(error)}", file=sys.stderr)
        return code or 1
    return code or (3 if any(point["invalid"] for entry in found for point in entry["points"]) else 0)
