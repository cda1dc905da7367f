"""Convert a column's cells into seconds from the start of the trace, seconds between arrivals, or counts.

Numbers have a decimal point; date-times are ISO 8601. Times since 1970 count from the first one in the file.
Differences are exact, in decimal numbers or whole nanoseconds, until they are rounded to the nearest float64.
"""

import math
import re
from array import array
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from decimal import Decimal
from functools import lru_cache
from itertools import chain, islice

import numpy as np

from arrivals.checks import LIMIT
from arrivals.traces.faults import LineFault, cut, quote

UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""Unit of time -> its decimal places below the second."""
WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
EPOCH = 1e8
"""Seconds. From here on a number is not a time from the start of a trace (three years) but since 1970 (March 1973)."""
BELOW = {"s": 1e11, "ms": 1e14, "us": 1e17, "ns": 1e19}
"""A number from EPOCH on has the first of these units whose limit is above it: until the year 5138, in ns 2286."""

OLDEST = 631_152_000
"""Seconds. Times since 1970 are recognised by size from 1990 on; smaller ones may count from a machine's start."""

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:,\d+)+(?:[eE][+-]?\d+)?", re.ASCII)
DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ?(Z|UTC|([+-])(\d\d):?(\d\d)))?", re.ASCII
)

Cells = Iterator[tuple[int, str]]
"""The cells of a column, each as (number of its line, text)."""


def is_value(text: str) -> bool:
    """Return True for a number, nan and infinity included, or a date-time."""
    return any(pattern.fullmatch(text) for pattern in (NUMBER, NOT_FINITE, DATE_TIME))


def has_decimal_comma(text: str) -> bool:
    """Return True for digits with one comma or more between them."""
    return bool(DECIMAL_COMMA.fullmatch(text))


def read_timestamps(cells: Cells, unit: str) -> tuple[np.ndarray, str]:
    """Return seconds from the start of the trace, ascending, and a note on what the column holds.

    Without a unit numbers are seconds, or times since 1970 in the unit that their size implies. Raises LineFault.
    """
    cells = limit(cells)
    # The first cell decides for all: date-times or numbers, and whether they count from 1970.
    line, text = next(cells, (0, ""))
    if not line:
        return np.array([]), ""
    first = (line, text.strip())
    if DATE_TIME.fullmatch(first[1]):
        if unit:
            raise LineFault(line, f"{quote(text)} is a date-time, which takes no unit")
        return read_date_times(first, cells)
    value = read_number(*first)
    recognised = not unit and value >= EPOCH
    unit = unit or recognise_unit(line, text, value)
    if value >= BELOW[unit]:
        raise LineFault(line, f"{quote(text)} in {WORDS[unit]} lies beyond the year 5000; expected another unit")
    places = UNITS[unit]
    since_1970 = value / 10**places >= EPOCH
    if recognised and value / 10**places < OLDEST:
        says = f"{quote(text)} would be {WORDS[unit]} since 1970, before 1990; does it count from another origin?"
        raise LineFault(line, f"{says} Say unit=s, ms, us or ns")
    origin = Decimal(first[1] if since_1970 else 0)

    def seconds(line: int, text: str) -> float:
        value = read_number(line, text)
        return scale(Decimal(text) - origin, places) if since_1970 or places else value

    values = read_ascending(first, cells, seconds)
    if not since_1970:
        return values, f", {WORDS[unit]} from the start of the trace"
    begun = datetime.fromtimestamp(value / 10**places, timezone.utc).isoformat(" ", "seconds")
    how = " (recognised by their size; unit= says otherwise)" * recognised
    return values, f", {WORDS[unit]} since 1970{how}, counted from the first, {begun}, on"


def recognise_unit(line: int, text: str, value: float) -> str:
    """Return the unit of a time since 1970 by its size; `s` for seconds from the start of the trace."""
    for unit, limit in BELOW.items():
        if value < limit:
            return unit
    raise LineFault(line, f"{quote(text)} is no time since 1970 in any of {', '.join(UNITS)}")


def scale(value: Decimal, places: int) -> float:
    """Return a value in seconds whose unit lies `places` decimal places below the second."""
    return float(value.scaleb(-places))


def read_date_times(first: tuple[int, str], cells: Cells) -> tuple[np.ndarray, str]:
    """Return seconds from the first date-time, and a note. Raises LineFault, also where only some have a time zone."""
    origin, zone = read_nanoseconds(*first)

    def seconds(line: int, text: str) -> float:
        now, aware = read_nanoseconds(line, text)
        if aware != zone:
            one, other = ("a", "no") if zone else ("no", "a")
            raise LineFault(line, f"{quote(text)} has {other} time zone; expected {one}, as on line {first[0]}")
        return (now - origin) / 10**9

    return read_ascending(first, cells, seconds), f", date-times, counted from the first, {first[1]}, on"


def read_ascending(first: tuple[int, str], cells: Cells, seconds: Callable[[int, str], float]) -> np.ndarray:
    """Return `seconds(line, text)` of the first cell and of all others.

    Raises LineFault where a time goes back, or lies more than three years after the start.
    """
    before, values = 0.0, array("d")
    for line, text in chain([first], cells):
        value = seconds(line, text)
        if value < before:
            raise LineFault(line, f"{cut(text)} is earlier than the timestamp before it; expected ascending ones")
        if value >= EPOCH:
            says = f"{cut(text)} lies more than three years after the start; the first, on line {first[0]}, is"
            raise LineFault(line, f"{says} {cut(first[1])}: expected one unit and one origin")
        values.append(value)
        before = value
    return np.array(values)


def read_nanoseconds(line: int, text: str) -> tuple[int, bool]:
    """Return nanoseconds since the year 1, in UTC if the text has a time zone, and whether it has one.

    Raises LineFault for a text that is no date-time.
    """
    match = DATE_TIME.fullmatch(text.strip())
    try:
        if not match:
            raise ValueError
        day, hours, minutes, seconds, fraction, zone, sign, ahead, beyond = match.groups()
        whole = count_days(day) * 86_400 + seconds_of_day(int(hours), int(minutes), int(seconds))
        if sign:
            whole -= int(sign + "1") * seconds_of_day(int(ahead), int(beyond), 0)
    except ValueError:
        says = f"{quote(text)} is not a date-time; expected one such as 2023-11-16 18:15:46.68 or with +00:00 behind"
        raise LineFault(line, says) from None
    return whole * 10**9 + (int(fraction.ljust(9, "0")) if fraction else 0), bool(zone)


@lru_cache(1000)
def count_days(day: str) -> int:
    """Return the days since the year 1. Raises ValueError; cached, because a trace repeats its few dates."""
    return date.fromisoformat(day).toordinal()


def seconds_of_day(hours: int, minutes: int, seconds: int) -> int:
    """Return seconds since midnight. Raises ValueError for a time that does not exist."""
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError
    return hours * 3600 + minutes * 60 + seconds


def read_intervals(cells: Cells, unit: str) -> tuple[np.ndarray, str]:
    """Return seconds between arrivals, and a note; without a unit the numbers are seconds. Raises LineFault."""
    places, values = UNITS[unit or "s"], array("d")
    for line, text in limit(cells):
        value = read_number(line, text)
        if value / 10**places >= EPOCH:
            raise LineFault(line, f"{cut(text)} {WORDS[unit or 's']} are more than three years; expected another unit")
        values.append(scale(Decimal(text), places) if places else value)
    return np.array(values), f", {WORDS[unit or 's']} between arrivals"


def read_counts(cells: Cells) -> np.ndarray:
    """Return the arrivals in every row. Raises LineFault."""
    values = array("d")
    for line, text in limit(cells):
        values.append(read_count(line, text))
    return np.array(values)


def read_count(line: int, text: str) -> float:
    """Return a whole number of arrivals, at most LIMIT. Raises LineFault."""
    value = read_number(line, text)
    if value % 1:
        raise LineFault(line, f"{cut(text)} is not a whole number of arrivals")
    if value > LIMIT:
        raise LineFault(line, f"{cut(text)} in one row is more than {LIMIT:,} arrivals, the most of a run")
    return value


def read_number(line: int, text: str) -> float:
    """Return a finite number that is not negative. Raises LineFault."""
    text = text.strip()
    if not NUMBER.fullmatch(text):
        if NOT_FINITE.fullmatch(text):
            raise LineFault(line, f"{quote(text)} is not a finite number")
        raise LineFault(line, explain(text, "a number"))
    value = float(text)
    # 1e999 looks like a number.
    if value == math.inf:
        raise LineFault(line, f"{quote(text)} is not a finite number: too large")
    if value < 0:
        raise LineFault(line, f"{cut(text)} is negative; expected zero or more")
    return value


def explain(text: str, expected: str) -> str:
    """Return why a text is not a number, and what was expected instead."""
    if has_decimal_comma(text):
        point = text.replace(",", ".") if text.count(",") == 1 else text.replace(",", "")
        return f"{quote(text)} is not a number: it has a decimal comma; expected {cut(point)}"
    what = " (a date-time among numbers)" if DATE_TIME.fullmatch(text) else ""
    return f"{quote(text)} is not a number{what}; expected {expected}"


def limit(cells: Cells) -> Cells:
    """Yield the same cells. Raises LineFault for more than a schedule may hold."""
    yield from islice(cells, LIMIT)
    for line, _ in cells:
        raise LineFault(line, f"more than {LIMIT:,} rows; cut the file")
