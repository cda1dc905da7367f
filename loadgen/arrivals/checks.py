"""What the parameters of a process must be. Each raises ValueError in one line."""

import numpy as np

LIMIT = 50_000_000  # arrivals in one schedule: 400 MB of due times


def bounded(count: float) -> None:
    """Raise ValueError for more arrivals (or changes of state) than a schedule may hold."""
    if count > LIMIT:
        raise ValueError(f"more than {LIMIT:,} arrivals; lower the rate or shorten the run")


def positive(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number, not {value:g}")


def not_negative(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be zero or more, not {value:g}")


def between(low: float, high: float, **values: float) -> None:
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must lie between {low:g} and {high:g}, not {value:g}")


def check_some(**rates) -> None:
    """Raise ValueError for rates that are negative, and for none above zero: nothing would ever arrive."""
    for name, values in rates.items():
        for value in np.atleast_1d(values):
            not_negative(**{name: value})
    if not np.any([np.any(values) for values in rates.values()]):
        raise ValueError(f"{' and '.join(rates)} must not all be zero")
