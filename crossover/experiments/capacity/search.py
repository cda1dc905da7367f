"""How an arm's capacity is searched: how many requests a probe has, what it comes to, and where the turns start."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crossover.experiments.burst_shapes import CAMERAS
from crossover.measurement.trial import Trial
from loadgen.samples.early_stopping import required_requests
from loadgen.samples.sample import COMPLETED, STATUSES, UNFINISHED

ALLOWED = 2  # requests beyond the percentile: on fewer, one hiccup of the machine would decide
LASTING = 20  # times the SLO: so long a probe lasts at least, however few requests the percentile needs
SHORTEST = 5.0  # seconds, likewise: shorter ones all meet the same speed of a machine whose speed wanders
START = 0.5  # the first probe's rate, in requests per back-to-back time
DOUBLINGS, HALVINGS = 20, 2  # at a quarter of that rate hardly a request waits for another, and a probe takes long
SLOW_CLIENT = "client"
SLOW_SERVER = "server"
SLOW_LINK = "link"
"""The sides of a connection, whatever placements are called, and what --link puts between them."""
CLIENT_RULES = {"offered rate", "dispatch lag", "client CPU", "hub stall", "books"}  # broken by the client's own doing


@dataclass(frozen=True)
class Probe:
    """What a trial at one rate came to."""

    arm: str
    turn: int | None
    """From 0; None for those before the turns, which look for the rate to start from."""
    rate: float
    """Offered, per second."""
    ms: float | None
    """The percentile that is held to the SLO, over all arrivals; None if so many of them have no good answer."""
    over: bool
    """Whether that is over the SLO."""
    slow: str = ""
    """What was slow if it is: `server`, `client` before it sent anything, or `link`, if there is one."""
    client_rules: tuple[str, ...] = ()
    """The rules of the verdict that the client broke by its own doing."""
    requests: int = 0
    """Answered."""
    complete: bool = True
    """Whether it ran to its end: it is given up once it is far over the SLO."""
    valid: bool = True
    p50: float | None = None
    p99: float | None = None


def find_start(probe: Callable[[float], Probe], start: float) -> float | None:
    """Return a rate in the neighbourhood of the capacity: where the turns start.

    Doubles from `start` while probes keep the SLO, or halves until one does. None if all of them keep it, or none.
    """
    first = probe(start)
    factor, most = (0.5, HALVINGS) if first.over else (2, DOUBLINGS)
    rate = start
    for _ in range(most):
        rate *= factor
        if probe(rate).over != first.over:
            return rate / factor**0.5
    return None


def probe_requests(rate: float, slo: float, percentile: float) -> int:
    """Return how many requests probes about a rate have: enough for the percentile, for LASTING SLOs and SHORTEST.

    A probe begins with an empty queue, so a short one keeps the SLO at rates that no queue could bear for long: an
    overload of 5 % takes 20 SLOs to make requests wait for one.
    """
    seconds = max(LASTING * slo / 1e3, SHORTEST)
    return max(required_requests(percentile, ALLOWED), int(np.ceil(seconds * rate)))


def burst_requests(percentile: float) -> int:
    """Return how many requests a trial of the burstiness table has.

    They are enough for the percentile, and fill whole frames of the cameras.
    """
    return CAMERAS * -(-required_requests(percentile, ALLOWED) // CAMERAS)


def most_over(requests: int, percentile: float) -> int:
    """Return how many of so many requests may be over a limit before the percentile certainly is."""
    return requests - int((requests - 1) * percentile / 100) - 1


def is_over(records: np.ndarray, limit: float) -> np.ndarray:
    """Return whether each record is over a limit (ms) from its due time, or was not answered: shape of `records`."""
    return (records["status"] != STATUSES.index(COMPLETED)) | (records["done"] - records["due"] > limit * 1e6)


def measure_percentile(trial: Trial, percentile: float) -> float | None:
    """Return the percentile (ms) over all arrivals of a trial; None if so many have no good answer."""
    due = max(trial.facts.get("due") or 0, trial.scheduled)
    latency = np.concatenate([trial.latency, np.full(due - trial.completed, np.inf)])
    with np.errstate(invalid="ignore"):
        value = float(np.percentile(latency, percentile))
    return value if np.isfinite(value) else None


def judge_trial(
    trial: Trial, turn: int | None, rate: float, slo: float, percentile: float, linked: bool = False
) -> Probe:
    """Judge whether a trial at `rate` kept the percentile within the SLO (ms), and what was slow if not.

    The client was slow if most of the time of the median request over the SLO was spent waiting for a client worker, or
    if its cores were used up; a link, if there is one, if most of it was spent on the way; else the server was.
    """
    ms = measure_percentile(trial, percentile)
    rules = tuple(finding["rule"] for finding in trial.findings if finding["rule"] in CLIENT_RULES)
    over, slow = ms is None or ms > slo, ""
    if over:
        # Requests that were cut off never got to the server: they do not tell who was slow.
        records = trial.records
        reached = records[is_over(records, slo) & (records["status"] != STATUSES.index(UNFINISHED))]
        whole = np.maximum(reached["done"] - reached["due"], 1)
        in_server = max((each["total"] * 1e6 for each in trial.steps.values()), default=0.0)
        if "client CPU" in rules or takes_most(reached["began"] - reached["due"], whole):
            slow = SLOW_CLIENT
        elif linked and takes_most(reached["done"] - reached["sent"] - in_server, whole):
            slow = SLOW_LINK
        else:
            slow = SLOW_SERVER
    latency = trial.summary["latency"]
    figures = (trial.completed, trial.facts["complete"], trial.valid, latency["p50"], latency["p99"])
    return Probe(trial.arm, turn, rate, ms, over, slow, rules, *figures)


def takes_most(part: np.ndarray, whole: np.ndarray) -> bool:
    """Return whether a part is more than half of the whole in the median request; both of shape (requests,)."""
    return bool(len(whole)) and bool(np.median(part / whole) > 0.5)
