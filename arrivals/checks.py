"""Check the parameters of a process; each function raises ValueError with one line."""

from collections.abc import Sequence

import numpy as np

LIMIT = 50_000_000
"""Arrivals in one schedule; their due times take 400 MB."""


def check_count(count: float) -> None:
    """Raise ValueError if there are more arrivals, or changes of state, than a schedule may hold."""
    if count > LIMIT:
        raise ValueError(f"more than {LIMIT:,} arrivals; lower the rate or shorten the run")


def check_positive(**values: float) -> None:
    """Raise ValueError for the first of the named values that is not a finite number above zero."""
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number, not {value:g}")


def check_not_negative(**values: float) -> None:
    """Raise ValueError for the first of the named values that is not a finite number of zero or more."""
    for name, value in values.items():
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be zero or more, not {value:g}")


def check_between(low: float, high: float, **values: float) -> None:
    """Raise ValueError for the first of the named values that lies outside low to high, both included."""
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must lie between {low:g} and {high:g}, not {value:g}")


def check_rates(**rates: float | Sequence[float]) -> None:
    """Raise ValueError for a negative rate, and if all are zero, because nothing would ever arrive."""
    for name, values in rates.items():
        for value in np.atleast_1d(values):
            check_not_negative(**{name: value})
    if not np.any([np.any(values) for values in rates.values()]):
        raise ValueError(f"{' and '.join(rates)} must not all be zero")
