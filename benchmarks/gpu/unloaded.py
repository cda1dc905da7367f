"""Unloaded latency of several arms in turns, and where it goes: processing, the network, movement.

A round holds a block of every arm, in an order drawn anew; a block asks every payload equally often, one request at a
time. Triton's statistics are read between blocks, so that each block has its own. Intervals come from the rounds.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.gpu.arms import PROCESSING
from crossover.analysis.bootstrap import PooledSamples, quotient, ratio_interval
from crossover.analysis.latency_breakdown import remove_double_counting
from crossover.measurement.pairs import LoneRequests
from crossover.measurement.server_statistics import difference
from loadgen.arm import Arm
from loadgen.client.loop import pause_gc
from loadgen.samples.sample import COMPLETED, STATUSES, tabulate
from serving.server import Server, Unavailable
from workloads.payloads import Payload

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Block:
    """One arm's requests of a round: service times in ms, and mean ms per request of each part."""

    latency: np.ndarray
    parts: dict[str, float]


Blocks = dict[str, list[Block]]
"""Arm -> its block of each round."""


def measure_unloaded(
    server: Server, arms: dict[str, Arm], sent: Sequence[Payload], seconds: float, rounds: int, seed: int = 1
) -> Blocks:
    """Ask in turns for about so many seconds, after every payload was sent twice by each arm to warm up.

    Raises Unavailable if a request of a round is not answered.
    """
    names, dice = list(arms), random.Random(f"unloaded {seed}")
    lone = LoneRequests(server, list(arms.values()))
    try:
        lone.warm_up(sent)
        began = lone.now()
        lone.warm_up(sent)
        passes = max(1, round(seconds / rounds / max(1e-3, (lone.now() - began) / 1e9)))
        blocks: Blocks = {name: [] for name in names}
        with pause_gc():
            for _ in range(rounds):
                for name in dice.sample(names, len(names)):
                    blocks[name].append(measure_block(server, lone, names.index(name), arms[name], sent, passes))
    finally:
        lone.close()
    return blocks


def measure_block(
    server: Server, lone: LoneRequests, number: int, arm: Arm, sent: Sequence[Payload], passes: int
) -> Block:
    """Send every payload `passes` times by the arm of that number. Raises Unavailable without an answer."""
    before = server.statistics()
    samples = [lone.send(number, sent[i % len(sent)], i, i % len(sent)) for i in range(passes * len(sent))]
    records, reasons = tabulate(samples)
    bad = records[records["status"] != STATUSES.index(COMPLETED)]
    if len(bad):
        raise Unavailable(f"{arm}: {len(bad)} of {len(records)} were not answered: {reasons[bad['reason'][0]]}")
    steps = difference(before, server.statistics(), (*arm.workload.steps, arm.target.model))
    passed = [step for step in dict.fromkeys(arm.workload.steps) if step in steps]
    return Block((records["done"] - records["began"]) / 1e6, split(records, steps, arm.target.model, passed))


def split(records: np.ndarray, steps: dict[str, dict], model: str, passed: Sequence[str]) -> dict[str, float]:
    """Split the mean service time (ms) of answered requests into parts that add up to it.

    `processing` is the client's preprocessing and what PROCESSING steps compute, `network` what the network computes,
    `waiting` the steps' queues, `movement` all the rest: HTTP, handing over, reading inputs and writing outputs.
    `model` is the one that is asked, `passed` the steps in order. Without the server's figures the rest is `server`.
    """
    whole, answer = (mean_ms(records, begin, "done") for begin in ("began", "sent"))
    client = mean_ms(records, "began", "prepared")
    if model not in steps:
        return {"processing": client, "server": whole - client}
    total = steps[model]["total"]
    by_step = remove_double_counting([steps[step]["ms"] for step in passed], total, len(passed) - 1)
    if answer < total:
        by_step = remove_double_counting(by_step, answer, len(passed))
    computed = {step: ms["compute_infer"] for step, ms in zip(passed, by_step, strict=True)}
    parts = {
        "processing": client + sum(ms for step, ms in computed.items() if step in PROCESSING),
        "network": sum(ms for step, ms in computed.items() if step not in PROCESSING),
        "waiting": sum(ms["queue"] for ms in by_step),
    }
    return {**parts, "movement": whole - sum(parts.values())}


def mean_ms(records: np.ndarray, begin: str, end: str) -> float:
    """Return the mean time from one instant to another, in ms."""
    return float((records[end] - records[begin]).mean()) / 1e6


Estimate = tuple[float, float, float]
"""A value, and the limits of its 95 % interval; nan where the rounds allow none."""


def median_latency(blocks: Sequence[Block]) -> Estimate:
    """Return an arm's median latency in ms."""
    pooled = PooledSamples([block.latency for block in blocks])
    value = float(np.median(np.concatenate([block.latency for block in blocks])))
    return value, *interval(lambda weights: np.ones(len(weights)), pooled.percentile(50), len(blocks))


def median_ratio(baseline: Sequence[Block], candidate: Sequence[Block]) -> Estimate:
    """Return the ratio of two arms' medians, candidate / baseline, by rounds that held both."""
    pooled = [PooledSamples([block.latency for block in blocks]) for blocks in (baseline, candidate)]
    medians = [float(np.median(np.concatenate([block.latency for block in each]))) for each in (baseline, candidate)]
    limits = interval(pooled[0].percentile(50), pooled[1].percentile(50), len(baseline))
    return medians[1] / medians[0], *limits


def share_of(blocks: Sequence[Block], parts: Sequence[str]) -> Estimate | None:
    """Return the share, 0 to 1, of an arm's mean latency that these parts take; None where one is not known."""
    if not all(part in block.parts for block in blocks for part in parts):
        return None
    taken = [sum(block.parts[part] for part in parts) for block in blocks]
    whole = [sum(block.parts.values()) for block in blocks]
    statistic = quotient(taken, whole)
    return sum(taken) / sum(whole), *interval(lambda weights: np.ones(len(weights)), statistic, len(blocks))


def mean_parts(blocks: Sequence[Block]) -> dict[str, float]:
    """Return the mean ms of each part over the rounds."""
    names = dict.fromkeys(name for block in blocks for name in block.parts)
    return {name: float(np.mean([block.parts.get(name, np.nan) for block in blocks])) for name in names}


def interval(first, second, rounds: int) -> tuple[float, float]:
    """Return the 95 % interval of second / first over rounds, as `bootstrap.ratio_interval`; nan below six."""
    return ratio_interval(first, second, rounds, CONFIDENCE, seed=1) if rounds >= 6 else (np.nan, np.nan)
