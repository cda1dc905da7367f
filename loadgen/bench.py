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

from loadgen import arrivals, machine, payloads, table
from loadgen.arms import PLACEMENTS, Arm, Mode
from loadgen.openloop import OpenLoop
from loadgen.samples import Sample, Writer, summary
from loadgen.serverside import Server, Unavailable, difference
from loadgen.workloads import IMAGE, WORKLOADS, Workload

UTILISATION = 0.7  # offered load as a share of what the slowest sequential client could do at the very most
SHARE = {"image": 0.3, "audio": 0.7}  # of the time: a clip takes several times as long as a photograph


@dataclass
class Result:
    """What one arm did, over all its blocks."""

    arm: Arm
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0
    client_cpu: float = 0
    server_cpu: float | None = 0
    steps: list[dict] = field(default_factory=list)

    def summary(self) -> dict:
        result = summary(self.samples, self.seconds)
        n = max(1, len(self.samples))
        return {
            "arm": str(self.arm),
            "placement": self.arm.placement,
            "mode": str(self.arm.mode),
            **result,
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
    for placement in PLACEMENTS:
        result = Result(Arm(workload, placement, Mode("sequential"), library))
        for _ in ("warm-up", "measured"):
            result.samples.clear()
            OpenLoop(result.arm, server.url, result.samples.append).run([0.0] * len(sent), sent)
        report = summary(result.samples, 1)
        if report["errors"]:
            raise Unavailable(f"{result.arm}: {report['errors']} of {len(sent)} requests failed: {report['reasons']}")
        means[placement] = report["service"]["mean"] / 1e3
    return means


def block(server: Server, result: Result, schedule: arrivals.Schedule, sent, writer: Writer) -> None:
    """Run one arm over one schedule and add what happened to its result."""

    def record(sample: Sample) -> None:
        result.samples.append(sample)
        writer.write(sample)

    before, server_cpu, cpu = server.statistics(), server.cpu_seconds(), time.process_time()
    try:
        OpenLoop(result.arm, server.url, record).run(schedule.times, sent)
    finally:
        result.client_cpu += time.process_time() - cpu
        result.seconds += schedule.seconds
        if server_cpu is None or result.server_cpu is None:
            result.server_cpu = None
        else:
            result.server_cpu += (server.cpu_seconds() or server_cpu) - server_cpu
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
        writers = [Writer(self.directory / f"{result.arm.slug}.csv") for result in results]
        blocks = rounds * len(results)
        for turn in range(rounds):
            seed = self.options.seed + turn
            schedule = process.schedule(seconds, seed)
            described["rounds"].append({"seed": seed, "seconds": seconds, "schedule": schedule.digest})
            chosen = payloads.order(sent, len(schedule), seed)
            order = random.Random(f"{workload.name} {seed}").sample(range(len(results)), len(results))
            for position, i in enumerate(order):
                number = turn * len(results) + position
                left = (blocks - number) * (seconds + 1)
                print(f"  block {number + 1:>2}/{blocks}  {results[i].arm!s:<24} about {left:.0f} s left", flush=True)
                block(self.server, results[i], schedule, chosen, writers[i])
        for writer in writers:
            writer.close()

    def finish(self) -> bool:
        """Write summary.json and print the tables of what was measured; True if every request was answered."""
        for name, results in self.results.items():
            measured = [result.summary() for result in results if result.samples]
            self.report["workloads"][name]["arms"] = measured
            if measured:
                print("\n" + table.arms(name, self.report["workloads"][name]))
                print("\n" + table.steps(measured, WORKLOADS[name].steps))
        if not self.directory.exists():
            return False
        (self.directory / "summary.json").write_text(json.dumps(self.report, indent=2) + "\n")
        print("\n" + table.LEGEND)
        print(f"\nsamples and summary.json: {self.directory}")
        return not any(arm["errors"] for w in self.report["workloads"].values() for arm in w.get("arms", []))


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
            arrivals.parse(options.arrivals)
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
    answered = bench.finish()
    return interrupted or int(not answered)


if __name__ == "__main__":
    sys.exit(main())
