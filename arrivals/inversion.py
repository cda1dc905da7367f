"""Exact arrivals of time-varying Poisson processes, by inversion of the cumulative rate.

The totals of unit-exponential gaps, mapped through the inverse of Lambda(t), the expected number of arrivals
up to t, are the arrivals of a Poisson process of that rate (Cinlar 1975, Introduction to Stochastic
Processes, section 4.7). Thinning (Lewis & Shedler 1979) has the same law, and is the reference in the tests.
"""

import numpy as np
from numpy.typing import ArrayLike


class PiecewiseLinear:
    """A rate that changes linearly from firsts[i] to lasts[i] between starts[i] and starts[i + 1].

    The last piece has no end and stays at lasts[-1]. Times are in seconds, rates in arrivals per second.
    """

    def __init__(self, starts: ArrayLike, firsts: ArrayLike, lasts: ArrayLike):
        """Take the pieces, one entry each of shape (pieces,); the first starts at 0."""
        self.starts, self.firsts, self.lasts = (np.asarray(values, float) for values in (starts, firsts, lasts))
        self.ends = np.append(self.starts[1:], np.inf)
        widths = np.diff(self.starts)
        self.cumulative = np.append(0, np.cumsum((self.firsts + self.lasts)[:-1] / 2 * widths))
        self.slopes = np.zeros(len(self.starts))
        np.divide((self.lasts - self.firsts)[:-1], widths, out=self.slopes[:-1], where=widths > 0)

    def invert(self, totals: np.ndarray) -> np.ndarray:
        """Return the times at which the expected number of arrivals reaches `totals`; infinite where it never does."""
        piece = np.searchsorted(self.cumulative, totals, side="right") - 1
        first, slope, rest = self.firsts[piece], self.slopes[piece], totals - self.cumulative[piece]
        # Solve first * x + slope * x^2 / 2 = rest for x, in the form that does not cancel where slope is near 0.
        root = np.sqrt(np.maximum(first**2 + 2 * slope * rest, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.where(rest > 0, 2 * rest / (first + root), 0)
        return np.minimum(self.starts[piece] + x, self.ends[piece])


def invert_sine(totals: np.ndarray, rate: float, amplitude: float, period: float) -> np.ndarray:
    """Return the times at which the integral of rate * (1 + amplitude * sin(2 pi t / period)) reaches `totals`.

    Whole periods are split off; the rest is bisected down to neighbouring floats. Every total is compared with the
    same midpoints, so the result ascends with the totals.
    """
    periods, rest = np.divmod(totals / (rate * period), 1)
    low, high = np.zeros_like(rest), np.full_like(rest, 2 * np.pi)
    for _ in range(56):
        middle = (low + high) / 2
        below = middle + amplitude * (1 - np.cos(middle)) < 2 * np.pi * rest
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (periods + high / (2 * np.pi)) * period
