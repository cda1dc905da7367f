"""Compare two arms: a verdict per metric, from the trials of several rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, log, log1p

import numpy as np

from common.figures import ratio
from crossover.analysis.answer import Answer, TrialPair
from crossover.analysis.bootstrap import Statistic, minimum_rounds, ratio_interval
from crossover.analysis.estimate import Estimate
from crossover.analysis.loaded_pairs import ARMS
from crossover.analysis.metrics import METRICS, Metric
from crossover.analysis.recommendation import MARGIN
from crossover.analysis.verdict import BASELINE, CANDIDATE, Comparison
from crossover.measurement.pairs import Pairs, pool_service_ms
from crossover.measurement.trial import Trial

DECIDING = ("latency at this load", "latency alone", "cost")
"""Rows that always stand in the table: the verdict follows from them."""


def compare(
    pairs: Sequence[tuple[Trial, Trial]],
    slo_ms: float | None = None,
    margin: float = MARGIN,
    confidence: float = 0.95,
    seed: int = 1,
    names: tuple[str, str] | None = None,
) -> list[Comparison]:
    """Compare the arms by every metric of METRICS, in its order.

    `pairs` holds (the baseline's trial, the candidate's trial) of each round; without any, the result is empty.
    `slo_ms` is the latency objective of goodput, `margin` what counts as equivalent, `seed` the bootstrap's. `names`
    are the arms' names, else their placements'. The same arguments give the same result.
    """
    if not pairs:
        return []
    sides, (first, second) = list(zip(*pairs, strict=True)), pairs[0]
    names = names or (first.placement, second.control or second.placement)
    # Weights of one draw, (1, rounds), that takes each round once: the estimate.
    all_rounds, result = np.ones((1, len(pairs)), int), []
    for metric in METRICS:
        arms = [metric.statistic(trials, slo_ms) for trials in sides]
        baseline, candidate = (None if arm is None else finite(arm(all_rounds)[0]) for arm in arms)
        figures = Comparison(
            metric=metric.name,
            unit=f"{metric.unit} within {slo_ms:g} ms" if metric.name == "goodput" and slo_ms else metric.unit,
            baseline=baseline,
            candidate=candidate,
            ratio=None if baseline is None or candidate is None or not baseline else candidate / baseline,
            rounds=len(pairs),
            higher_is_better=metric.higher_is_better,
            margin=margin,
            confidence=confidence,
            names=names,
            verdict="not measured",
        )
        requests = min(sum(trial.completed for trial in trials) for trials in sides)
        measured = [arm for arm in arms if arm is not None]
        if baseline is not None and candidate is not None:
            figures = decide(figures, measured, metric, requests, seed)
        result.append(figures)
    return result


def compare_answers(
    answer: Answer,
    rounds: Sequence[TrialPair],
    measured: Sequence[Pairs],
    names: tuple[str, str],
    margin: float = MARGIN,
) -> list[Comparison]:
    """Return what decides as rows of the table: latency at this load and alone, and what requests cost.

    Latencies are geometric means in ms, so that their quotient is the mean ratio of pairs; under load it is adjusted.
    There they are of the rounds that are compared, each of which counts alike, as it does in the ratio.
    """
    blank = Comparison("", "ms", None, None, None, 0, False, margin, answer.confidence, names)
    rows, loaded, costs = [], answer.loaded, answer.costs
    if loaded:
        means = [[np.exp(np.log(trial.twins).mean()) for trial in pair] for pair in rounds if pair[0].scheduled]
        row = replace(blank, metric=DECIDING[0], rounds=loaded.rounds)
        row = replace(row, unadjusted=loaded.plain.ratio if loaded.adjusted else None)
        row = fill_row(row, np.array(means), loaded.ratio)
        if loaded.overloaded:
            carried = " and ".join(names[ARMS.index(arm)] for arm in loaded.overloaded)
            row = replace(row, low=None, high=None, kind="undecided", verdict=f"overloaded: {carried}")
        rows.append(row)
    if answer.unloaded:
        row = replace(blank, metric=DECIDING[1], rounds=answer.unloaded.pairs, confidence=answer.unloaded_confidence)
        rows.append(fill_row(row, pool_service_ms(measured), answer.unloaded.ratio))
    if costs and costs.server_known and costs.ratio:
        row = replace(
            blank, metric=DECIDING[2], unit="per million requests", rounds=len(rounds), ratio=costs.ratio.ratio
        )
        row = replace(row, baseline=costs.baseline, candidate=costs.candidate)
        rows.append(judge(with_interval(row, costs.ratio)))
    return rows


def fill_row(row: Comparison, times: np.ndarray, ratio: Estimate) -> Comparison:
    """Return the row with its figures and verdict; `times` are (n, 2 arms) ms, nan for what has no good answer.

    Rows with a nan are left out in both arms.
    """
    answered = times[np.isfinite(times).all(axis=1)]
    if not len(answered):
        return replace(row, verdict="undecided: nothing was answered")
    baseline, candidate = map(float, np.exp(np.log(answered).mean(axis=0)))
    return judge(with_interval(replace(row, baseline=baseline, candidate=candidate, ratio=ratio.ratio), ratio))


def with_interval(row: Comparison, ratio: Estimate) -> Comparison:
    """Return the row with the interval of that estimate; without one where there are too few data."""
    if not isfinite(ratio.error):
        return replace(row, verdict="undecided: too few data for an interval")
    low, high = ratio.ratios(row.confidence)
    return replace(row, low=finite(low), high=finite(high))


def decide(figures: Comparison, arms: Sequence[Statistic], metric: Metric, requests: int, seed: int) -> Comparison:
    """Return the figures with interval and verdict, as far as there are enough data for them.

    `arms` are both arms' statistics, `requests` how many the arm with fewer has completed.
    """
    rounds, confidence = figures.rounds, figures.confidence
    if metric.exact:
        return judge(replace(figures, low=figures.ratio, high=figures.ratio))
    if rounds < minimum_rounds(confidence):
        return replace(figures, verdict="undecided: too few rounds for an interval")
    if requests < metric.requests:
        return replace(figures, verdict="undecided: too few requests for an interval")
    if metric.higher_is_better and (kind := find_only_arm(arms, rounds)):
        figures = replace(figures, kind=kind)
        return replace(figures, verdict=f"{figures.better} better: the other arm has none")
    first, second = arms
    low, high = map(finite, ratio_interval(first, second, rounds, confidence, seed))
    # A draw may consist of rounds in which an arm has nothing: its ratio is 0, infinite or not a number.
    if not low or high is None:
        return replace(figures, verdict="undecided: an arm has no data in some rounds")
    return judge(replace(figures, low=low, high=high))


def judge(figures: Comparison) -> Comparison:
    """Return the figures with the verdict that follows from their interval; unchanged if they have none.

    Equivalent: the whole interval lies between 1 / (1 + margin) and 1 + margin. Schuirmann's two one-sided tests (1987,
    J. Pharmacokinet. Biopharm. 15:657) allow the narrower 90 % interval. Here it is the interval that is shown, so that
    eyes and verdict agree: it is wrong half as often. A difference that is certain but smaller than the margin is
    equivalent, too, because it is not worth a decision.
    """
    ratio, low, high = figures.ratio, figures.low, figures.high
    if ratio is None or low is None or high is None:
        return figures
    margin = log1p(figures.margin)
    # A ratio of 0 is that of an arm which spends nothing, as no bytes where no server is asked.
    if low > 0 and -margin <= log(low) and log(high) <= margin:
        return replace(figures, kind="equivalent", verdict=f"equivalent within {figures.margin * 100:.2g} %")
    if low > 1 or high < 1:
        figures = replace(figures, kind=CANDIDATE if (ratio > 1) == figures.higher_is_better else BASELINE)
        return replace(figures, verdict=f"{figures.better} better")
    return replace(figures, verdict="undecided")


def find_only_arm(arms: Sequence[Statistic], rounds: int) -> str:
    """Return the arm that achieves something in every round where the other never does; empty if neither.

    Such a pair has no ratio, but the sign test decides it: by `minimum_rounds`, so many rounds do not all go one way
    by chance.
    """
    # Weights of as many draws as there are rounds: each draw is one round alone.
    baseline, candidate = (arm(np.eye(rounds, dtype=int)) for arm in arms)
    if baseline.all() and not candidate.any():
        return BASELINE
    return CANDIDATE if candidate.all() and not baseline.any() else ""


def finite(value: float) -> float | None:
    """Return the value as a float, or None for nan and infinity, which JSON does not have."""
    return float(value) if isfinite(value) else None


def format_ratio(comparison: Comparison | Mapping) -> str:
    """Return the ratio with its interval, such as "0.862 [0.83, 0.894]"; "-" where there is no ratio."""
    values = as_mapping(comparison)
    if values["ratio"] is None:
        return "-"
    ratio = f"{values['ratio']:.3g}"
    return ratio if values["low"] is None else f"{ratio} [{values['low']:.3g}, {values['high']:.3g}]"


def folds(comparison: Comparison | Mapping) -> bool:
    """Return whether a row is left out of the table and named below it: a metric that these data do not decide."""
    values = as_mapping(comparison)
    return values["kind"] == "undecided" and values["metric"] not in DECIDING and values["ratio"] is not None


def name_folded(comparisons: Sequence[Mapping]) -> str:
    """Name the metrics that are left out of the table, with their ratios: undecided, or without an interval."""
    parts: dict[str, list[str]] = {}
    for each in filter(folds, comparisons):
        why = "too few data for an interval" if each["low"] is None else "undecided"
        parts.setdefault(why, []).append(f"{each['metric']} {ratio(each['ratio'], each['low'], each['high'])}")
    return "; ".join(f"{why}: {', '.join(named)}" for why, named in parts.items())


def format_table(comparisons: Sequence[Comparison | Mapping]) -> str:
    """Return a table for the terminal, one line per metric; the comparisons may come from summary.json.

    Metrics that are not decided share a line below it.
    """
    rows = [as_mapping(each) for each in comparisons]
    if not rows:
        return "nothing to compare"
    first, second = rows[0]["names"]
    lines = [("", first, second, f"{second}/{first}", "verdict")]
    for each in rows:
        if not folds(each):
            values = [format_value(each[arm]) for arm in (BASELINE, CANDIDATE)]
            lines.append((f"{each['metric']}, {each['unit']}", *values, format_ratio(each), each["verdict"]))
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    table = [
        f"{name:<{widths[0]}}  {a:>{widths[1]}}  {b:>{widths[2]}}  {ratio:<{widths[3]}}  {verdict}".rstrip()
        for name, a, b, ratio, verdict in lines
    ]
    return "\n".join([*table, *filter(None, [name_folded(rows)])])


def as_mapping(comparison: Comparison | Mapping) -> Mapping:
    """Return the comparison as summary.json holds it."""
    return comparison if isinstance(comparison, Mapping) else comparison.as_dict()


def format_value(value: float | None) -> str:
    """Return a figure with three significant digits, whole from 1000 on; "-" for None."""
    return "-" if value is None else f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
