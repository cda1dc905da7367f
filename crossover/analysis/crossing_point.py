"""Where the ratio of a sweep passes 1: only between points that are certain, and with an interval of its own."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.stats import norm

from crossover.analysis import bootstrap
from crossover.analysis.metrics import METRICS
from crossover.measurement.trial import Block


def statistic(point: dict, by: str) -> dict:
    """The ratio of a point's p50 or mean, with its interval."""
    return point if by == "p50" else point[by]


def side(ratio: dict) -> str:
    """Who is quicker by the whole interval; empty if that is open."""
    if ratio["low"] is None or ratio["high"] is None:
        return ""
    return "client" if ratio["low"] > 1 else "server" if ratio["high"] < 1 else ""


def turn(x: Sequence[float], ratios: Sequence[float], sides: Sequence[str], resampled: np.ndarray) -> dict | None:
    """Where the ratio passes 1, with a 95 % interval; None unless it does so just once, for certain.

    That it does, and between which points, only those tell at which one placement is quicker for certain (`sides`).
    `resampled` are logarithms of ratios, (resamples, points). Where one has no crossing there, it lies beyond, on the
    side that the winner tells, and so may a limit: that is None.
    """
    if len(found := turns(sides)) != 1:
        return None
    [(first, last)] = found
    between, sign = slice(first, last + 1), 1 if sides[first] == "client" else -1
    logs, own, drawn = (np.asarray(each)[..., between] for each in (np.log(x), np.log(ratios), resampled))
    limits = np.quantile(place(logs, sign * drawn), [0.025, 0.975], method="inverted_cdf")
    low, high = (float(np.exp(limit)) if np.isfinite(limit) else None for limit in limits)
    return {"x": float(np.exp(place(logs, sign * own))), "low": low, "high": high}


def turns(sides: Sequence[str]) -> list[tuple[int, int]]:
    """Neighbours, but for undecided points between them, of which each is another placement's."""
    decided = [i for i, side in enumerate(sides) if side]
    return [(i, j) for i, j in pairwise(decided) if sides[i] != sides[j]]


def place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the straight lines through these points pass 0 downwards: infinite if they are on one side throughout.

    Up and down again in between, as noise has it, counts by its length: they are above 0 for as long as they would be
    if they passed it once, there.
    """
    above, size = np.maximum(y, 0), np.abs(y)
    shares = (above[..., 1:] + above[..., :-1]) / np.maximum(size[..., 1:] + size[..., :-1], np.finfo(float).tiny)
    found = x[0] + (shares * np.diff(x)).sum(-1)
    return np.where((y > 0).all(-1), np.inf, np.where((y <= 0).all(-1), -np.inf, found))


def replicates(pairs: Sequence[tuple[Block, Block]], seed: int, by: str) -> np.ndarray:
    """log(ratio of the medians, or means) in bootstrap draws of rounds, as widely spread as the interval that
    `comparison` gives: Student's t for so few rounds, and not the normal distribution's narrower one."""
    n = len(pairs)
    [metric] = [each for each in METRICS if each.name == by]
    client, server = (metric.statistic(arm, None) for arm in zip(*pairs, strict=True))
    weights, once = bootstrap.resamples(n, seed), np.ones((1, n), int)
    own, drawn = (np.log(server(each) / client(each)) for each in (once, weights))
    if n < 2:
        return drawn
    return own + (drawn - own) * bootstrap.width(n, 0.95) * np.sqrt(n) / norm.ppf(0.975) * np.sqrt(n / (n - 1))
