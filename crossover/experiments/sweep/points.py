"""The points of one sweep on a server that is up: a load for each that every arm can carry, then rounds of trials."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import arrivals
from crossover.experiments.sweep import figures, grid
from crossover.experiments.sweep.grid import Point, Sweep
from crossover.experiments.sweep.site import Site
from crossover.measurement import host, resume
from crossover.measurement.progress import Progress
from crossover.measurement.retry import SPARE, Retries
from crossover.measurement.trial import Trial, read_trial
from crossover.measurement.unloaded_latency import measure_unloaded_latency
from loadgen.arm import Arm, Mode

UTILISATION = 0.6  # offered load as a share of what the slower placement does back to back
LEAST, MOST = 11, 100  # arrivals in a trial: 6 rounds of 11 are enough for an interval of the median


@dataclass
class PointMeasurement:
    """Measures the points of a sweep that lie at one place.

    First it chooses a load for each point, then it measures rounds: in each every point, and at each point every arm.
    Both can be resumed, as the loads stand in run.json and the trials on the disk.
    """

    sweep: Sweep
    points: list[Point]
    """Those at this place."""
    directory: Path
    described: dict
    """The sweep's part of run.json, so far."""
    rounds: int
    seed: int

    @property
    def loads(self) -> list[tuple[Point, dict]]:
        """(point, its load in run.json) of the points that are not left out, also of one added near a crossing."""
        offered = {each["label"]: each for each in self.described.get("points", ())}
        added = [self.sweep.between(each["x"]) for each in offered.values() if self.sweep.between and each.get("added")]
        return [(point, offered[point.label]) for point in (*self.points, *added) if point.label in offered]

    @property
    def folders(self) -> list[str]:
        """The folders of the arms' trials, in that of a point."""
        baseline, candidate = self.sweep.arms
        return [*(figures.folder(baseline, form) for form in self.sweep.baselines), candidate]

    def are_measured(self) -> list[bool]:
        """Return for each trial that is planned whether an interrupted run has measured it to its end."""
        folders = [self.directory / point.label / arm for point, _ in self.loads for arm in self.folders]
        paths = [folder / f"round-{number:02}.json" for folder in folders for number in range(1, self.rounds + 1)]
        return [path.exists() and read_trial(path).facts["complete"] for path in paths]

    @property
    def finished(self) -> bool:
        """Whether an interrupted run has measured all of it, and looked closer at a crossing."""
        looked = self.described.get("closer_look", False) or not self.sweep.between
        return looked and bool(self.loads) and all(self.are_measured())

    def plan_time(self, budget: float) -> float:
        """Return how much of the seconds there are is for the points: one more may follow, near a crossing."""
        return budget * len(self.points) / (len(self.points) + 1) if self.sweep.between else budget

    def add_point(self, site: Site, client: list[int], budget: float, entries: Sequence[dict]) -> Point | None:
        """Add a point near the first crossing of these entries of crossover.json; returns it, or None if none is.

        It is looked for once; what is measured there takes at most `budget` seconds.
        """
        self.described["closer_look"] = True
        crossings = [entry["crossing"] for entry in entries if entry["crossing"]]
        known = [each["x"] for each in self.described["points"]]
        point = self.sweep.find_closer(crossings[0], known) if crossings else None
        if not point or self.choose_loads(site, client, budget, [point]):
            return None
        self.described["points"][-1]["added"] = True
        self.described["planned"] += 1
        return point

    def choose_loads(self, site: Site, client: list[int], budget: float, points: Sequence[Point]) -> list[str]:
        """Choose a rate for each point, and the length of its trials, so that all take `budget` seconds together.

        Written to `described`. Returns the labels of the points that are too slow for that.
        """
        arms, began, left = len(self.folders), time.monotonic(), budget
        rates: dict[str, float] = {}
        # The quickest points first: where the time is up, the slow ones are left out.
        for point in sorted(points, key=ease):
            prepare(site, point, client)
            slowest = max(
                max(measure_unloaded_latency(site.server, form, self.sweep.arms, "", point.sent()).values())
                for form in self.sweep.baselines.values()
            )
            rate = float(f"{UTILISATION / slowest:.2g}")
            left = budget - (time.monotonic() - began)
            if self.rounds * arms * LEAST / rate > left:
                break  # the others take longer still
            rates[point.label] = rate
        possible = [point for point in points if point.label in rates]
        lengths = grid.lengths([rates[each.label] for each in possible], arms, self.rounds, left, LEAST, MOST)
        for point, seconds in zip(possible, lengths, strict=True):
            # Points without a length are left out: their trials would hold too few arrivals.
            if seconds:
                kilobytes = round(float(np.mean([payload.size for payload in point.sent()])) / 1e3, 1)
                load = {"arrivals": f"poisson:rate={rates[point.label]:g}", "seconds": seconds, "kilobytes": kilobytes}
                self.described["points"].append({"x": point.x, "label": point.label, **load})
        chosen = {each["label"] for each in self.described["points"]}
        return [point.label for point in points if point.label not in chosen]

    def measure(self, site: Site, client: list[int], progress: Progress, retries: Retries) -> None:
        """Measure every point in every round: every arm once, in an order drawn anew.

        `client` are the client's cores. Raises Unavailable if the server is gone for good.
        """
        loads, measured = self.loads, self.are_measured()
        mean = sum(load["seconds"] + grid.OVERHEAD for _, load in loads) / max(1, len(loads))
        retries.set_deadline(SPARE * measured.count(False) * mean)
        progress.start(len(measured), measured.count(True), mean)
        trials: dict[str, list[Trial]] = {point.label: [] for point, _ in loads}
        for number in range(1, self.rounds + 1):
            for point, load in loads:
                schedule = arrivals.parse(load["arrivals"]).schedule(load["seconds"], self.seed + number - 1)
                cores = prepare(site, point, client)
                for folder, arm in self.draw_arms(point, schedule.seed, cores) if len(schedule) else ():
                    path = self.directory / point.label / folder / f"round-{number:02}"
                    if not (trial := resume.completed_trial(path, arm, schedule)):
                        name = f"{self.sweep.workload.name} {point.label}"
                        progress.show_trial(f"{name} round {number}/{self.rounds}: {folder}")
                        trial = retries.measure(arm, schedule, point.sent(), path, cores, number)
                    trials[point.label].append(trial)
            form = next(iter(self.sweep.baselines))
            progress.set_interim(figures.summarise_interim(trials.values(), form, self.sweep.arms))
        progress.finish_line()

    def draw_arms(self, point: Point, seed: int, cores: int) -> Iterator[tuple[str, Arm]]:
        """Yield (folder, arm) of every arm, in an order drawn by the schedule's seed."""
        mode = Mode("async", point.workers or cores)
        baseline, candidate = self.sweep.arms
        forms = self.sweep.baselines.items()
        arms = {figures.folder(baseline, form): Arm(each, baseline, mode) for form, each in forms}
        arms[candidate] = Arm(self.sweep.workload, candidate, mode)
        for folder in random.Random(f"{point.label} {seed}").sample(list(arms), len(arms)):
            yield folder, arms[folder]


def prepare(site: Site, point: Point, client: list[int]) -> int:
    """Pin this process and limit the link for a point; returns how many of the client's cores it has there."""
    cores = client[: point.client_cores or None]
    host.pin(cores)
    if site.link:
        site.link.limit(point.mbit)
    return len(cores)


def ease(point: Point) -> float:
    """Return a key that ascends with the time that a request takes at the point."""
    return -point.mbit if point.mbit else point.x
