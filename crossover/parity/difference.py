"""How far two answers to one payload are apart, and how far they may be.

Numbers with a fraction may differ by a share of their spread, which is the standard deviation of the baseline's numbers
over all payloads (or their largest magnitude, where all are equal). Whole numbers, truth values and text must be equal:
they have no spread, and a class or a token that differs is another answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt

import numpy as np

MEAN, LARGEST = 0.07, 0.5
"""The most by which one payload's numbers may differ, in mean and at the largest, as shares of the spread.

What another library does by the same rule must pass, and another rule must not. Between Pillow and DALI, on both
photographs of scikit-learn at three sizes, the mean was at most 0.018 for EfficientNet-Lite0 with its real weights and
0.046 for ResNet-50 with random ones, the largest 0.18. Another rule gave a mean of 0.11 and 0.13 for a picture shifted
by one pixel, 0.17 and 0.28 for bicubic in place of bilinear, 0.24 and 0.12 for JPEG of quality 75, and 0.45 and more
for BGR in place of RGB or another normalisation."""


@dataclass(frozen=True)
class Distance:
    """Two arrays of one output, for one payload. Sums, so that no array need be kept."""

    payload: str
    fault: str = ""
    """Why they cannot be compared number by number: other shapes, or text against numbers."""
    exact: bool = False
    """Whether they must be equal."""
    equal: bool = False
    mean: float = 0.0
    """Of the absolute differences."""
    largest: float = 0.0
    count: int = 0
    """How many numbers the baseline has; below stand their sum, that of their squares, and the largest magnitude."""
    total: float = 0.0
    squares: float = 0.0
    peak: float = 0.0
    rows: int = 0
    """Rows (of the last axis) that have a highest number, and how many have it at the same place."""
    alike: int = 0


@dataclass(frozen=True)
class Difference:
    """One output of two placements over all payloads."""

    output: str
    payloads: int
    same: int
    """Of these, those that are equal or as close as MEAN and LARGEST allow."""
    mean: float | None
    """Of the payload that differs most, as a share of the spread; None where the outputs must be equal."""
    largest: float | None
    top1: float | None
    """Share of the rows whose highest number is at the same place; None where there is no such."""
    worst: str
    """The payload that differs most; empty if all are equal."""
    fault: str
    """Why that one cannot be compared number by number; else empty."""

    @property
    def agrees(self) -> bool:
        """Whether all payloads are the same."""
        return self.same == self.payloads

    def as_dict(self) -> dict:
        """Return its fields, and whether it `agrees`."""
        return {**asdict(self), "agrees": self.agrees}


def match_outputs(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """Return which outputs are compared: those of the same name, or the only one of each side whatever its name."""
    if len(first) == len(second) == 1:
        return [(next(iter(first)), next(iter(second)))]
    return [(name, name) for name in first if name in second]


def measure_distance(payload: str, first: np.ndarray, second: np.ndarray) -> Distance:
    """Compare two arrays of one output; the first is the baseline's. Dimensions of 1 in front play no part."""
    first, second = strip(first), strip(second)
    kinds = {first.dtype.kind, second.dtype.kind}
    if kinds & set("OSU") and len(kinds) > 1:
        return Distance(payload, "one is text, the other has numbers")
    if first.shape != second.shape:
        return Distance(payload, f"its shape is {list(second.shape)} instead of {list(first.shape)}")
    if "f" not in kinds:
        return Distance(payload, exact=True, equal=bool(np.array_equal(first, second)))
    a, b = first.astype(float), second.astype(float)
    known = np.isfinite(a) & np.isfinite(b)
    # Values that are not finite must be the same.
    if not np.array_equal(a[~known], b[~known], equal_nan=True):
        return Distance(payload, "not the same values are infinite or not a number")
    apart = np.abs(a[known] - b[known]) if known.any() else np.zeros(1)
    kept = a[known]
    has_rows = a.ndim > 0 and a.shape[-1] > 1 and bool(known.all())
    alike = a.argmax(-1) == b.argmax(-1) if has_rows else np.array([])
    return Distance(
        payload,
        equal=not apart.any(),
        mean=float(apart.mean()),
        largest=float(apart.max()),
        count=kept.size,
        total=float(kept.sum()),
        squares=float((kept**2).sum()),
        peak=float(np.abs(kept).max(initial=0)),
        rows=alike.size,
        alike=int(alike.sum()),
    )


def strip(array: np.ndarray) -> np.ndarray:
    """Return the array without dimensions of 1 in front; one dimension stays."""
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array


def judge(output: str, distances: Sequence[Distance]) -> Difference:
    """Judge one output over all payloads, of which there is one at least."""
    spread = find_spread(distances)

    def share(apart: float) -> float:
        return apart / spread if spread else float("inf") if apart else 0.0

    def is_same(each: Distance) -> bool:
        if each.fault or each.exact:
            return each.equal
        return share(each.mean) <= MEAN and share(each.largest) <= LARGEST

    def rank(each: Distance) -> tuple:
        # What breaks a tolerance comes first, by the one that it breaks most.
        return bool(each.fault), each.exact and not each.equal, max(each.mean / MEAN, each.largest / LARGEST)

    worst, rows = max(distances, key=rank), sum(each.rows for each in distances)
    compared = not (worst.fault or worst.exact) and np.isfinite(share(worst.largest))
    return Difference(
        output,
        len(distances),
        sum(map(is_same, distances)),
        share(worst.mean) if compared else None,
        max(share(each.largest) for each in distances) if compared else None,
        sum(each.alike for each in distances) / rows if rows else None,
        "" if worst.equal else worst.payload,
        worst.fault,
    )


def find_spread(distances: Iterable[Distance]) -> float:
    """Return the standard deviation of the baseline's numbers; their largest magnitude where all are equal."""
    each = list(distances)
    count = sum(one.count for one in each)
    if not count:
        return 0.0
    mean = sum(one.total for one in each) / count
    variance = sum(one.squares for one in each) / count - mean**2
    peak = max(one.peak for one in each)
    # Rounding leaves a little variance among equal numbers.
    return sqrt(variance) if variance > 1e-12 * peak**2 else peak
