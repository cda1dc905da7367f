"""How much can an arm carry, and how does it take bursts?

    python -m loadgen.capacity image audio --slo 100 --percentile 99

The capacity is the highest Poisson rate at which the percentile of latency is at most the SLO, by MLPerf's rule: so few
of a probe's requests are over it that the percentile is not, with 99 % confidence. It is sought by doubling, then by
bisection; then the arm is offered shares of it, from evenly spaced to very bursty. Everything lies in
reports/<time>-capacity/: capacity.json, and each probe as a block.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import gevent
import numpy as np
from scipy.stats import binom

from loadgen import journal, payloads, table
from loadgen.arms import PLACEMENTS, Arm, Mode
from loadgen.arrivals import Arrivals, Gamma, Poisson, Schedule, Video
from loadgen.blocks import Block
from loadgen.experiment import Experiment, checked, conducted, exactly, flags
from loadgen.measure import measure
from loadgen.openloop import OpenLoop
from loadgen.samples import COMPLETED, STATUSES, UNFINISHED
from loadgen.serverside import Server
from loadgen.summary import CONFIDENCE, early_stopping, needed
from loadgen.workloads import IMAGE, WORKLOADS, Workload

SLO = 5  # times the slower placement's back-to-back time, if none is given
ALLOWED = 2  # requests of a probe that may be over the SLO: of none, one hiccup of the machine would decide
PERCENTILES = (99, 95, 90)  # the highest is taken whose searches fit into the time
LASTING = 50  # times the SLO: so long a probe lasts at least, however few requests that takes
START = 0.3  # the first probe's rate, in requests per back-to-back time
RESOLUTION = 0.05
DOUBLINGS, HALVINGS = 20, 6
TRIES = 2  # at a rate, each with arrivals of its own: one hiccup of the machine must not decide
SPOILT = {"offered rate", "dispatch lag", "client CPU", "hub stall", "books"}  # findings of the client's making
CAMERAS = 16
CVS = (0, 1, 2, 4)
ANSWER = 120.0  # seconds for an overloaded server to work off what it has
PROBES, TYPICAL = 12, 0.65  # for the estimate: a search is as long as 12 probes at 1 request per back-to-back time

LEGEND = """\
rate         the highest that passed, requests per second; not: the lowest that did not
limited by   what was slow at the lowest rate that did not pass: the server, or the client before it sent anything (of a
             request over the SLO, most of the time was spent waiting for a client worker, or the probe was INVALID)
p50, p99     ms from the due time, at the highest rate that passed; (p99): of fewer than 459 requests, too few for it
cv           of the gaps: 0 evenly spaced, 1 Poisson, above 1 bursts; video: 16 cameras, all at the same instant
!            the block is INVALID; its findings are in its file"""


@dataclass(frozen=True)
class Outcome:
    """Of a probe. `limit` says whose doing it is that it did not pass: the server's or the client's."""

    rate: float
    limit: str = ""
    why: str = ""
    requests: int = 0
    over: int = 0
    whole: bool = True
    p50: float | None = None
    p99: float | None = None
    bound: float | None = None
    """What the percentile is not above, with 99 % confidence."""

    @property
    def passed(self) -> bool:
        return not self.limit


def search(probe: Callable[[float], Outcome], start: float, resolution: float = RESOLUTION) -> list[Outcome]:
    """Probes until the highest rate that passed and the lowest that did not are within `resolution` of each other.

    Doubles from `start` while probes pass (or halves until one does), then bisects the ratio. Every rate that passed
    is below every rate that did not, however flaky a probe is: none is probed again.
    """
    outcomes = [probe(start)]
    factor, most = (2, DOUBLINGS) if outcomes[0].passed else (0.5, HALVINGS)
    while outcomes[-1].passed == outcomes[0].passed and len(outcomes) <= most:
        outcomes.append(probe(outcomes[-1].rate * factor))
    while None not in (ends := bracket(outcomes)) and ends[1].rate / ends[0].rate > 1 + resolution:
        outcomes.append(probe((ends[0].rate * ends[1].rate) ** 0.5))
    return outcomes


def bracket(outcomes: Sequence[Outcome]) -> tuple[Outcome | None, Outcome | None]:
    """(the highest that passed, the lowest that did not)."""
    passed = [outcome for outcome in outcomes if outcome.passed]
    others = [outcome for outcome in outcomes if not outcome.passed]
    return max(passed, key=rate, default=None), min(others, key=rate, default=None)


def rate(outcome: Outcome) -> float:
    return outcome.rate


def allowed(requests: int, percentile: float) -> int:
    """How many of them may be over a limit that the percentile is to be shown to keep; -1: too few requests."""
    return int(binom.ppf(1 - CONFIDENCE, requests, 1 - percentile / 100)) - 1


def requests(rate: float, slo: float, percentile: float) -> int:
    """How many a probe takes: enough for MLPerf's rule with ALLOWED over, and to last LASTING SLOs (ms).

    The rule takes requests for independent, and a probe begins with an empty queue: p90 of 81 requests can pass at
    rates that no queue could bear for long, as an overload of 5 % takes 20 SLOs to make requests wait for one. Of
    simulated queues the search finds too much by up to 80 % without that length, by a quarter at the very most with
    it, and mostly a tenth too little (tests/test_capacity.py).
    """
    return max(needed(percentile, ALLOWED), int(np.ceil(LASTING * rate * slo / 1e3)))


def bursts() -> dict[str, tuple[Callable[[float], Arrivals], float]]:
    """Name -> the process for a rate, and the cv of its gaps."""
    shapes = {f"cv {cv}": (lambda rate, cv=cv: Gamma(rate, cv), float(cv)) for cv in CVS}
    return {**shapes, "video": (lambda rate: Video(CAMERAS, rate / CAMERAS, "synchronised"), (CAMERAS - 1) ** 0.5)}


class Hopeless(Exception):
    """What is under way cannot pass any more."""


@contextmanager
def until(hopeless: Callable[[], bool]):
    """What is done in here is ended, as by Ctrl-C, as soon as it is hopeless; looked after twice a second."""
    doing = gevent.getcurrent()
    timer = gevent.get_hub().loop.timer(0.5, 0.5)
    timer.start(lambda: hopeless() and doing.throw(Hopeless()))
    try:
        yield
    finally:
        timer.stop()
        timer.close()


def finished(path: Path, slo: float) -> np.ndarray:
    """Of the requests that have finished so far: was it over the SLO (ms), or not answered?"""
    return over(journal.read(path)[0], slo) if path.exists() else np.zeros(0, bool)


def over(records: np.ndarray, slo: float) -> np.ndarray:
    return (records["status"] != STATUSES.index(COMPLETED)) | (records["done"] - records["due"] > slo * 1e6)


def judged(block: Block, rate: float, slo: float, percentile: float) -> Outcome:
    """What a block says of its rate."""
    rules = {finding["rule"]: f"{finding['rule']}: {finding['measured']}" for finding in block.findings}
    slow = over(block.records, slo)
    most = allowed(block.scheduled, percentile)
    limit, why = "", ""
    if slow.sum() > most:
        reached = block.records[slow & (block.records["status"] != STATUSES.index(UNFINISHED))]
        waited = (reached["began"] - reached["due"]) / np.maximum(reached["done"] - reached["due"], 1)
        client = "client CPU" in rules or (len(waited) and np.median(waited) > 0.5)
        whole = f"{slow.sum()} of {block.scheduled} over"
        limit = "client" if client else "server"
        why = whole if block.facts["complete"] else f"given up with more than {most} over"
    elif spoilt := [said for rule, said in rules.items() if rule in SPOILT]:
        limit, why = "client", f"INVALID: {spoilt[0]}"
    elif rules:
        limit, why = "server", f"INVALID: {next(iter(rules.values()))}"
    latency = block.summary["latency"]
    figures = (block.completed, int(slow.sum()), block.facts["complete"], latency["p50"], latency["p99"])
    return Outcome(rate, limit, why, *figures, early_stopping(np.sort(block.latency), percentile))


@dataclass
class Probing:
    """One arm under probes: each a block, numbered as they come."""

    server: Server
    arm: Arm
    sent: list[payloads.Payload]
    directory: Path
    cores: int
    slo: float
    percentile: float
    seed: int

    def __post_init__(self):
        self.blocks = 0
        self.outcomes: list[Outcome] = []

    def probe(self, rate: float) -> Outcome:
        """Poisson blocks at that rate, until one passes."""
        n = requests(rate, self.slo, self.percentile)
        most, seed = allowed(n, self.percentile), self.seed + TRIES * len(self.outcomes)
        for attempt in range(1, TRIES + 1):
            block = self.block(exactly(Poisson, rate, n, seed + attempt - 1), most, attempt)
            found = judged(block, rate, self.slo, self.percentile)
            said = f"passed, p{self.percentile:g} <= {table.ms(found.bound)} ms"
            said = said if found.passed else f"no: {found.why} ({found.limit})"
            print(f"  {self.arm}: {rate:.4g}/s: {said}", flush=True)
            if found.passed:
                break
        self.outcomes.append(found)
        return found

    def block(self, schedule: Schedule, over: float = np.inf, attempt: int = 1) -> Block:
        """Measured; given up as soon as more than so many are over the SLO."""
        self.blocks += 1
        path = self.directory / self.arm.workload.name / self.arm.slug / f"round-{self.blocks:02}"
        kept = path.with_suffix(".journal")
        self.settle()
        try:
            with until(lambda: finished(kept, self.slo).sum() > over):
                return measure(
                    self.server, self.arm, schedule, self.sent, path, self.cores, self.blocks, attempt, self.percentile
                )
        except Hopeless:
            return Block(**json.loads(path.with_suffix(".json").read_text()), path=path.with_suffix(".json"))

    def settle(self) -> None:
        """Wait until the server has worked off what was asked before: it answers a request, then another at once."""
        one = Arm(self.arm.workload, self.arm.placement, Mode("sequential"), self.arm.library)
        OpenLoop(one, self.server.url, lambda sample: None, ANSWER).run(np.zeros(2), np.zeros(2, int), self.sent)

    def bursts(self, most: float, load: float) -> list[dict]:
        """The same load in every shape."""
        rows, n = [], burst(self.percentile)
        for name, (make, cv) in bursts().items():
            block = self.block(exactly(make, most * load, n, self.seed))
            latency = block.summary["latency"]
            row = {"arm": str(self.arm), "load": load, "arrivals": name, "cv": cv, "p50": latency["p50"]}
            rows.append({**row, "p99": latency["p99"], "requests": block.completed, "valid": block.valid})
            p99 = bracketed(latency["p99"], block.completed, block.valid)
            print(f"  {self.arm}: {load:g} of {most:.4g}/s, {name}: p99 {p99} ms", flush=True)
        return rows


class Capacity(Experiment):
    def __init__(self, options):
        super().__init__(options, "capacity")
        self.result: dict[str, dict] = {}

    def run(self) -> None:
        self.begin()
        for name in self.options.workloads:
            self.workload(WORKLOADS[name])
        self.described["complete"] = True
        self.write(self.result)

    def workload(self, workload: Workload) -> None:
        options, name = self.options, workload.name
        means = self.back_to_back(workload)
        service = max(means.values())
        slo = options.slo or float(f"{SLO * service * 1e3:.2g}")
        budget = options.seconds / len(options.workloads)

        def about(percentile: float) -> float:
            return estimate(service, slo, percentile, options.loads) * len(options.arms)

        fitting = [each for each in PERCENTILES if about(each) <= budget]
        percentile = options.percentile or (fitting or PERCENTILES[-1:])[0]
        rule = "as given" if options.slo else f"{SLO} times the slower placement's time"
        minutes = f"about {about(percentile) / 60:.2g} min"
        if about(percentile) > budget:
            minutes += ", more than --seconds; --loads 0.7, one workload or a lower --slo are shorter"
        print(f"{name}: p{percentile:g} at most {slo:g} ms ({rule}); {minutes}", flush=True)
        self.described["workloads"][name] = {
            "back_to_back_seconds": means,
            "slo_ms": slo,
            "percentile": percentile,
            "library": Arm(workload, "client", Mode("async"), self.library(workload)).chosen,
            "payloads": [payload.name for payload in self.sent[name]],
        }
        found = self.result[name] = {"capacity": [], "curve": [], "burstiness": []}
        for placement in options.arms:
            arm = Arm(workload, placement, Mode("async", len(self.cores)), self.library(workload))
            probing = Probing(
                self.server, arm, self.sent[name], self.directory, len(self.cores), slo, percentile, options.seed
            )
            try:
                search(probing.probe, float(f"{START / service:.2g}"))
            finally:
                if probing.outcomes:
                    found["capacity"].append(capacity(probing))
                    found["curve"] += curve(probing)
                self.write(self.result)
            most = found["capacity"][-1]["rate"]
            for load in options.loads if most else ():
                found["burstiness"] += probing.bursts(most, load)
                self.write(self.result)


def capacity(probing: Probing) -> dict:
    best, worst = bracket(probing.outcomes)
    return {
        "arm": str(probing.arm),
        "rate": best and best.rate,
        "p50": best and best.p50,
        "p99": best and best.p99,
        "slo_ms": probing.slo,
        "percentile": probing.percentile,
        "bound_ms": best and best.bound,
        "requests": best.requests if best else 0,
        "not": worst and worst.rate,
        "limited_by": worst and worst.limit,
        "why": worst and worst.why,
        "probes": [asdict(outcome) for outcome in probing.outcomes],
    }


def curve(probing: Probing) -> list[dict]:
    """The probes that ran to their end, by rate."""
    kept = sorted((outcome for outcome in probing.outcomes if outcome.whole), key=rate)
    arm = str(probing.arm)
    return [
        {"arm": arm, "rate": o.rate, "p50": o.p50, "p99": o.p99, "valid": not o.why.startswith("INVALID")} for o in kept
    ]


def burst(percentile: float) -> int:
    """Requests of a block of the burstiness table: whole frames of the cameras."""
    return CAMERAS * -(-needed(percentile, ALLOWED) // CAMERAS)


def estimate(service: float, slo: float, percentile: float, loads: Sequence[float]) -> float:
    """Seconds for an arm: its search, and its burstiness table."""
    typical = TYPICAL / service
    seconds = PROBES * TYPICAL * requests(typical, slo, percentile) / typical
    return seconds + sum(len(bursts()) * burst(percentile) / (typical * load) for load in loads)


def text(name: str, found: dict) -> str:
    """The tables of a workload."""
    lines = [f"{'arm':<24} {'rate':>7} {'not':>7}  {'limited by':<10} {'p50':>7} {'p99':>9}"]
    for each in found["capacity"]:
        p99 = bracketed(each["p99"], each["requests"])
        lines.append(
            f"{each['arm']:<24} {number(each['rate']):>7} {number(each['not']):>7}  {each['limited_by'] or '-':<10}"
            f" {table.ms(each['p50']):>7} {p99:>9}"
        )
        slo, percentile = each["slo_ms"], each["percentile"]
    lines += [f"{each['arm']}: at {number(each['not'])}/s: {each['why']}" for each in found["capacity"] if each["not"]]
    title = f"{name}: p{percentile:g} at most {slo:g} ms with 99 % confidence, Poisson arrivals" if lines[1:] else name
    names = list(bursts())
    if rows := found["burstiness"]:
        lines += ["", f"{'p99, ms, at a share of':<24} {'load':>5} " + "".join(f"{each:>11}" for each in names)]
    for arm, load in dict.fromkeys((row["arm"], row["load"]) for row in rows):
        own = {row["arrivals"]: row for row in rows if (row["arm"], row["load"]) == (arm, load)}
        cells = [bracketed(r["p99"], r["requests"], r["valid"]) if (r := own.get(each)) else "-" for each in names]
        lines.append(f"{arm:<24} {load:>5g} " + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join([title, *lines])


def bracketed(p99: float | None, requests: int, valid: bool = True) -> str:
    said = table.ms(p99) if requests >= needed(99) else f"({table.ms(p99)})"
    return said + ("" if valid else "!")


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def shares(given: str) -> list[float]:
    loads = [float(each) for each in given.split(",") if each]
    if not all(0 < load <= 1 for load in loads):
        raise ValueError(f"--loads are shares of the capacity, above 0 and at most 1, not {given!r}")
    return loads


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.capacity", description=__doc__.partition("\n")[0])
    flags(parser, 1800, "for everything; decides about the percentile (default: %(default)s)")
    parser.add_argument("--slo", type=float, default=0, help=f"ms; default: {SLO} times what one request takes alone")
    parser.add_argument("--percentile", type=float, default=0, help="held to the SLO; default: 99, 95 or 90")
    parser.add_argument("--arms", default=",".join(PLACEMENTS), help="placements, with commas (default: %(default)s)")
    parser.add_argument("--loads", default="0.5,0.7,0.9", help="shares of the capacity for the bursts; '' for none")
    options = parser.parse_args()
    try:
        options.arms = list(dict.fromkeys(options.arms.split(",")))
        for placement in options.arms:
            Arm(IMAGE, placement, Mode("sequential"))
        options.loads = shares(options.loads)
        if options.slo < 0 or not np.isfinite(options.slo):
            raise ValueError(f"--slo must be a positive number of ms, not {options.slo:g}")
        if options.percentile and not 50 <= options.percentile <= 99.9:
            raise ValueError(f"--percentile must lie between 50 and 99.9, not {options.percentile:g}")
        checked(options)
        experiment = Capacity(options)
    except ValueError as error:
        parser.exit(2, f"{error}\n")

    def show() -> None:
        for name, found in experiment.result.items():
            print(f"\n{text(name, found)}")
        print(f"\n{LEGEND}")

    return conducted(experiment, show)


if __name__ == "__main__":
    sys.exit(main())
