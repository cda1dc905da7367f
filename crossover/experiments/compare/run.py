"""The main job: is preprocessing on the server worth it, for photographs and for speech, and by how much?

    python -m loadgen.bench image audio --seconds 270

For each workload it measures how long one request takes back to back, and offers every arm the same Poisson schedules
at a load that the slowest can carry: in rounds, in which every arm runs one block, in an order drawn anew. What the
blocks come to (intervals, stages, costs) is `loadgen.report`'s, from what lies in reports/<time>/.
"""

import dataclasses
import math
import random
import sys
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from common import atomic_write
from common.messages import one_line
from crossover import report_command as report
from crossover.analysis import comparison
from crossover.experiments.compare import options, tables
from crossover.measurement import host, resume, trial, unloaded_latency
from crossover.measurement.progress import Progress
from crossover.measurement.retry import Attempts
from crossover.measurement.run_directory import BENCH, FORMAT, make_name
from loadgen import arrivals, command, interrupts
from loadgen.arm import PLACEMENTS, Arm, Mode
from serving.server import Server, Unavailable
from workloads import payloads
from workloads.workload import IMAGE, WORKLOADS, Workload

SHARE = {"image": 0.4, "audio": 0.6}  # of the time: a clip takes several times as long as a photograph
NOT_YET = {"back_to_back_seconds": {"client": 0.0}}
ENOUGH_ROUNDS = 8  # before --precision may end a workload early
OVERHEAD = 1.0  # seconds a block takes beyond its schedule
SHORTEST = 2.0  # seconds of a block's schedule
EXPECTED = 8  # arrivals in a block at least, where the rate follows from what was measured


class Bench:
    """One directory of blocks, begun or continued."""

    def __init__(self, given):
        self.options = given
        self.progress = Progress()
        self.attempts = Attempts(self.find, self.progress.print_line)
        self.sent = {name: payloads.load(WORKLOADS[name], getattr(given, name)) for name in given.workloads}
        for name, offered in given.offered.items():
            if offered["digest"] != payloads.digest(self.sent[name]):
                raise ValueError(f"{given.like} sent other payloads for {name}: give the same as --{name} DIR")
        self.cores = host.free_cores(self.server.cores)
        self.directory: Path | None = None

    @property
    def server(self) -> Server:
        return self.attempts.server

    def find(self) -> Server:
        return Server.at(self.options.url, Path(self.options.state))

    def run(self) -> None:
        """Raises Unavailable, OSError, ValueError."""
        self.described, before = self.describe(), self.options.continued
        if before:
            self.described = resume.again(Path(before), BENCH, self.described)
        self.directory = Path(before or Path(self.options.reports) / make_name())
        host.pin(self.cores)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write()
        print(tables.setting(self.described), flush=True)
        total = sum(SHARE[name] for name in self.options.workloads)
        for name in self.options.workloads:
            self.workload(WORKLOADS[name], self.options.seconds * SHARE[name] / total)
        self.described["complete"] = True
        self.write()

    def describe(self) -> dict:
        steps = tuple(step for name in self.options.workloads for step in WORKLOADS[name].steps)
        return {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "complete": False,
            "kind": BENCH,
            "format": FORMAT,
            "argv": ["python", "-m", "loadgen.bench", *sys.argv[1:]],
            "seed": self.options.seed,
            "rounds": self.options.rounds,
            "modes": self.options.modes,
            "control": self.options.control,
            "asked": resume.asked(self.options, options.ASKED, self.sent),
            "server": self.server.facts(steps),
            "engine": self.server.state.get("engine"),
            "cores": {"client": self.cores, "server": self.server.cores},
            "machine": host.describe(),
            "workloads": {},
        }

    def write(self) -> None:
        atomic_write.write_json(self.directory / "run.json", self.described)

    def workload(self, workload: Workload, budget: float) -> None:
        sent, name, rounds = self.sent[workload.name], workload.name, self.options.rounds
        fresh = name not in self.described["workloads"]
        if fresh:
            self.described["workloads"][name] = self.load(workload, budget, sent)
            self.write()
        described, arms = self.described["workloads"][name], self.arms(workload)
        own = [block for block in trial.read(self.directory) if block.workload == name and block.facts["complete"]]
        there = {(block.round, block.arm) for block in own}
        missing, takes = rounds * len(arms) - len(there), described["seconds"] + OVERHEAD
        if missing and not fresh:
            print(f"{name}: one request at a time, to warm up ...", flush=True)
            unloaded_latency.measure_unloaded_latency(self.server, workload, self.library(workload), sent)
        self.attempts.until(missing * takes)
        self.progress.start(rounds * len(arms), len(there), takes)
        for turn in range(1, rounds + 1):
            schedule = self.schedule(described, turn)
            order = random.Random(f"{name} {schedule.seed}").sample(arms, len(arms))
            lacking = [arm for arm in order if (turn, str(arm)) not in there]
            if lacking and self.attempts.over:
                repeated = self.attempts.repeated
                why = f"{repeated} invalid block{'s' * (repeated != 1)} repeated"
                self.progress.print_line(f"{name}: the time is up after round {turn - 1} of {rounds}, with {why}")
                break
            for arm in lacking:
                self.progress.show_trial(f"{name} round {turn}/{rounds}: {arm}")
                path = self.directory / name / arm.slug / f"round-{turn:02}"
                own.append(self.attempts.block(arm, schedule, sent, path, len(self.cores), turn, every=True))
            found = report.comparisons(described, own).values()
            if ENOUGH_ROUNDS <= turn < rounds and self.precise(found):
                within = f"{' and '.join(comparison.HEADLINES)} are known to within {self.options.precision * 100:g} %"
                self.progress.print_line(f"{name}: enough after round {turn} of {rounds}: {within}")
                break
            self.progress.set_interim(estimate(found))
        self.progress.finish_line()

    def schedule(self, described: dict, turn: int) -> arrivals.Schedule:
        seconds = described["seconds"]
        schedule = arrivals.parse(described["arrivals"]).schedule(seconds, self.options.seed + turn - 1)
        if not len(schedule):
            why = schedule.note or "give more --seconds"
            raise Unavailable(f"{schedule.spec}: no arrival in a block of {seconds:.3g} s; {why}")
        return schedule

    def load(self, workload: Workload, budget: float, sent: list[payloads.Payload]) -> dict:
        """A load that every arm can carry, the length of a block, and the limit that good answers keep."""
        print(f"{workload.name}: one request at a time, to find a load every arm can carry ...", flush=True)
        began = time.monotonic()
        means = unloaded_latency.measure_unloaded_latency(self.server, workload, self.library(workload), sent)
        arms = self.arms(workload)
        left = budget - (time.monotonic() - began)
        offered = self.options.offered.get(workload.name) or {
            "arrivals": self.options.arrivals or f"poisson:rate={unloaded_latency.derive_rate(means):g}",
            "seconds": round(max(SHORTEST, left / self.options.rounds / len(arms) - OVERHEAD), 1),
            "slo_ms": self.options.slo or unloaded_latency.derive_slo(means),
        }
        if workload.name not in self.options.offered:
            rate = None if self.options.arrivals else unloaded_latency.derive_rate(means)
            offered["seconds"] = lengthen(offered, rate, self.options)
        said = ", ".join(f"{placement} {mean * 1e3:.3g} ms" for placement, mean in means.items())
        print(f"{workload.name}: {said} back to back; offering {offered['arrivals']} for", end=" ")
        print(f"{offered['seconds']:g} s a block; goodput counts answers within {offered['slo_ms']:g} ms", flush=True)
        note = self.schedule(offered, 1).note
        if note:
            print(f"{workload.name}: {note}", flush=True)
        return {
            **offered,
            "trace": note,
            "library": arms[0].chosen,
            "back_to_back_seconds": means,
            "payloads": [payload.name for payload in sent],
            "digest": payloads.digest(sent),
        }

    def library(self, workload: Workload) -> str:
        return self.options.library if workload is IMAGE else ""

    def arms(self, workload: Workload) -> list[Arm]:
        library, n = self.library(workload), len(self.cores)
        workers = {"sequential": 1, "threads": max(4, n), "async": n}
        modes = [Mode(mode, workers[mode]) for mode in self.options.modes]
        if self.options.control:
            one = Arm(workload, "client", modes[0], library)
            delay = 0.1 * self.described["workloads"].get(workload.name, NOT_YET)["back_to_back_seconds"]["client"]
            if self.options.control == "aa":
                return [one, dataclasses.replace(one, control="again")]
            return [one, dataclasses.replace(one, control="slower", delay=delay)]
        return [Arm(workload, placement, mode, library) for placement in PLACEMENTS for mode in modes]

    def precise(self, found: Iterable[list[comparison.Comparison]]) -> bool:
        return bool(found) and all(comparison.is_precise(each, self.options.precision) for each in found)


def lengthen(offered: dict, rate: float | None, given) -> float:
    """Seconds of a block in which every round has arrivals: EXPECTED on average, where the bench chose the rate.

    A longer schedule begins like a shorter one, so it has their arrivals, too. Arrivals that the user chose come within
    the time that they gave (`check_arrivals`), of which finding the load has taken some.
    """
    seconds = offered["seconds"] if rate is None else max(offered["seconds"], math.ceil(10 * EXPECTED / rate) / 10)
    while empty_round(offered["arrivals"], seconds, given) is not None:
        seconds = round(seconds * 1.25, 1)
    return seconds


def empty_round(spec: str, seconds: float, given) -> arrivals.Schedule | None:
    """The first round's schedule that has no arrival."""
    process = arrivals.parse(spec)
    schedules = (process.schedule(seconds, given.seed + turn) for turn in range(given.rounds))
    return next((schedule for schedule in schedules if not len(schedule)), None)


def check_arrivals(given) -> None:
    """Raises ValueError if a round's block would have none of the arrivals that the user chose."""
    total, arms = sum(SHARE[name] for name in given.workloads), len(PLACEMENTS) * len(given.modes)
    for name in given.workloads if given.arrivals else ():
        share = given.seconds * SHARE[name] / total / given.rounds / (2 if given.control else arms)
        seconds = max(SHORTEST, share - OVERHEAD)
        if (empty := empty_round(given.arrivals, seconds, given)) is not None:
            why = empty.note or "give more --seconds or a higher rate"
            raise ValueError(f"--arrivals {given.arrivals}: none in a block of {seconds:.3g} s ({name}); {why}")


def estimate(found: Iterable[list[comparison.Comparison]]) -> str:
    told = [each for comparisons in found for each in comparisons if each.metric == "p50"]
    return "; ".join(f"p50 server/client {comparison.format_ratio(each)}" for each in told[-1:])


def conducted(bench: Bench) -> int:
    """Run it; what was measured is printed and becomes a report, whatever ends it."""
    code = 0
    try:
        bench.run()
    except KeyboardInterrupt:
        bench.progress.finish_line()
        further = f": what follows is what was measured until here; go on with --continue {bench.directory}"
        print(f"\ninterrupted{further if bench.directory else ' before anything was measured'}")
        code = command.INTERRUPTED
    except (Unavailable, OSError, ValueError) as error:
        bench.progress.finish_line()
        print(one_line(error), file=sys.stderr)
        if isinstance(error, ValueError):
            return 1
        code = 1
    if not bench.directory:
        return code or 1
    try:
        with interrupts.defer_interrupts():
            if not trial.read(bench.directory):
                return code or 1
            result = report.write(bench.directory)
            print("\n" + tables.whole(result))
            print(f"\nsamples, summary.json and report.html: {bench.directory}")
    except KeyboardInterrupt:
        print(f"\ninterrupted; its report can be made (again) by: python -m loadgen.report {bench.directory}")
        return command.INTERRUPTED
    except (OSError, ValueError) as error:
        print(f"no report: {one_line(error)}", file=sys.stderr)
        return code or 1
    return code or tables.exit_code(result)


def main() -> int:
    parser, given = options.parsed()
    try:
        options.check(given)
        check_arrivals(given)
        bench = Bench(given)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(command.INTERRUPTED, "\ninterrupted before anything was measured\n")
    return conducted(bench)
