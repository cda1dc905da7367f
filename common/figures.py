"""How figures are written wherever a user reads them: three significant digits, and one form for every ratio.

Two figures are compared by one number, their ratio with its interval: `1.94 [1.85, 2.03]`. It is never turned into
"94 % slower" or "2.1 times as many", so that neighbours have one scale. Per cent are shares of a whole and margins.
"""

from decimal import Decimal
from math import isfinite

UNKNOWN = "-"
NOISE = 1e-6
"""What is smaller is 0: in milliseconds it is a nanosecond, and what a sum leaves by rounding is smaller still."""


def significant(value: float | None, digits: int = 3) -> str:
    """Write a number with so many significant digits, without an exponent; whole from 1000 on.

    What is not known (None, not a number, infinite) is UNKNOWN.
    """
    if value is None or not isfinite(value):
        return UNKNOWN
    if abs(value) < NOISE:
        return "0"
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{Decimal(f'{value:.{digits}g}'):f}"


def interval(low: float | None, high: float | None) -> str:
    """Write the limits of an interval: `[1.85, 2.03]`; empty where one is not known."""
    if low is None or high is None or not (isfinite(low) and isfinite(high)):
        return ""
    return f"[{significant(low)}, {significant(high)}]"


def ratio(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Write a ratio, or another estimate, with its interval where there is one: `1.94 [1.85, 2.03]`."""
    return f"{significant(value)} {interval(low, high)}".rstrip()
