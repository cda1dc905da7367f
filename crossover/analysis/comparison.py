"""Which arm is better, by how much, and how sure is that: a verdict per metric, from rounds of blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, isfinite, log, log1p

import numpy as np

from crossover.analysis.bootstrap import Statistic, least, more
from crossover.analysis.bootstrap import interval as bootstrapped
from crossover.analysis.metrics import METRICS, Metric
from crossover.analysis.verdict import Comparison
from crossover.analysis.wording import HEADLINE, by, percent, sentence, winning
from crossover.analysis.wording import rounds as in_rounds
from crossover.measurement.compatibility import incompatible
from crossover.measurement.trial import Block

__all__ = ["Comparison", "between", "compare", "incompatible", "interval", "precise", "sentence", "text"]


HEADLINES = (HEADLINE, "mean")


def compare(
    pairs: Sequence[tuple[Block, Block]],
    slo_ms: float | None = None,
    margin: float = 0.05,
    confidence: float = 0.95,
    seed: int = 1,
    names: tuple[str, str] | None = None,
) -> list[Comparison]:
    """Every metric, from (the client's block, the server's block) of each round; nothing from no pairs."""
    if not pairs:
        return []
    sides, (first, second) = list(zip(*pairs, strict=True)), pairs[0]
    called = names or (first.placement, second.control or second.placement)
    once, found = np.ones((1, len(pairs)), int), []
    for metric in METRICS:
        arms = [metric.statistic(blocks, slo_ms) for blocks in sides]
        client, server = (None if arm is None else finite(arm(once)[0]) for arm in arms)
        found.append(
            Comparison(
                metric=metric.name,
                unit=f"{metric.unit} within {slo_ms:g} ms" if metric.name == "goodput" and slo_ms else metric.unit,
                client=client,
                server=server,
                ratio=None if client is None or server is None or not client else server / client,
                rounds=len(pairs),
                higher_is_better=metric.higher_is_better,
                margin=margin,
                confidence=confidence,
                names=called,
            )
        )
        requests = min(sum(block.completed for block in blocks) for blocks in sides)
        found[-1] = settled(found[-1], arms, metric, requests, seed)
    return found


def settled(figures: Comparison, arms: Sequence[Statistic], metric: Metric, requests: int, seed: int) -> Comparison:
    """With interval and verdict, as far as there is enough data for them."""
    rounds, confidence = figures.rounds, figures.confidence
    if figures.client is None or figures.server is None:
        return replace(figures, verdict="not measured")
    lacking = max(least(confidence) - rounds, ceil(rounds * (metric.requests / max(1, requests) - 1)))
    if lacking > 0:
        return replace(figures, verdict=not_enough(lacking), more_rounds=lacking)
    if metric.higher_is_better and (kind := all_or_nothing(arms, rounds)):
        figures = replace(figures, kind=kind)
        return replace(figures, verdict=f"{winning(figures)} better {by(figures)}")
    low, high = map(finite, bootstrapped(*arms, rounds, confidence, seed))
    if not low or high is None:
        return replace(figures, verdict="not enough data: an arm has none in some rounds")
    return judged(replace(figures, low=low, high=high))


def judged(figures: Comparison) -> Comparison:
    """Equivalent is what lies with its whole interval within 1 / (1 + margin) to 1 + margin.

    Schuirmann's two one-sided tests (1987, J. Pharmacokinet. Biopharm. 15:657) would do with the narrower 90 %
    interval. Here it is the interval that is shown, so that eyes and verdict agree: it is wrong half as often. What
    differs for sure, but by less than the margin, is equivalent, too: it is not worth a decision.
    """
    middle, margin = log(figures.ratio), log1p(figures.margin)
    if -margin <= log(figures.low) and log(figures.high) <= margin:
        return replace(figures, kind="equivalent", verdict=f"equivalent within {percent(figures.margin)}")
    if figures.low > 1 or figures.high < 1:
        figures = replace(figures, kind="server" if (figures.ratio > 1) == figures.higher_is_better else "client")
        return replace(figures, verdict=f"{winning(figures)} better {by(figures)}")
    half = (log(figures.high) - log(figures.low)) / 2
    lacking = more(figures.rounds, half, max(abs(middle), margin - abs(middle)), figures.confidence)
    return replace(figures, verdict=not_enough(lacking), more_rounds=lacking)


def all_or_nothing(arms: Sequence[Statistic], rounds: int) -> str:
    """The only arm that has any: some in every round, where the other has none in any. No ratio has that, but the
    sign test decides it: by `least`, so many rounds do not all go one way by chance."""
    client, server = (arm(np.eye(rounds, dtype=int)) for arm in arms)
    if client.all() and not server.any():
        return "client"
    return "server" if server.all() and not client.any() else ""


def precise(comparisons: Sequence[Comparison], share: float) -> bool:
    """Is the interval of every one of HEADLINES within that share of its middle? Not if one has none."""
    found = [each for each in comparisons if each.metric in HEADLINES]
    return bool(found) and all(each.low and each.high / each.low - 1 < 2 * share for each in found)


def not_enough(lacking: int) -> str:
    return f"not enough data: {in_rounds(lacking)}"


def finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def between(
    before: Sequence[Block], after: Sequence[Block], slos: Mapping[str, float | None] | None = None
) -> dict[str, list[Comparison]]:
    """Each arm against itself in another report, round by round; arms that only one of them has are left out. `slos`
    are the limits of good answers by workload, ms.

    Rounds of two reports were not interleaved. An interval says how much rounds differ, not how much the machine has
    changed meanwhile: run both twice before you believe a small difference.
    """
    kept = {(block.arm, block.round): block for block in before if block.sound}
    pairs: dict[str, list[tuple[Block, Block]]] = {}
    for block in sorted(after, key=lambda block: block.round):
        if block.sound and (block.arm, block.round) in kept:
            pairs.setdefault(block.arm, []).append((kept[block.arm, block.round], block))
    limits = {arm: (slos or {}).get(each[0][0].workload) for arm, each in pairs.items()}
    return {arm: compare(each, limits[arm], names=("before", "after")) for arm, each in pairs.items()}


def interval(comparison: Comparison | Mapping) -> str:
    """0.862 [0.83, 0.894]"""
    values = row(comparison)
    if values["ratio"] is None:
        return "-"
    told = f"{values['ratio']:.3g}"
    return told if values["low"] is None else f"{told} [{values['low']:.3g}, {values['high']:.3g}]"


def text(comparisons: Sequence[Comparison | Mapping]) -> str:
    """A table for the terminal."""
    rows = [row(each) for each in comparisons]
    if not rows:
        return "nothing to compare"
    first, second = rows[0].get("names", ("client", "server"))
    lines = [("", first, second, f"{second}/{first}", "verdict")]
    for each in rows:
        name, values = f"{each['metric']}, {each['unit']}", (said(each["client"]), said(each["server"]))
        lines.append((name, *values, interval(each), each["verdict"]))
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    return "\n".join(
        f"{name:<{widths[0]}}  {a:>{widths[1]}}  {b:>{widths[2]}}  {ratio:<{widths[3]}}  {verdict}".rstrip()
        for name, a, b, ratio, verdict in lines
    )


def row(comparison: Comparison | Mapping) -> Mapping:
    return comparison if isinstance(comparison, Mapping) else comparison.as_dict()


def said(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
