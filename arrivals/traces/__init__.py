"""Trace files: recorded arrivals in CSV, one number per line or JSON lines, and schedules saved as such.

`rows` finds the lines and cells of a file, `columns` the one that holds the arrivals, `cells` turns its text into
seconds or counts, and `layouts` knows the public data sets that need more than that. docs/traces.md states the rules.
"""

import stat
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from arrivals.schedule import Schedule
from arrivals.traces import cells, columns, layouts, rows
from arrivals.traces.cells import UNITS
from arrivals.traces.faults import Fault, LineFault, pluralise, quote

__all__ = ["KINDS", "UNITS", "Recording", "pluralise", "read", "save"]

KINDS = (*columns.KINDS, *layouts.LAYOUTS)

STREAMS = {"/dev", "/dev/fd", "/proc/self/fd"}
"""Directories whose files differ from process to process: a worker would read another file than the master."""


@dataclass(frozen=True)
class Recording:
    """What a trace file holds. `values` is float64 of shape (n,)."""

    kind: str
    """`timestamps` (seconds from the start, ascending), `intervals` (seconds) or `counts` (arrivals per `width`)."""
    values: np.ndarray
    source: str
    """How the file was read, for the reader of a log: which column, which unit."""
    width: float = 0.0
    """Seconds from a value on within which the arrival was: that is all the file says. 0: it was then."""

    @property
    def extent(self) -> str:
        """How many arrivals the file holds and when."""
        if self.kind == "counts":
            noun = "minute" if self.width == 60 else "second"
            return f"{self.values.sum():,.0f} arrivals in {pluralise(len(self.values), noun)}"
        first, last = (self.values[0], self.values.sum()) if self.kind == "intervals" else self.values[[0, -1]]
        return f"{pluralise(len(self.values), 'arrival')} from {first:.6g} to {last:.6g} s"


def read(path: Path, kind: str = "", column: str = "", unit: str = "") -> Recording:
    """Read a trace file.

    `kind` is one of KINDS, `column` a name or a number from 1 on, `unit` one of UNITS; what is left empty is detected,
    and the recording's `source` says how. Raises ValueError with one line that names the file, the line, what was found
    and what was expected.
    """
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or str(path.parent) in STREAMS:
            raise Fault(" is no regular file; save it first")
        with path.open(newline="", encoding="utf-8-sig") as file:
            return read_table(rows.open_table(file), kind, column, unit)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8") from None
    except Fault as fault:
        raise ValueError(f"{path}{fault}") from None


def read_table(table: rows.Table, kind: str, column: str, unit: str) -> Recording:
    """Read a table with the arguments of `read`. Raises Fault, or LineFault with the line."""
    layout = layouts.recognise(table)
    if kind in layouts.LAYOUTS or (layout and not (kind or column or unit)):
        if column or unit:
            raise Fault(f": kind={kind} takes neither column nor unit: its layout says both")
        source = f"kind={kind}" if kind else f"kind={layout}, recognised by its columns"
        return Recording(*layouts.read(kind or layout, table, source))
    chosen = columns.choose(table, kind, column, hint=f"; kind={layout} reads this layout" if layout else "")
    texts, width = table.column(chosen.index), 0.0
    if chosen.kind != "counts" and not unit:
        texts, unit = find_unit(table, chosen, texts)
    if chosen.kind == "timestamps":
        values, measure = cells.read_timestamps(texts, unit)
    elif chosen.kind == "intervals":
        values, measure = cells.read_intervals(texts, unit)
    elif unit not in ("", "s"):
        raise Fault(f": counts are per minute, or per second with unit=s; not unit={unit}")
    else:
        period, width = ("second", 1.0) if unit else ("minute", 60.0)
        values = cells.read_counts(columns.read_consecutive(table, chosen.index, period))
        measure = f", arrivals per {period}"
    if not len(values):
        raise Fault(" is empty")
    return Recording(chosen.kind, values, f"{chosen.label}{measure}{table.form}", width)


def find_unit(table: rows.Table, column: columns.Column, texts: cells.Cells) -> tuple[cells.Cells, str]:
    """Return the same cells, and the unit in the column's name; empty for date-times, which need none.

    Raises LineFault where the name may hold a unit that is not read.
    """
    first = next(texts, None)
    if first is None or cells.DATE_TIME.fullmatch(first[1].strip()):
        return chain(filter(None, [first]), texts), ""
    if column.doubt:
        says = f"{quote(table.names[column.index])} says {quote(column.doubt)}: is that its unit?"
        raise LineFault(table.line, f"{says} Say unit=s, ms, us or ns, or kind=counts for arrivals per minute")
    return chain([first], texts), column.unit


def save(schedule: Schedule, path: Path) -> None:
    """Write a trace that replays the same due times, bit for bit. Raises OSError if it cannot be written."""
    says = f"# {schedule.spec}, {schedule.seconds:g} s, seed {schedule.seed}, schedule {schedule.digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([says, "timestamps", *map(repr, schedule.times.tolist()), ""]), encoding="utf-8")
