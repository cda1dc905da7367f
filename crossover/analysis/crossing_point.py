"""Find where a sweep's ratio crosses 1: only between decided points, and with an interval of its own."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.special import ndtri

from crossover.analysis import bootstrap
from crossover.analysis.metrics import METRICS
from crossover.analysis.verdict import BASELINE, CANDIDATE
from crossover.measurement.trial import Trial


def select_ratio(point: dict, metric: str) -> dict:
    """Return a point's ratio, with its interval, by "p50" or by "mean"."""
    return point if metric == "p50" else point[metric]


def faster_arm(ratio: dict) -> str:
    """Return the arm that the whole interval shows to be faster, BASELINE or CANDIDATE; empty if undecided."""
    if ratio["low"] is None or ratio["high"] is None:
        return ""
    return BASELINE if ratio["low"] > 1 else CANDIDATE if ratio["high"] < 1 else ""


def find_crossing(
    x: Sequence[float], ratios: Sequence[float], faster: Sequence[str], resampled: np.ndarray
) -> dict | None:
    """Return where the ratio crosses 1 with a 95 % interval, {"x", "low", "high"}; None unless it does so exactly once.

    `x`, `ratios` and `faster` have one entry per point. Whether it crosses, and between which points, is decided only
    by points at which one placement is faster beyond doubt (`faster`). `resampled` holds logarithms of ratios, of
    shape (resamples, points). A resample without a crossing between those points has it beyond them, on the winner's
    side; a limit that falls there is None.
    """
    if len(changes := find_changes(faster)) != 1:
        return None
    [(first, last)] = changes
    # The points between are undecided; `sign` makes every crossing one downwards.
    between, sign = slice(first, last + 1), 1 if faster[first] == BASELINE else -1
    logs, measured, drawn = (np.asarray(each)[..., between] for each in (np.log(x), np.log(ratios), resampled))
    limits = np.quantile(interpolate(logs, sign * drawn), [0.025, 0.975], method="inverted_cdf")
    low, high = (float(np.exp(limit)) if np.isfinite(limit) else None for limit in limits)
    return {"x": float(np.exp(interpolate(logs, sign * measured))), "low": low, "high": high}


def find_changes(faster: Sequence[str]) -> list[tuple[int, int]]:
    """Return the index pairs of successive decided points at which different placements are faster."""
    decided = [i for i, placement in enumerate(faster) if placement]
    return [(i, j) for i, j in pairwise(decided) if faster[i] != faster[j]]


def interpolate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return where the line through the points crosses 0 downwards; -inf or inf if all of them lie on one side.

    `x` has shape (points,), `y` shape (..., points). A line that crosses several times, as noise makes it do, is
    above 0 for a certain length; the result is the single crossing that gives the same length.
    """
    above, size = np.maximum(y, 0), np.abs(y)
    shares = (above[..., 1:] + above[..., :-1]) / np.maximum(size[..., 1:] + size[..., :-1], np.finfo(float).tiny)
    crossing = x[0] + (shares * np.diff(x)).sum(-1)
    return np.where((y > 0).all(-1), np.inf, np.where((y <= 0).all(-1), -np.inf, crossing))


def resample_ratio(pairs: Sequence[tuple[Trial, Trial]], seed: int, metric: str) -> np.ndarray:
    """Return log(candidate / baseline) of one point in bootstrap draws of its rounds; float64 of shape (resamples,).

    The draws are widened to the spread of the interval that `comparison` gives: Student's t for so few rounds instead
    of the normal distribution's narrower one. `metric` is "p50" or "mean". Raises ValueError where it is not measured.
    """
    n = len(pairs)
    [chosen] = [each for each in METRICS if each.name == metric]
    baseline, candidate = (chosen.statistic(arm, None) for arm in zip(*pairs, strict=True))
    if baseline is None or candidate is None:
        raise ValueError(f"{metric} was not measured in every round")
    weights, all_rounds = bootstrap.draw_weights(n, seed), np.ones((1, n), int)
    estimate, drawn = (np.log(candidate(each) / baseline(each)) for each in (all_rounds, weights))
    if n < 2:
        return drawn
    # Student's quantile over the normal one, and n / (n - 1) for the variance of so few rounds.
    widening = bootstrap.relative_half_width(n, 0.95) * np.sqrt(n) / ndtri(0.975) * np.sqrt(n / (n - 1))
    return estimate + (drawn - estimate) * widening
