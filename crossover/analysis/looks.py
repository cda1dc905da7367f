"""Looking at the same comparison more than once: every look spends some of the 5 % of false verdicts allowed in all.

Who looks, adds measurements where nothing is decided, and looks again at the same 95 % finds a winner by chance more
often each time: in 13.5 % of comparisons of an arm with itself after four times. Here the error of 5 % is shared out by
a spending function of the look's number, chosen before (Lan & DeMets 1983, Biometrika 70:659). Its values are 4 % at
the first look, since most comparisons end there, then half of what is left each time: 0.5, 0.25, ... so that no number
of looks is too many. Each look's limit follows from that spending and from how much of the data each look shared with
the ones before it, as for the joint normal distribution of the looks (Armitage, McPherson & Rowe 1969, JRSS A 132:235).
An interval at a look's confidence is a repeated confidence interval: all looks' intervals hold the truth together in
95 % of comparisons (Jennison & Turnbull 1989, JRSS B 51:305), so any verdict that follows from one of them is safe,
a winner as well as an equivalence, and it does not matter whether a user stops then.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.special import ndtr

ALPHA = 0.05
FIRST = 0.8
"""Share of ALPHA that the first look spends: its interval is 5 % wider than one that is looked at only once."""
GRID = 401
"""Points at which the distribution of a look's statistic is tabulated: exact to 1e-4 of a limit."""


def spend(look: int, alpha: float = ALPHA) -> float:
    """Return the error spent up to and including the look of that number, which counts from 1."""
    return alpha * (1 - (1 - FIRST) * 0.5 ** (look - 1))


def confidence(information: Sequence[float], alpha: float = ALPHA) -> float:
    """Return the confidence of the interval at the last of several looks, such as 0.96 at a first one.

    `information` has for each look how much had been measured by then, in any unit that grows as 1 / error^2: rounds,
    or seconds of measuring. Raises ValueError unless it is positive and grows.
    """
    return float(2 * ndtr(limits(information, alpha)[-1]) - 1)


def limits(information: Sequence[float], alpha: float = ALPHA) -> list[float]:
    """Return for each look the limit of |estimate - truth| / error.

    Chance passes it at that look for the first time with the probability that the look may spend.

    The statistic sqrt(information) x (estimate - truth) / error is a random walk; its density over the values that no
    limit has stopped is carried from look to look, and each limit leaves outside what the look may spend.
    """
    given = tuple(float(each) for each in information)
    if not given or given[0] <= 0 or any(after <= before for before, after in pairwise(given)):
        raise ValueError(f"information must be positive and grow from look to look, not {list(given)}")
    return [limit(given[:look], alpha) for look in range(1, len(given) + 1)]


@lru_cache(1000)
def limit(information: tuple[float, ...], alpha: float) -> float:
    """Return the limit of the last of these looks."""
    look, now, before = len(information), information[-1], information[-2] if len(information) > 1 else 0.0
    # The walk adds independent steps of variance now - before.
    at, mass = unstopped(information[:-1], alpha)
    step, scale = np.sqrt(now - before), np.sqrt(now)
    allowed = spend(look, alpha) - (spend(look - 1, alpha) if look > 1 else 0.0)
    low, high = 0.0, 12.0  # standard errors
    for _ in range(50):
        middle = (low + high) / 2
        beyond = mass @ (ndtr((at - middle * scale) / step) + ndtr((-middle * scale - at) / step))
        low, high = (middle, high) if beyond > allowed else (low, middle)
    return high


@lru_cache(100)
def unstopped(information: tuple[float, ...], alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (values of the walk, their probabilities) after these looks, where none of the limits has stopped it."""
    if not information:
        return np.zeros(1), np.ones(1)
    # The walk adds independent steps of variance now - before.
    at, mass = unstopped(information[:-1], alpha)
    step = np.sqrt(information[-1] - (information[-2] if len(information) > 1 else 0.0))
    most = limit(information, alpha) * np.sqrt(information[-1])
    grid = np.linspace(-most, most, GRID)
    density = np.exp(-(((grid[:, None] - at) / step) ** 2) / 2) @ mass / (step * np.sqrt(2 * np.pi))
    return grid, density * simpson(grid)


def simpson(grid: np.ndarray) -> np.ndarray:
    """Return Simpson's weights for an odd number of equidistant points."""
    weights = np.where(np.arange(len(grid)) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    return weights * (grid[1] - grid[0]) / 3
