"""The search for the highest rate that an arm can carry, and the rules by which a probe passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from scipy.stats import binom

from crossover.experiments.burst_shapes import CAMERAS
from crossover.measurement.trial import Trial
from loadgen.samples.early_stopping import CONFIDENCE, lowest_passing_limit, required_requests
from loadgen.samples.sample import COMPLETED, STATUSES, UNFINISHED

ALLOWED = 2  # requests of a probe that may be over the SLO: of none, one hiccup of the machine would decide
LASTING = 50  # times the SLO: so long a probe lasts at least, however few requests that takes
RESOLUTION = 0.05
DOUBLINGS, HALVINGS = 20, 6
CLIENT_RULES = {"offered rate", "dispatch lag", "client CPU", "hub stall", "books"}  # broken by the client's own doing


@dataclass(frozen=True)
class Outcome:
    """What a probe came to."""

    rate: float
    """Offered, per second."""
    limit: str = ""
    """Empty if it passed; else what was slow: `server`, or `client` before it sent anything."""
    why: str = ""
    """Why it did not pass, in words."""
    requests: int = 0
    """Answered."""
    over: int = 0
    """Over the SLO, or not answered."""
    complete: bool = True
    """Whether it ran to its end."""
    p50: float | None = None
    p99: float | None = None
    bound: float | None = None
    """What the percentile is not above, with 99 % confidence, in ms."""

    @property
    def passed(self) -> bool:
        """Whether the rate is one that the arm carries within the limit."""
        return not self.limit


def search(probe: Callable[[float], Outcome], start: float, resolution: float = RESOLUTION) -> list[Outcome]:
    """Probe until the highest rate that passed and the lowest that did not are within `resolution` of each other.

    Doubles from `start` while probes pass (or halves until one does), then bisects the ratio. Every rate that passed
    is below every rate that did not, however flaky a probe is: none is probed again.
    """
    outcomes = [probe(start)]
    factor, most = (2, DOUBLINGS) if outcomes[0].passed else (0.5, HALVINGS)
    while outcomes[-1].passed == outcomes[0].passed and len(outcomes) <= most:
        outcomes.append(probe(outcomes[-1].rate * factor))
    while True:
        low, high = bracket(outcomes)
        if low is None or high is None or high.rate / low.rate <= 1 + resolution:
            return outcomes
        outcomes.append(probe((low.rate * high.rate) ** 0.5))


def bracket(outcomes: Sequence[Outcome]) -> tuple[Outcome | None, Outcome | None]:
    """Return the outcomes of (the highest rate that passed, the lowest that did not); None where there is none."""
    passed = [outcome for outcome in outcomes if outcome.passed]
    others = [outcome for outcome in outcomes if not outcome.passed]
    return max(passed, key=attrgetter("rate"), default=None), min(others, key=attrgetter("rate"), default=None)


def allowed_over(requests: int, percentile: float) -> int:
    """Return how many of so many requests may be over a limit that the percentile is to be shown to keep.

    MLPerf's rule, at CONFIDENCE; -1 if there are too few requests to show anything.
    """
    return int(binom.ppf(1 - CONFIDENCE, requests, 1 - percentile / 100)) - 1


def probe_requests(rate: float, slo: float, percentile: float) -> int:
    """Return how many requests a probe takes.

    They are enough for MLPerf's rule with ALLOWED over, and last LASTING SLOs (ms).

    The rule takes requests for independent, and a probe begins with an empty queue: p90 of 81 requests can pass at
    rates that no queue could bear for long, as an overload of 5 % takes 20 SLOs to make requests wait for one. Of
    simulated queues the search finds too much by up to 80 % without that length, by a quarter at the very most with
    it, and mostly a tenth too little (tests/experiments/test_capacity.py).
    """
    return max(required_requests(percentile, ALLOWED), int(np.ceil(LASTING * rate * slo / 1e3)))


def burst_requests(percentile: float) -> int:
    """Return how many requests a trial of the burstiness table has.

    They are enough for the percentile, and fill whole frames of the cameras.
    """
    return CAMERAS * -(-required_requests(percentile, ALLOWED) // CAMERAS)


def is_over(records: np.ndarray, slo: float) -> np.ndarray:
    """Return whether each record is over the SLO (ms) from its due time, or was not answered: shape of `records`."""
    return (records["status"] != STATUSES.index(COMPLETED)) | (records["done"] - records["due"] > slo * 1e6)


def judge_trial(trial: Trial, rate: float, slo: float, percentile: float) -> Outcome:
    """Judge whether a trial at `rate` kept the percentile within the SLO (ms), and what limited it if not.

    It fails if more requests are over the SLO than `allowed_over`, or if it is INVALID. The client is the limit if most
    of the time of the median request over the SLO was spent waiting for a client worker, or if a rule of CLIENT_RULES
    is broken; else the server is.
    """
    rules = {finding["rule"]: f"{finding['rule']}: {finding['measured']}" for finding in trial.findings}
    slow = is_over(trial.records, slo)
    max_over = allowed_over(trial.scheduled, percentile)
    limit, why = "", ""
    if slow.sum() > max_over:
        # Requests that were cut off never got to the server: they do not tell who was slow.
        reached = trial.records[slow & (trial.records["status"] != STATUSES.index(UNFINISHED))]
        waited = (reached["began"] - reached["due"]) / np.maximum(reached["done"] - reached["due"], 1)
        client = "client CPU" in rules or (len(waited) and np.median(waited) > 0.5)
        limit = "client" if client else "server"
        counted = f"{slow.sum()} of {trial.scheduled} over"
        why = counted if trial.facts["complete"] else f"aborted with more than {max_over} over"
    elif spoilt := [text for rule, text in rules.items() if rule in CLIENT_RULES]:
        limit, why = "client", f"INVALID: {spoilt[0]}"
    elif rules:
        limit, why = "server", f"INVALID: {next(iter(rules.values()))}"
    # A trial with no rule broken and few enough requests over the SLO has passed.
    latency = trial.summary["latency"]
    figures = (trial.completed, int(slow.sum()), trial.facts["complete"], latency["p50"], latency["p99"])
    return Outcome(rate, limit, why, *figures, lowest_passing_limit(np.sort(trial.latency), percentile))
