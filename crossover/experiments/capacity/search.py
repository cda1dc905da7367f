"""The search for the highest rate that an arm can carry, and the rules by which a probe passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from crossover.measurement.trial import Block
from loadgen.samples.early_stopping import CONFIDENCE, lowest_passing_limit, required_requests
from loadgen.samples.sample import COMPLETED, STATUSES, UNFINISHED

ALLOWED = 2  # requests of a probe that may be over the SLO: of none, one hiccup of the machine would decide
LASTING = 50  # times the SLO: so long a probe lasts at least, however few requests that takes
RESOLUTION = 0.05
DOUBLINGS, HALVINGS = 20, 6
SPOILT = {"offered rate", "dispatch lag", "client CPU", "hub stall", "books"}  # findings of the client's making


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
    return max(required_requests(percentile, ALLOWED), int(np.ceil(LASTING * rate * slo / 1e3)))


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
    return Outcome(rate, limit, why, *figures, lowest_passing_limit(np.sort(block.latency), percentile))
