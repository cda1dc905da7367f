"""The main job: is preprocessing on the server worth it, for photographs and for speech, and by how much?

    python -m loadgen.bench image audio --seconds 270

For each workload it measures how long one request takes back to back, and offers every arm the same Poisson schedules
at a load that the slowest can carry: in rounds, in which every arm runs one block, in an order drawn anew. What the
blocks come to (intervals, stages, costs) is `loadgen.report`'s, from what lies in reports/<time>/.
"""

import argparse
import dataclasses
import json
import random
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from loadgen import arrivals, blocks, comparison, files, machine, payloads, report, table
from loadgen.arms import MODES, PLACEMENTS, Arm, Mode
from loadgen.measure import measure
from loadgen.openloop import OpenLoop
from loadgen.progress import Progress
from loadgen.samples import Sample, tabulated
from loadgen.serverside import Server, Unavailable
from loadgen.summary import summary
from loadgen.workloads import IMAGE, WORKLOADS, Workload

UTILISATION = 0.5  # offered load as a share of what the slowest sequential client could do at the very most: above it
# queues multiply what the machine's noise does to a service time (of M/D/1: 1.7 times at 0.5, 2.8 at 0.7, 9 at 0.9)
SHARE = {"image": 0.4, "audio": 0.6}  # of the time: a clip takes several times as long as a photograph
ATTEMPTS = 3  # at an invalid block: itself and two repetitions
HOPELESS = {"too few samples", "latency rises", "in-flight cap"}  # what another try would not mend
PATIENCE = 20.0  # seconds for a server that died to come back
NOT_YET = {"back_to_back_seconds": {"client": 0.0}}
ENOUGH_ROUNDS = 8  # before --precision may end a workload early


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
        found = summary(records, 1, reasons)
        if found["errors"]:
            raise Unavailable(f"{arm}: {found['errors']} of {len(sent)} requests failed: {found['reasons']}")
        means[placement] = found["service"]["mean"] / 1e3
    return means


class Bench:
    """One directory of blocks, begun or continued."""

    def __init__(self, options):
        self.options = options
        self.server = Server.at(options.url, Path(options.state))
        self.sent = {name: payloads.load(WORKLOADS[name], getattr(options, name)) for name in options.workloads}
        self.cores = machine.others(self.server.cores)
        self.progress = Progress()

    def run(self) -> None:
        found = self.describe()
        self.directory = Path(self.options.continued or Path(self.options.reports) / stamp())
        self.described = self.begun(found) if self.options.continued else found
        machine.pin(self.cores)
        self.directory.mkdir(parents=True, exist_ok=True)
        print(table.setting(self.described), flush=True)
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
            "seed": self.options.seed,
            "rounds": self.options.rounds,
            "modes": self.options.modes,
            "control": self.options.control,
            "server": self.server.facts(steps),
            "engine": self.server.state.get("engine"),
            "cores": {"client": self.cores, "server": self.server.cores},
            "machine": machine.describe(),
            "workloads": {},
        }

    def begun(self, found: dict) -> dict:
        """What was run of this directory before. Raises Unavailable if it would now be another experiment."""
        kept = json.loads((self.directory / "run.json").read_text())
        asked = {key: found[key] for key in ("seed", "rounds", "modes", "control")}
        if differing := [key for key, value in asked.items() if kept[key] != value]:
            raise Unavailable(f"{self.directory} was begun with another {' and '.join(differing)}")
        if differing := comparison.incompatible({**kept, "workloads": {}}, found):
            raise Unavailable(f"{self.directory} cannot be continued here: {'; '.join(differing)}")
        return {**kept, "complete": False}

    def write(self) -> None:
        files.write_json(self.directory / "run.json", self.described)

    def workload(self, workload: Workload, budget: float) -> None:
        sent, name = self.sent[workload.name], workload.name
        if name not in self.described["workloads"]:
            self.described["workloads"][name] = self.load(workload, budget, sent)
            self.write()
        described = self.described["workloads"][name]
        process, seconds = arrivals.parse(described["arrivals"]), described["seconds"]
        own = [block for block in blocks.read(self.directory) if block.workload == name]
        there = {(block.round, block.arm) for block in own if block.facts["complete"]}
        rounds = self.options.rounds
        self.progress.begin(rounds * len(self.arms(workload)), len(there), seconds + 1)
        for turn in range(1, rounds + 1):
            seed = self.options.seed + turn - 1
            schedule = process.schedule(seconds, seed)
            if not len(schedule):
                raise Unavailable(f"{schedule.spec}: no arrival in a block of {seconds:.3g} s; give more --seconds")
            for arm in random.Random(f"{name} {seed}").sample(arms := self.arms(workload), len(arms)):
                if (turn, str(arm)) not in there:
                    self.progress.now(f"{name} round {turn}/{rounds}: {arm}")
                    own.append(self.block(arm, schedule, sent, turn))
            if turn >= ENOUGH_ROUNDS and self.precise(own):
                break
            self.progress.tell(self.estimate(own))
        self.progress.end()

    def load(self, workload: Workload, budget: float, sent: list[payloads.Payload]) -> dict:
        """A load that every arm can carry, and the length of a block."""
        print(f"{workload.name}: one request at a time, to find a load every arm can carry ...", flush=True)
        began = time.monotonic()
        library = self.options.library if workload is IMAGE else ""
        means = back_to_back(self.server, workload, library, sent)
        rate = float(f"{UTILISATION / max(means.values()):.2g}")
        arms = self.arms(workload)
        seconds = round(max(2.0, (budget - (time.monotonic() - began)) / self.options.rounds / len(arms) - 1), 1)
        spec = self.options.arrivals or f"poisson:rate={rate:g}"
        said = ", ".join(f"{placement} {mean * 1e3:.3g} ms" for placement, mean in means.items())
        print(f"{workload.name}: {said} back to back; offering {spec} for {seconds:g} s a block", flush=True)
        return {
            "arrivals": spec,
            "library": arms[0].chosen,
            "back_to_back_seconds": means,
            "payloads": [payload.name for payload in sent],
            "seconds": seconds,
        }

    def arms(self, workload: Workload) -> list[Arm]:
        library, n = self.options.library if workload is IMAGE else "", len(self.cores)
        workers = {"sequential": 1, "threads": max(4, n), "async": n}
        modes = [Mode(mode, workers[mode]) for mode in self.options.modes]
        if self.options.control:
            one = Arm(workload, "client", modes[0], library)
            delay = 0.1 * self.described["workloads"].get(workload.name, NOT_YET)["back_to_back_seconds"]["client"]
            if self.options.control == "aa":
                return [one, dataclasses.replace(one, control="again")]
            return [one, dataclasses.replace(one, control="slower", delay=delay)]
        return [Arm(workload, placement, mode, library) for placement in PLACEMENTS for mode in modes]

    def block(self, arm: Arm, schedule: arrivals.Schedule, sent: list[payloads.Payload], turn: int) -> blocks.Block:
        """One that is valid, if it can be had in three attempts. Raises Unavailable if the server is gone for good."""
        path = self.directory / arm.workload.name / arm.slug / f"round-{turn:02}"
        for attempt in range(1, ATTEMPTS + 1):
            found = measure(self.server, arm, schedule, sent, path, len(self.cores), turn, attempt)
            curable = [finding for finding in found.findings if finding["rule"] not in HOPELESS]
            if not curable or attempt == ATTEMPTS:
                break
            self.progress.say(f"invalid, once more: {curable[0]['rule']}: {curable[0]['measured']}")
            for suffix in (".json", ".parquet"):
                path.with_suffix(suffix).replace(path.with_name(f"invalid-{turn:02}-{attempt}{suffix}"))
            self.server.wait(PATIENCE)
        return found

    def estimate(self, own: list[blocks.Block]) -> str:
        found = [each for mode in self.modes(own) for each in comparison.compare(report.pairs(own, mode))]
        told = [each for each in found if each.metric == "p50"]
        return "; ".join(f"p50 server/client {comparison.interval(each)}" for each in told[-1:])

    def precise(self, own: list[blocks.Block]) -> bool:
        """Is every interval of the latencies' narrower than --precision?"""
        found = [each for mode in self.modes(own) for each in comparison.compare(report.pairs(own, mode))]
        widths = [each.high / each.low - 1 for each in found if each.metric in ("p50", "mean") and each.low]
        return bool(widths) and max(widths) < 2 * self.options.precision

    def modes(self, own: list[blocks.Block]) -> list[str]:
        return list(dict.fromkeys(block.mode for block in own if report.pairs(own, block.mode)))


def stamp() -> str:
    return datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.bench", description="Compare the placements.")
    parser.add_argument("workloads", nargs="*", default=[], metavar="image|audio", help="default: both")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--state", default=".run", help="the launcher's state directory")
    parser.add_argument("--seconds", type=float, default=270, help="of measurement, altogether")
    parser.add_argument("--rounds", type=int, default=10, help="interleaved rounds; each runs every arm once")
    parser.add_argument("--modes", default="async", help=f"of the clients, of {', '.join(MODES)}; with commas")
    parser.add_argument("--arrivals", default="", help="instead of a Poisson load found by measurement")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", default="", help=f"of the image clients: {', '.join(IMAGE.libraries)}")
    parser.add_argument("--image", metavar="DIR", default="", help="photographs to send instead of the built-in ones")
    parser.add_argument("--audio", metavar="DIR", default="", help="clips to send instead of the built-in ones")
    parser.add_argument("--reports", default="reports")
    parser.add_argument("--precision", type=float, default=0.01, help="stop early when intervals are within this share")
    parser.add_argument("--continue", dest="continued", metavar="DIR", default="", help="of an interrupted run")
    control = "instead: the client's arm against itself, as it is or made 10 %% slower, to see what comes out"
    parser.add_argument("--control", choices=["aa", "slow"], default="", help=control)
    options = parser.parse_args()
    options.workloads = list(dict.fromkeys(options.workloads)) or list(WORKLOADS)
    options.modes = list(dict.fromkeys(options.modes.split(",")))
    try:
        if unknown := [name for name in options.workloads if name not in WORKLOADS]:
            raise ValueError(f"unknown workload {unknown[0]!r}; try one of {', '.join(WORKLOADS)}")
        if unknown := [mode for mode in options.modes if mode not in MODES]:
            raise ValueError(f"unknown mode {unknown[0]!r}; try one of {', '.join(MODES)}")
        if options.rounds < 1 or options.seed < 0:
            raise ValueError("--rounds must be at least 1 and --seed must not be negative")
        if options.continued and not (Path(options.continued) / "run.json").is_file():
            raise ValueError(f"nothing to continue in {options.continued}: it has no run.json")
        arrivals.positive(seconds=options.seconds, precision=options.precision)
        if options.arrivals:
            arrivals.parse(options.arrivals).schedule(1, options.seed)
        Arm(IMAGE, "client", Mode("sequential"), options.library)
        bench = Bench(options)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    code = 0
    try:
        bench.run()
    except KeyboardInterrupt:
        bench.progress.end()
        print(f"\ninterrupted: what follows is what was measured until here; go on with --continue {bench.directory}")
        code = 130
    except Unavailable as error:
        bench.progress.end()
        print(error, file=sys.stderr)
        code = 1
    if not blocks.read(getattr(bench, "directory", Path("/nonexistent"))):
        return code or 1
    result = report.write(bench.directory)
    print("\n" + table.whole(result))
    print(f"\nsamples, summary.json and report.html: {bench.directory}")
    return code or table.exit_code(result)


if __name__ == "__main__":
    sys.exit(main())
