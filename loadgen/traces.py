"""Trace files: recorded arrivals, as CSV or one number per line, and schedules saved as such.

Lines that start with # and blank lines are skipped. A first line without a number is a header. The values are
in the column asked for by name, or else in the first.
"""

import csv
import math
from pathlib import Path

import numpy as np

from loadgen.schedule import Schedule

KINDS = ("timestamps", "intervals", "counts")


def read(path: Path, kind: str = "", column: str = "") -> tuple[str, np.ndarray]:
    """The kind of the trace and its values: seconds from its start, seconds between, or arrivals per minute.

    The kind is the one asked for; or else the column's name, if that is one; or else timestamps.
    Raises ValueError with one line that names the line of the file.
    """
    header, values, numbers, index = "", [], [], 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            for row in rows:
                if not "".join(row).strip() or row[0].startswith("#"):
                    continue
                if not values and not header and (column or not is_number(row[0])):
                    names = [cell.strip() for cell in row]
                    if column and column not in names:
                        raise ValueError(f"{path}, line {rows.line_num}: no column {column!r} in {', '.join(names)}")
                    index = names.index(column) if column else 0
                    header = names[index]
                    continue
                values.append(row[index] if index < len(row) else "")
                numbers.append(rows.line_num)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path} is not a text file") from None
    kind = kind or (header if header in KINDS else "timestamps")
    if not values:
        raise ValueError(f"{path} is empty")
    return kind, np.array([*checked(path, kind, values, numbers)])


def checked(path: Path, kind: str, values: list[str], numbers: list[int]):
    before = 0.0
    for text, line in zip(values, numbers, strict=True):
        if not is_number(text):
            raise ValueError(f"{path}, line {line}: {text!r} is not a number")
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{path}, line {line}: {text!r} is not a finite number")
        if value < 0:
            raise ValueError(f"{path}, line {line}: {text} is negative")
        if kind == "timestamps" and value < before:
            raise ValueError(f"{path}, line {line}: {text} is earlier than the timestamp before it")
        if kind == "counts" and value % 1:
            raise ValueError(f"{path}, line {line}: {text} is not a whole number of arrivals")
        before = value
        yield value


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def save(schedule: Schedule, path: Path) -> None:
    """Write a trace that gives the same due times, bit for bit. Raises OSError if it cannot be written."""
    says = f"# {schedule.spec}, {schedule.seconds:g} s, seed {schedule.seed}, schedule {schedule.digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([says, "timestamps", *map(repr, schedule.times.tolist()), ""]), encoding="utf-8")
