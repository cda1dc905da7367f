"""Where two arms of a sweep are equally quick: between which points for certain, and where there.

The interval allows for the curve between two points, which nobody has measured.

Latency is additive: a + b x for what grows with the input, a + b / rate over a link, a + b / n for work that n cores
share. So the *difference* of two arms' latencies is linear in x or in 1 / x, and its zero is interpolated there. The
ratio is not linear in either, nor is its logarithm: interpolated in log x, two placements that are even at 333 Mbit/s
seemed to be so at 507 (368 to 779).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from scipy.special import ndtri

from crossover.analysis import bootstrap
from crossover.analysis.metrics import METRICS
from crossover.measurement.trial import Trial

SHARED = {"Mbit/s", "threads", "cores"}
"""Units of what a fixed amount of work is shared out over: latency is a + b / x."""
MARGIN = 0.05
"""A side counts from that ratio on: 1.005 here and 0.995 there is no crossing that anyone needs to know."""
LEAST_POINTS = 3
"""For the word "throughout"."""


@dataclass(frozen=True)
class Crossing:
    """Where the arms are equally quick, in the unit of x."""

    x: float
    low: float
    high: float
    """A 95 % interval, within the two decided points that enclose the crossing. It is all that lies between them where
    no further point tells how the curve bends."""
    law: str
    """'a + b x' or 'a + b / x': what latency is taken for between two points."""

    def as_dict(self) -> dict:
        """Return the fields, for JSON."""
        return asdict(self)


def find_crossing(
    x: Sequence[float], differences: Sequence[float], sides: Sequence[str], drawn: np.ndarray, unit: str = ""
) -> Crossing | None:
    """Return where the difference of the latencies passes 0; None unless it does so just once, for certain.

    `x` are the points, ascending and above 0, `differences` the candidate's latency less the baseline's, in ms, `sides`
    what `judge_point` says of each, `drawn` bootstrap draws of the differences, of shape (draws, points). Points
    without an interval are the caller's to leave out. Raises ValueError for points that do not ascend from above 0.

    Two points of different sides enclose the crossing. Within a stretch that is convex or concave, the curve lies
    between the chord and the lines on from any two points on either side of it, and so does its zero (the three-slope
    inequality); each draw has the range of these zeros, and the interval reaches from the 2.5 % quantile of the lower
    ends to the 97.5 % quantile of the upper ones. Without neighbours the range is the whole stretch.
    """
    if min(x) <= 0 or any(after <= before for before, after in pairwise(x)):
        raise ValueError(f"points must be above 0 and ascend, not {list(x)}")
    if len(found := find_turns(sides)) != 1:
        return None
    [(first, last)] = found
    forward, back, law = choose_scale(unit)
    at, values, own = forward(np.asarray(x, float)), np.asarray(drawn, float), np.asarray(differences, float)
    if at[0] > at[-1]:  # 1 / x descends
        at, values, own = at[::-1], values[:, ::-1], own[::-1]
        first, last = len(at) - 1 - last, len(at) - 1 - first
    low, high = enclose(at, values, first, last)
    low, high = (np.quantile(each, q, method="inverted_cdf") for each, q in ((low, 0.025), (high, 0.975)))
    within = slice(first, last + 1)
    middle = interpolate(at[within], own[within] * np.sign(own[first]))
    # A point estimate of noisy points between the decided ones may lie outside of what the draws say.
    start, end = sorted(float(back(each)) for each in (min(low, middle), max(high, middle)))
    return Crossing(float(back(middle)), start, end, law)


def choose_scale(unit: str) -> tuple[Callable, Callable, str]:
    """Return (x -> the variable in which latency is linear, the way back, the law in words) for that unit of x."""
    if unit in SHARED:
        return np.reciprocal, np.reciprocal, "a + b / x"
    return np.asarray, np.asarray, "a + b x"


def enclose(at: np.ndarray, values: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the (lowest, highest) zero of each draw between the points first and last.

    A draw that has none there has it at the end that it is on the wrong side of.
    """
    sign = np.sign(np.median(values[:, first]))
    low, high = np.full(len(values), np.inf), np.full(len(values), -np.inf)
    for i in range(first, last):
        begin, end = values[:, i], values[:, i + 1]
        crosses = (begin > 0) != (end > 0)
        chord = find_zero(at, values, i, i + 1, at[i], at[i + 1])
        before = [find_zero(at, values, j, i, at[i], at[i + 1]) for j in range(i)]
        behind = [find_zero(at, values, i + 1, j, at[i], at[i + 1]) for j in range(i + 2, len(at))]
        # Every line through points on one side bounds the curve: the one that does so most closely counts.
        zeros = [chord, *(find_nearest(chord, each) for each in (before, behind) if each)]
        # Without a neighbour nothing bounds the curve but the ends of the stretch.
        zeros = zeros if len(zeros) > 1 else [np.full(len(values), at[i]), np.full(len(values), at[i + 1])]
        low = np.where(crosses, np.minimum(low, np.min(zeros, 0)), low)
        high = np.where(crosses, np.maximum(high, np.max(zeros, 0)), high)
    none = ~np.isfinite(low)
    beyond = np.where(sign * values[:, first] <= 0, at[first], at[last])
    return np.where(none, beyond, low), np.where(none, beyond, high)


def find_nearest(chord: np.ndarray, zeros: Sequence[np.ndarray]) -> np.ndarray:
    """Return of each draw the zero that is nearest to the chord's."""
    nearest = np.abs(np.array(zeros) - chord).argmin(0)
    return np.array(zeros)[nearest, np.arange(len(chord))]


def find_zero(at: np.ndarray, values: np.ndarray, i: int, j: int, low: float, high: float) -> np.ndarray:
    """Return where each draw's line through points i and j is 0 within low to high, or else the end nearest to that.

    A line that runs away from 0, or is flat, reaches it at the far end, seen from its points.
    """
    slope = (values[:, j] - values[:, i]) / (at[j] - at[i])
    near = i if abs(at[i] - low) + abs(at[i] - high) < abs(at[j] - low) + abs(at[j] - high) else j
    ahead = np.sign((low + high) / 2 - at[near]) or 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        step = -values[:, near] / slope
    far = high if ahead > 0 else low
    towards = np.isfinite(step) & (step * ahead >= 0)
    return np.clip(np.where(towards, at[near] + step, far), low, high)


def interpolate(x: np.ndarray, y: np.ndarray) -> float:
    """Return where the straight lines through these points pass 0 downwards.

    Up and down again in between, as noise has it, counts by its length: they are above 0 for as long as they would be
    if they passed it once, there.
    """
    above, size = np.maximum(y, 0), np.abs(y)
    shares = (above[1:] + above[:-1]) / np.maximum(size[1:] + size[:-1], np.finfo(float).tiny)
    return float(x[0] + (shares * np.diff(x)).sum())


def judge_point(ratio: float, low: float | None, high: float | None, margin: float = MARGIN) -> str:
    """Return the quicker arm at a point, 'baseline' or 'candidate', of the latency ratio candidate / baseline.

    Its whole interval must say so, and the ratio must be beyond the margin; else, and without an interval, empty.
    """
    if low is None or high is None:
        return ""
    if low > 1 and ratio > 1 + margin:
        return "baseline"
    return "candidate" if high < 1 and ratio < 1 / (1 + margin) else ""


def find_turns(sides: Sequence[str]) -> list[tuple[int, int]]:
    """Return the numbers of neighbours, but for undecided points between them, at which different arms are quicker."""
    decided = [i for i, side in enumerate(sides) if side]
    return [(i, j) for i, j in pairwise(decided) if sides[i] != sides[j]]


def holds_throughout(sides: Sequence[str], planned: int) -> bool:
    """Return whether one arm is quicker at every point that was planned, and these are LEAST_POINTS or more."""
    return len(sides) == planned >= LEAST_POINTS and len(set(sides)) == 1 and bool(sides[0])


def resample_difference(pairs: Sequence[tuple[Trial, Trial]], seed: int, metric: str) -> tuple[float, np.ndarray]:
    """Return candidate less baseline at one point, in ms, and the same in draws of its rounds: float64 (draws,).

    `pairs` are two rounds or more, `metric` is "p50" or "mean". The draws are widened to the spread of the interval
    that `comparison` gives: Student's t for so few rounds, where the bootstrap's is about normal.
    """
    n = len(pairs)
    [chosen] = [each for each in METRICS if each.name == metric]
    baseline, candidate = (chosen.statistic(arm, None) for arm in zip(*pairs, strict=True))
    if baseline is None or candidate is None:
        raise ValueError(f"{metric} was not measured in every round")
    estimate, drawn = (
        candidate(weights) - baseline(weights) for weights in (np.ones((1, n), int), bootstrap.draw_weights(n, seed))
    )
    # Student's quantile over the normal one, and n / (n - 1) for the variance of so few rounds.
    widening = bootstrap.relative_half_width(n, 0.95) * np.sqrt(n) / ndtri(0.975) * np.sqrt(n / (n - 1))
    return float(estimate[0]), estimate + (drawn - estimate) * widening
