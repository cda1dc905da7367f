"""The main job: both placements x three client modes, on the same schedules, as one table.

    python -m loadgen.bench image audio --seconds 270

For each workload it measures how long one request takes back to back, offers every arm the same Poisson
schedules at a load the slowest of them can carry, in rounds of interleaved blocks in a random order, and
leaves samples and summary.json in reports/<time>/.
"""

import argparse
import json
import random
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from loadgen import arrivals, journal, machine, payloads, table
from loadgen.arms import PLACEMENTS, Arm, Mode
from loadgen.openloop import OpenLoop
from loadgen.samples import Sample, tabulated
from loadgen.serverside import Server, Unavailable, difference
from loadgen.summary import summary
from loadgen.validity import Facts, judge
from loadgen.workloads import IMAGE, WORKLOADS, Workload

UTILISATION = 0.7  # offered load as a share of what the slowest sequential client could do at the very most
VOUCHED_FOR = 50  # the percentile that an arm's verdict must be able to vouch for; the table brackets p99 by itself
SHARE = {"image": 0.3, "audio": 0.7}  # of the time: a clip takes several times as long as a photograph


@dataclass
class Result:
    """What one arm did, over all its blocks."""

    arm: Arm
    blocks: list[np.ndarray] = field(default_factory=list)
    reasons: list[str] = field(default_factory=lambda: [""])
    seconds: float = 0
    client_cpu: float = 0
    server_cpu: float | None = 0
    hub_stall: float = 0
    complete: bool = True
    steps: list[dict] = field(default_factory=list)

    def add(self, records: np.ndarray, reasons: list[str]) -> None:
        """A block's samples, whose reasons count in a list of the block's own."""
        self.reasons += [text for text in reasons if text not in self.reasons]
        records = records.copy()
        records["reason"] = np.array([self.reasons.index(text) for text in reasons])[records["reason"]]
        self.blocks.append(records)

    def summary(self, cores: int) -> dict:
        result = summary(np.concatenate(self.blocks), self.seconds, self.reasons)
        n = max(1, result["books"]["scheduled"])
        facts = Facts(self.client_cpu / max(self.seconds, 1e-9) / cores, self.hub_stall, self.complete)
        return {
            "arm": str(self.arm),
            "placement": self.arm.placement,
            "mode": str(self.arm.mode),
            **result,
            **judge(result, facts, VOUCHED_FOR).as_dict(),
            "client_cpu_ms": self.client_cpu / n * 1e3,
            "server_cpu_ms": None if self.server_cpu is None else self.server_cpu / n * 1e3,
            "steps": pooled(self.steps),
        }


def pooled(blocks: list[dict]) -> dict:
    """Per-step statistics over all blocks, each block weighted by its requests."""
    result = {}
    for step in dict.fromkeys(name for block in blocks for name in block):
        parts = [block[step] for block in blocks if step in block]
        requests = sum(part["requests"] for part in parts)

        def mean(read, parts=parts, requests=requests):
            return sum(read(part) * part["requests"] for part in parts) / requests

        result[step] = {
            "requests": requests,
            "mean_batch": requests / sum(part["requests"] / part["mean_batch"] for part in parts),
            "ms": {stage: mean(lambda part, stage=stage: part["ms"][stage]) for stage in parts[0]["ms"]},
        }
    return result


def arms(workload: Workload, cores: int, library: str) -> list[Arm]:
    modes = [Mode("sequential"), Mode("threads", max(4, cores)), Mode("async", cores)]
    return [Arm(workload, placement, mode, library) for placement in PLACEMENTS for mode in modes]


def back_to_back(server: Server, workload: Workload, library: str, sent: list[payloads.Payload]) -> dict[str, float]:
    """Mean seconds per request of a sequential client that never pauses, per placement; once through to warm up."""
    means = {}
    order = payloads.order(len(sent), len(sent), seed=1)
    for placement in PLACEMENTS:
        arm = Arm(workload, placement, Mode("sequential"), library)
        for _ in ("warm-up", "measured"):
            samples: list[Sample] = []
            OpenLoop(arm, server.url, samples.append).run(np.zeros(len(sent)), order, sent)
        records, reasons = tabulated(samples)
        report = summary(records, 1, reasons)
        if report["errors"]:
            raise Unavailable(f"{arm}: {report['errors']} of {len(sent)} requests failed: {report['reasons']}")
        means[placement] = report["service"]["mean"] / 1e3
    return means


def block(server: Server, result: Result, schedule: arrivals.Schedule, order, sent, path: Path) -> None:
    """Run one arm over one schedule, keep its samples in a file of their own, and add what happened to its result."""
    before, server_cpu, cpu = server.statistics(), server.cpu_seconds(), time.process_time()
    kept = journal.Journal(path)
    loop = OpenLoop(result.arm, server.url, lambda sample: None, journal=kept)
    complete = False
    try:
        loop.run(schedule.times, order, sent)
        complete = True
    finally:
        result.client_cpu += time.process_time() - cpu
        result.seconds += schedule.seconds
        result.complete &= complete
        result.hub_stall = max(result.hub_stall, loop.hub_stall)
        if server_cpu is None or result.server_cpu is None:
            result.server_cpu = None
        else:
            result.server_cpu += (server.cpu_seconds() or server_cpu) - server_cpu
        kept.close()
        result.add(*journal.read(path))
        journal.to_parquet(path, [payload.name for payload in sent])
    result.steps.append(difference(before, server.statistics(), result.arm.workload.steps))


class Bench:
    def __init__(self, options):
        self.options = options
        self.server = Server.at(options.url, Path(options.state))
        self.sent = {name: payloads.load(WORKLOADS[name], getattr(options, name)) for name in options.workloads}
        self.steps = tuple(step for name in options.workloads for step in WORKLOADS[name].steps)
        self.directory = Path(options.reports) / datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
        self.cores = machine.others(self.server.cores)
        self.results: dict[str, list[Result]] = {}
        self.report = {"complete": False, "workloads": {}}

    def run(self) -> None:
        self.report["server"] = self.server.facts(self.steps)
        machine.pin(self.cores)
        self.report |= {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "engine": self.server.state.get("engine"),
            "cores": {"client": self.cores, "server": self.server.cores},
            "machine": machine.describe(),
        }
        self.directory.mkdir(parents=True)
        print(table.setting(self.report))
        total = sum(SHARE[name] for name in self.options.workloads)
        for name in self.options.workloads:
            self.workload(WORKLOADS[name], self.options.seconds * SHARE[name] / total)
        self.report["complete"] = True

    def workload(self, workload: Workload, budget: float) -> None:
        sent, rounds = self.sent[workload.name], self.options.rounds
        print(f"{workload.name}: one request at a time, to find a load every arm can carry ...", flush=True)
        began = time.monotonic()
        library = self.options.library if workload.name == "image" else ""
        means = back_to_back(self.server, workload, library, sent)
        rate = float(f"{UTILISATION / max(means.values()):.2g}")
        results = [Result(arm) for arm in arms(workload, len(self.cores), library)]
        seconds = max(2.0, (budget - (time.monotonic() - began)) / rounds / len(results) - 1)
        spec = self.options.arrivals or f"poisson:rate={rate:g}"
        process = arrivals.parse(spec)
        self.results[workload.name] = results
        described = {
            "arrivals": spec,
            "library": results[0].arm.chosen,
            "back_to_back_seconds": means,
            "payloads": [p.name for p in sent],
            "rounds": [],
        }
        self.report["workloads"][workload.name] = described
        said = ", ".join(f"{placement} {mean * 1e3:.0f} ms" for placement, mean in means.items())
        print(f"{workload.name}: {said} back to back; offering {spec} for {seconds:.0f} s a block", flush=True)
        blocks = rounds * len(results)
        for turn in range(rounds):
            seed = self.options.seed + turn
            schedule = process.schedule(seconds, seed)
            if not len(schedule):
                raise Unavailable(f"{schedule.spec}: no arrival in a block of {seconds:.3g} s; give more --seconds")
            described["rounds"].append({"seed": seed, "seconds": seconds, "schedule": schedule.digest})
            chosen = payloads.order(len(sent), len(schedule), seed)
            order = random.Random(f"{workload.name} {seed}").sample(range(len(results)), len(results))
            for position, i in enumerate(order):
                number = turn * len(results) + position
                left = (blocks - number) * (seconds + 1)
                print(f"  block {number + 1:>2}/{blocks}  {results[i].arm!s:<24} about {left:.0f} s left", flush=True)
                path = self.directory / results[i].arm.slug / f"round-{turn + 1}.journal"
                block(self.server, results[i], schedule, chosen, sent, path)

    def finish(self) -> int:
        """Write summary.json and print the tables of what was measured; the exit code of the worst arm's verdict."""
        for name, results in self.results.items():
            measured = [result.summary(len(self.cores)) for result in results if result.blocks]
            self.report["workloads"][name]["arms"] = measured
            if measured:
                print("\n" + table.arms(name, self.report["workloads"][name]))
                print(table.verdicts(measured))
                print("\n" + table.steps(measured, WORKLOADS[name].steps))
        if not self.directory.exists():
            return 1
        (self.directory / "summary.json").write_text(json.dumps(self.report, indent=2) + "\n")
        print("\n" + table.LEGEND)
        print(f"\nsamples and summary.json: {self.directory}")
        arms = [arm for workload in self.report["workloads"].values() for arm in workload.get("arms", [])]
        return 1 if any(arm["errors"] for arm in arms) else 3 if not all(arm["valid"] for arm in arms) else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.bench", description="Compare the placements.")
    parser.add_argument("workloads", nargs="*", default=[], metavar="image|audio", help="default: both")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--state", default=".run", help="the launcher's state directory")
    parser.add_argument("--seconds", type=float, default=270, help="of measurement, altogether")
    parser.add_argument("--rounds", type=int, default=2, help="interleaved rounds; each runs every arm once")
    parser.add_argument("--arrivals", default="", help="instead of a Poisson load found by measurement")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", default="", help=f"of the image clients: {', '.join(IMAGE.libraries)}")
    parser.add_argument("--image", metavar="DIR", default="", help="photographs to send instead of the built-in ones")
    parser.add_argument("--audio", metavar="DIR", default="", help="clips to send instead of the built-in ones")
    parser.add_argument("--reports", default="reports")
    options = parser.parse_args()
    options.workloads = list(dict.fromkeys(options.workloads)) or list(WORKLOADS)
    try:
        if unknown := [name for name in options.workloads if name not in WORKLOADS]:
            raise ValueError(f"unknown workload {unknown[0]!r}; try one of {', '.join(WORKLOADS)}")
        if options.rounds < 1 or options.seed < 0:
            raise ValueError("--rounds must be at least 1 and --seed must not be negative")
        arrivals.positive(seconds=options.seconds)
        if options.arrivals:
            arrivals.parse(options.arrivals).schedule(1, options.seed)
        Arm(IMAGE, "client", Mode("sequential"), options.library)
        bench = Bench(options)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    try:
        bench.run()
        interrupted = 0
    except KeyboardInterrupt:
        print("\ninterrupted: what follows is what was measured until here")
        interrupted = 130
    except Unavailable as error:
        print(error, file=sys.stderr)
        interrupted = 1
    code = bench.finish()
    return interrupted or code


if __name__ == "__main__":
    sys.exit(main())
