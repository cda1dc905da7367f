"""One sweep where its server is up: a load for every point that both placements can carry, then rounds of blocks."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossover.experiments.sweep import grid
from crossover.experiments.sweep import result as sweep_result
from crossover.experiments.sweep.grid import Point, Sweep
from crossover.experiments.sweep.site import Site
from crossover.measurement import host, resume, trial
from crossover.measurement.progress import Progress
from crossover.measurement.retry import SPARE, Attempts
from crossover.measurement.unloaded_latency import measure_unloaded_latency
from loadgen import arrivals
from loadgen.arm import Arm, Mode

UTILISATION = 0.6  # offered load as a share of what the slower placement does back to back
LEAST, MOST = 11, 100  # arrivals in a block: 6 rounds of 11 are enough for an interval of the median


@dataclass
class Sweeping:
    """A sweep's points at one place; `described` is what run.json says of the sweep, so far."""

    sweep: Sweep
    points: list[Point]
    directory: Path
    described: dict
    rounds: int
    seed: int

    @property
    def loads(self) -> list[tuple[Point, dict]]:
        """(point, what is offered there) of those that were chosen."""
        offered = {each["label"]: each for each in self.described.get("points", ())}
        return [(point, offered[point.label]) for point in self.points if point.label in offered]

    @property
    def arms(self) -> list[str]:
        """What the folders of their blocks are called."""
        return [*map(sweep_result.folder, self.sweep.clients), "server"]

    @property
    def measured(self) -> list[bool]:
        """Of each block that is to be, whether an interrupted run has it."""
        places = [self.directory / point.label / arm for point, _ in self.loads for arm in self.arms]
        paths = [place / f"round-{turn:02}.json" for place in places for turn in range(1, self.rounds + 1)]
        return [path.exists() and trial.at(path).facts["complete"] for path in paths]

    @property
    def finished(self) -> bool:
        return bool(self.loads) and all(self.measured)

    def choose(self, site: Site, client: list[int], budget: float) -> list[str]:
        """A load for each point, and the length of its blocks, in so many seconds; the points too slow for that."""
        arms, began = len(self.arms), time.monotonic()
        rates: dict[str, float] = {}
        for point in sorted(self.points, key=ease):
            prepare(site, point, client)
            times = [
                measure_unloaded_latency(site.server, form, "", point.sent()) for form in self.sweep.clients.values()
            ]
            rate = float(f"{UTILISATION / max(max(each.values()) for each in times):.2g}")
            left = budget - (time.monotonic() - began)
            if self.rounds * arms * LEAST / rate > left:
                break  # the others take longer still
            rates[point.label] = rate
        possible = [point for point in self.points if point.label in rates]
        lengths = grid.lengths([rates[each.label] for each in possible], arms, self.rounds, left, LEAST, MOST)
        for point, seconds in zip(possible, lengths, strict=True):
            if seconds:
                kilobytes = round(float(np.mean([len(payload.encoded) for payload in point.sent()])) / 1e3, 1)
                about = {"arrivals": f"poisson:rate={rates[point.label]:g}", "seconds": seconds, "kilobytes": kilobytes}
                self.described["points"].append({"x": point.x, "label": point.label, **about})
        chosen = [point for point, _ in self.loads]
        return [point.label for point in self.points if point not in chosen]

    def measure(self, site: Site, client: list[int], progress: Progress, attempts: Attempts) -> None:
        """Every point in every round; in each every arm once, in an order drawn anew."""
        loads, there = self.loads, self.measured
        mean = sum(each["seconds"] + grid.OVERHEAD for _, each in loads) / max(1, len(loads))
        attempts.until(SPARE * there.count(False) * mean)
        progress.start(len(there), there.count(True), mean)
        own: dict[str, list[trial.Block]] = {point.label: [] for point, _ in loads}
        for turn in range(1, self.rounds + 1):
            for point, offered in loads:
                schedule = arrivals.parse(offered["arrivals"]).schedule(offered["seconds"], self.seed + turn - 1)
                cores = prepare(site, point, client)
                for folder, arm in self.drawn(point, schedule.seed, cores) if len(schedule) else ():
                    path = self.directory / point.label / folder / f"round-{turn:02}"
                    if not (made := resume.whole(path, arm, schedule)):
                        progress.show_trial(
                            f"{self.sweep.workload.name} {point.label} round {turn}/{self.rounds}: {folder}"
                        )
                        made = attempts.block(arm, schedule, point.sent(), path, cores, turn)
                    own[point.label].append(made)
            progress.set_interim(sweep_result.running(own.values(), next(iter(self.sweep.clients))))
        progress.finish_line()

    def drawn(self, point: Point, seed: int, cores: int) -> Iterator[tuple[str, Arm]]:
        mode = Mode("async", point.workers or cores)
        arms = {sweep_result.folder(form): Arm(each, "client", mode) for form, each in self.sweep.clients.items()}
        arms["server"] = Arm(self.sweep.workload, "server", mode)
        for folder in random.Random(f"{point.label} {seed}").sample(list(arms), len(arms)):
            yield folder, arms[folder]


def prepare(site: Site, point: Point, client: list[int]) -> int:
    """Pins this process and limits the link; how many of the client's cores it has at this point."""
    cores = client[: point.client_cores or None]
    host.pin(cores)
    if site.link:
        site.link.limit(point.mbit)
    return len(cores)


def ease(point: Point) -> float:
    """Ascends with the time that a request takes."""
    return -point.mbit if point.mbit else point.x
