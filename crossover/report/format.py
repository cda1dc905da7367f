"""How numbers are written in tables, on the terminal and on the page: few digits, and a dash for what is not known."""

from collections.abc import Sequence

from loadgen.samples.early_stopping import required_requests

P99_NEEDS = required_requests(99)
"""Requests below which a p99 is shown in brackets: too few to bound it with 99 % confidence."""


def ms(value: float | None) -> str:
    """Write milliseconds for a column of the terminal: two decimals below 10, one below 100, none above."""
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def kb(size: float | None) -> str:
    """Write bytes as kilobytes (1000 bytes), with one decimal."""
    return "-" if size is None else f"{size / 1e3:.1f}"


def significant(value: float | None) -> str:
    """Write a number with three significant digits."""
    return "-" if value is None else f"{value:.3g}"


def bracketed(p99: float | None, requests: int, valid: bool = True) -> str:
    """Write a p99 in ms: in brackets if it is of fewer than P99_NEEDS requests, marked by `!` if it is INVALID."""
    text = ms(p99) if requests >= P99_NEEDS else f"({ms(p99)})"
    return text + ("" if valid else "!")


def listed(cores: Sequence[int]) -> str:
    """Write core numbers, `0,1,3`; `unknown` for none, as of a server on another machine."""
    return ",".join(map(str, cores)) or "unknown"


def number(value: float | None) -> str:
    """Write a number for the page: about three digits, whole numbers in full, thousands apart."""
    if value is None:
        return "–"
    size = abs(value)
    if 0 < size < 0.01:
        return f"{value:.1g}"
    return f"{value:,.{0 if size >= 100 or not size else 1 if size >= 10 else 2}f}"


def tied(text: str) -> str:
    """Join each per cent sign to its number with a space at which no line breaks."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")
