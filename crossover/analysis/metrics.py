"""The metrics by which arms are compared: each is a function of an arm's trials, one per round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from crossover.analysis.bootstrap import PooledSamples, Statistic, quotient
from crossover.measurement.trial import Trial
from loadgen.samples.sample import COMPLETED, STATUSES

REQUESTS_BEYOND = 20
"""How many requests must lie beyond a percentile before it gets an interval."""


@dataclass(frozen=True)
class Metric:
    """A figure by which two arms are compared."""

    name: str
    unit: str
    statistic: Callable[[Sequence[Trial], float | None], Statistic | None]
    """Takes an arm's trials and the latency objective in ms (or None); returns None for what was not measured."""
    higher_is_better: bool = False
    requests: int = 1
    """How many requests each arm must have completed in all before an interval is computed."""
    exact: bool = False
    """Whether it has no noise: both arms of a round send the same payloads, so one request of each tells all."""


def latency_percentile(percent: float) -> Metric:
    """Make the metric of a latency percentile (0 to 100), in ms.

    It needs REQUESTS_BEYOND requests beyond it: 400 for p95, 2000 for p99. `summary.needed`, 90 and 459, is enough to
    bound a percentile if requests are independent. In a queue the slow ones come together, from a few busy moments:
    with fewer requests, intervals for p99 did not reach the required 93 % coverage in every process that
    tests/analysis/test_bootstrap.py simulates.
    """

    def statistic(trials: Sequence[Trial], slo_ms: float | None) -> Statistic | None:
        """Return the percentile of an arm's trials together; None without any answer."""
        samples = PooledSamples([trial.latency for trial in trials])
        # An arm without any answer has no percentile, and is not compared by it.
        return samples.percentile(percent) if len(samples.values) else None

    return Metric(f"p{percent:g}", "ms", statistic, requests=round(REQUESTS_BEYOND / (1 - percent / 100)))


def mean_latency(trials: Sequence[Trial], slo_ms: float | None) -> Statistic:
    """Return the mean latency of completed requests, in ms."""
    return quotient([trial.latency.sum() for trial in trials], [trial.completed for trial in trials])


def goodput(trials: Sequence[Trial], slo_ms: float | None) -> Statistic:
    """Return answers per second.

    With an objective: answers within it, per second of the schedule. Without one: all answers, per second until the
    last of them, so that time after the schedule's end counts.
    """
    if slo_ms is None:
        rates = [trial.summary["achieved"] for trial in trials]
        seconds = [trial.completed / rate if rate else trial.seconds for trial, rate in zip(trials, rates, strict=True)]
        return quotient([trial.completed for trial in trials], seconds)
    return quotient([(trial.latency <= slo_ms).sum() for trial in trials], [trial.seconds for trial in trials])


def client_cpu(trials: Sequence[Trial], slo_ms: float | None) -> Statistic | None:
    """Return CPU time of the client's process, in ms per scheduled request; None if a trial lacks it (nan)."""
    if any(isnan(trial.client_cpu) for trial in trials):
        return None
    return quotient([trial.client_cpu * 1e3 for trial in trials], [trial.scheduled for trial in trials])


def server_cpu(trials: Sequence[Trial], slo_ms: float | None) -> Statistic | None:
    """Return CPU time of the server and its backends, in ms per scheduled request; None if a trial lacks it."""
    # A sum over only some of the rounds would compare different rounds.
    seconds = [trial.server_cpu for trial in trials if trial.server_cpu is not None]
    if len(seconds) < len(trials):
        return None
    return quotient([each * 1e3 for each in seconds], [trial.scheduled for trial in trials])


def body_size(trials: Sequence[Trial], slo_ms: float | None) -> Statistic:
    """Return the size of the request's and the answer's bodies together, in KB per completed request."""
    return quotient([count_bytes(trial.records) / 1e3 for trial in trials], [trial.completed for trial in trials])


def count_bytes(records: np.ndarray) -> int:
    """Sum the bytes that completed requests sent and received; `records` is a structured array of RECORD."""
    done = records["status"] == STATUSES.index(COMPLETED)
    return int(records["bytes_up"][done].sum() + records["bytes_down"][done].sum())


METRICS = (
    latency_percentile(50),
    latency_percentile(95),
    latency_percentile(99),
    Metric("mean", "ms", mean_latency),
    Metric("goodput", "answers/s", goodput, higher_is_better=True),
    Metric("client CPU", "ms/request", client_cpu),
    Metric("server CPU", "ms/request", server_cpu),
    Metric("bytes", "KB/request", body_size, exact=True),
)
