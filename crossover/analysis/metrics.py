"""What arms are compared by: each metric as a function of an arm's blocks, one per round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crossover.analysis.bootstrap import Pool, Statistic, quotient
from crossover.measurement.trial import Block
from loadgen.samples.sample import COMPLETED, STATUSES

BEYOND = 20


@dataclass(frozen=True)
class Metric:
    name: str
    unit: str
    statistic: Callable[[Sequence[Block], float | None], Statistic | None]
    """Of an arm's blocks and the latency in ms that an answer must keep to count as good; None: not measured."""
    higher_is_better: bool = False
    requests: int = 1
    """How many each arm must have completed altogether before an interval is worth anything."""


def percentile(percent: float) -> Metric:
    """With at least BEYOND requests beyond it: 400 for p95, 2000 for p99.

    `summary.needed`, 90 and 459, is enough to bound a percentile if requests are independent. In a queue the slow ones
    come together, from a few busy moments: intervals for p99 with fewer beyond it did not reach the 93 % that are
    asked of them in every process that tests/test_bootstrap.py simulates.
    """

    def statistic(blocks: Sequence[Block], slo_ms: float | None) -> Statistic | None:
        pool = Pool([block.latency for block in blocks])
        return pool.percentile(percent) if len(pool.values) else None

    return Metric(f"p{percent:g}", "ms", statistic, requests=round(BEYOND / (1 - percent / 100)))


def mean(blocks: Sequence[Block], slo_ms: float | None) -> Statistic:
    return quotient([block.latency.sum() for block in blocks], [block.completed for block in blocks])


def goodput(blocks: Sequence[Block], slo_ms: float | None) -> Statistic:
    """Answers per second: within the objective, per second of the schedule; or, without one, all of them, charged
    with the time after the schedule's end until the last has come."""
    if slo_ms is None:
        rates = [block.summary["achieved"] for block in blocks]
        seconds = [b.completed / rate if rate else b.seconds for b, rate in zip(blocks, rates, strict=True)]
        return quotient([block.completed for block in blocks], seconds)
    return quotient([(block.latency <= slo_ms).sum() for block in blocks], [block.seconds for block in blocks])


def client_cpu(blocks: Sequence[Block], slo_ms: float | None) -> Statistic:
    return quotient([block.client_cpu * 1e3 for block in blocks], [block.scheduled for block in blocks])


def server_cpu(blocks: Sequence[Block], slo_ms: float | None) -> Statistic | None:
    if any(block.server_cpu is None for block in blocks):
        return None
    return quotient([block.server_cpu * 1e3 for block in blocks], [block.scheduled for block in blocks])


def size(blocks: Sequence[Block], slo_ms: float | None) -> Statistic:
    """Of the bodies of request and answer."""
    return quotient([transferred(block.records) / 1e3 for block in blocks], [block.completed for block in blocks])


def transferred(records: np.ndarray) -> int:
    done = records["status"] == STATUSES.index(COMPLETED)
    return int(records["bytes_up"][done].sum() + records["bytes_down"][done].sum())


METRICS = (
    percentile(50),
    percentile(95),
    percentile(99),
    Metric("mean", "ms", mean),
    Metric("goodput", "answers/s", goodput, higher_is_better=True),
    Metric("client CPU", "ms/request", client_cpu),
    Metric("server CPU", "ms/request", server_cpu),
    Metric("bytes", "KB/request", size),
)
