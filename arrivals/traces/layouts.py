"""Read public data sets: Azure Functions 2019 and 2021, Azure LLM inference, BurstGPT, Mooncake.

A file whose columns are a data set's is read as such also without `kind=`. docs/traces.md has an example of each.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from arrivals.traces import cells
from arrivals.traces.faults import Fault, LineFault, pluralise, quote
from arrivals.traces.rows import JsonTable, Table

Reader = Callable[[Table, list[int]], tuple[str, np.ndarray, str]]
"""Takes a table and the indices of the layout's columns; returns kind, values and a note."""


@dataclass(frozen=True)
class Layout:
    """How a public data set is written."""

    columns: tuple[str, ...]
    """Columns that it must have, among others; upper and lower case are the same."""
    read: Reader
    json: bool = False
    """True if the file has JSON lines."""
    width: float = 0.0
    """Seconds: the file says only in which of such spans an arrival was; 0 where it says when."""


def find_columns(layout: Layout, table: Table) -> list[int]:
    """Return the indices of the layout's columns. Raises LineFault if one is missing or there twice."""
    there = [name.lower() for name in table.names]
    if layout.json and not isinstance(table, JsonTable):
        raise LineFault(table.line, f"{quote(','.join(table.first))} is not a JSON object; expected one on every line")
    for name in layout.columns:
        if there.count(name.lower()) != 1:
            count = "no" if name.lower() not in there else "more than one"
            raise LineFault(table.line, f"{count} column {name!r}; expected {', '.join(layout.columns)}")
    return [there.index(name.lower()) for name in layout.columns]


def recognise(table: Table) -> str:
    """Return the name of the first layout whose columns the table has; empty for none.

    The columns must be there exactly once; other columns are allowed, except in azure-functions-2019, where they must
    be the minutes.
    """
    for name, layout in LAYOUTS.items():
        try:
            indices = find_columns(layout, table)
            if layout.read is read_counts:
                find_minutes(table, indices)
        except Fault:
            continue
        return name
    return ""


def read(name: str, table: Table, source: str) -> tuple[str, np.ndarray, str, float]:
    """Return kind, values, a note and the width by the layout of this name; the note begins with `source`.

    Timestamps have the layout's width where all of them are multiples of it. Raises Fault.
    """
    layout = LAYOUTS[name]
    kind, values, note = layout.read(table, find_columns(layout, table))
    if not len(values):
        raise Fault(" is empty")
    is_coarse = layout.width and (kind == "counts" or not np.any(values % layout.width))
    return kind, values, f"{source}{note}", layout.width if is_coarse else 0.0


def make_time_reader(unit: str) -> Reader:
    """Return a reader of timestamps in the layout's first column, in that unit; empty for date-times."""

    def read(table: Table, columns: list[int]) -> tuple[str, np.ndarray, str]:
        values, note = cells.read_timestamps(table.column(columns[0]), unit)
        return "timestamps", values, f": column {quote(table.names[columns[0]])}{note}"

    return read


def read_ends(table: Table, columns: list[int]) -> tuple[str, np.ndarray, str]:
    """Read arrivals as end minus duration, sorted; those before the start of the recording are left out."""
    end, duration = columns[2:]
    values, early = array("d"), 0
    for line, row in table.rows():
        for text in (row[end], row[duration]):
            cells.read_number(line, text)
        start = float(Decimal(row[end].strip()) - Decimal(row[duration].strip()))
        if start < 0:
            early += 1
        else:
            values.append(start)
    note = f": end_timestamp - duration, sorted{f', {early:,} that began before its start left out' * bool(early)}"
    return "timestamps", np.sort(np.array(values)), note


def find_minutes(table: Table, columns: list[int]) -> list[int]:
    """Return the indices of the columns 1, 2, 3, ... Raises LineFault if there are none, or others."""
    rest = [i for i in range(table.width) if i not in columns]
    if not rest or [table.names[i] for i in rest] != [str(i + 1) for i in range(len(rest))]:
        raise LineFault(table.line, f"expected {', '.join(FUNCTIONS_2019)}, 1, 2, 3, ...: a column for every minute")
    return rest


def read_counts(table: Table, columns: list[int]) -> tuple[str, np.ndarray, str]:
    """Read arrivals per minute, summed over the rows, which are functions.

    Raises LineFault for a cell that is no whole number of arrivals, Fault if a sum is not finite.
    """
    places = find_minutes(table, columns)
    begin, end = places[0], places[-1] + 1
    if end - begin != len(places):
        raise LineFault(table.line, f"expected {', '.join(FUNCTIONS_2019)} before the minutes")
    total, functions = np.zeros(len(places)), 0
    for line, row in table.rows():
        texts = row[begin:end]
        digits = "".join(texts)
        # Plain digits, nearly all of them, need no check of each cell.
        plain = digits.isascii() and digits.isdecimal() and all(texts)
        counts = map(float, texts) if plain else (cells.read_count(line, text) for text in texts)
        total += np.fromiter(counts, float, len(texts))
        functions += 1
    if not np.isfinite(total).all():
        raise Fault(" counts more arrivals than a number holds")
    note = f": arrivals per minute, summed over {pluralise(functions, 'function')}"
    return "counts", total if functions else total[:0], note


FUNCTIONS_2019 = ("HashOwner", "HashApp", "HashFunction", "Trigger")
LAYOUTS: dict[str, Layout] = {
    "azure-functions-2019": Layout(FUNCTIONS_2019, read_counts, width=60),
    "azure-functions-2021": Layout(("app", "func", "end_timestamp", "duration"), read_ends),
    "azure-llm": Layout(("TIMESTAMP", "ContextTokens", "GeneratedTokens"), make_time_reader("")),
    "burstgpt": Layout(("Timestamp", "Model", "Request tokens", "Response tokens"), make_time_reader("s"), width=1),
    "mooncake": Layout(("timestamp", "input_length", "output_length"), make_time_reader("ms"), json=True),
}
