"""Read the rows of a trace file as text, each with the number of the line on which it begins.

A file has one of two forms: CSV (commas, semicolons or tabs between cells) or JSON lines (an object per line).
Blank lines and lines that begin with # are skipped between rows, not within a quoted cell. One row is in memory at a
time.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Protocol, TextIO

from arrivals.traces import cells
from arrivals.traces.faults import Fault, LineFault, pluralise, quote

LONGEST = 1 << 20  # characters in a line
SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas"}
"""Tried in this order: a file with decimal commas is separated by one of the first two."""


class Table(Protocol):
    """A trace file as a table."""

    names: list[str]
    """The columns' names; empty where the file has no header."""
    width: int
    """The number of columns."""
    line: int
    """The line of the names, or else of the first row."""
    form: str
    """How the file is written, to be added to a note; empty for a plain CSV file."""
    first: list[str]
    """The names, or the cells of the first row where there are none."""

    def column(self, index: int) -> Iterator[tuple[int, str]]:
        """Yield the cells of one column, each with its line. Raises LineFault."""

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield all rows with the line on which each begins; every row has `width` cells or more. Raises LineFault."""


def open_table(file: TextIO) -> "CsvTable | JsonTable":
    """Detect the form of a file and return its table.

    Raises Fault for a file that is empty or no table, UnicodeDecodeError for one that is not in UTF-8.
    """
    text = read_lines(file)
    head = read_head(text)
    start = next((line.lstrip() for line in head if not is_skipped(line)), "")
    lines = Lines(chain(head, text))
    if start.startswith("{"):
        return JsonTable(lines)
    if start.startswith("["):
        raise Fault(" begins with '[': a JSON array is not read, only JSON lines, an object per line")
    return CsvTable(lines, find_separator(head))


def read_lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file. Raises Fault for zero bytes, LineFault for a line longer than LONGEST."""
    number = 0
    while line := file.readline(LONGEST):
        number += 1
        if "\0" in line:
            raise Fault(" is not a text file in UTF-8: it has zero bytes")
        if len(line) == LONGEST and line[-1] not in "\r\n":
            raise LineFault(number, f"longer than {LONGEST:,} characters; expected a row of a table")
        yield line


def read_head(lines: Iterator[str]) -> list[str]:
    """Return the first lines of a file, up to the eighth with content."""
    head, content = [], 0
    while content < 8 and (line := next(lines, "")):
        head.append(line)
        content += not is_skipped(line)
    return head


def is_skipped(line: str) -> bool:
    """Return True for a comment or a blank line."""
    return line.startswith("#") or line.isspace()


class Lines:
    """Lines for csv.reader or a JSON parser: counted, and without those that are skipped between rows.

    `start` is the number of the line on which the present row begins. Whoever reads a row sets `within` to False before
    it; the lines of a row that has begun are not skipped.
    """

    def __init__(self, lines: Iterable[str]):
        self._lines, self._number, self.start, self.within = iter(lines), 0, 0, False

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        for line in self._lines:
            self._number += 1
            if self.within:
                return line
            if not is_skipped(line):
                self.start, self.within = self._number, True
                return line
        raise StopIteration


def find_separator(head: list[str]) -> str:
    """Return the first of SEPARATORS that splits the first two rows into equally many cells, two or more.

    If none does, return the first that splits the first row: the second row is then rejected with its line.
    """
    widths = {each: [len(row) for _, row in islice(parse_head(head, each), 2)] for each in SEPARATORS}
    for each, counts in widths.items():
        if counts[:1] != [1] and len(set(counts)) == 1:
            return each
    return next((each for each, counts in widths.items() if counts and counts[0] > 1), ",")


def parse_head(head: list[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a file's first lines, as far as they can be parsed."""
    try:
        yield from parse_rows(Lines(head), delimiter)
    except Fault:  # a quoted cell may end beyond the head; reading the whole file reports real faults
        return


def parse_rows(lines: Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line on which it begins, cells) of every row that is not blank. Raises LineFault for damaged quotes."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.within = False
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise LineFault(lines.start, f"the quotes of this row are damaged or do not end ({error})") from None
        if len(row) == 1 or "".join(row).strip():  # a row of one empty cell is written as quotes
            yield lines.start, row


class CsvTable:
    """A CSV file. Its first row is a header if a cell of it is neither a number nor a date-time."""

    def __init__(self, lines: Lines, separator: str):
        self._rows, self._separator = parse_rows(lines, separator), separator
        self.form = "" if separator == "," else f", separated by {SEPARATORS[separator]}"
        line, row = next(self._rows, (0, []))
        if not row:
            raise Fault(" is empty")
        first = [cell.strip() for cell in row]
        if first == [""]:
            raise LineFault(line, "'' is not a number; expected a name or a number")
        numbers = first[: max(i + 1 for i, cell in enumerate(first) if cell)]  # separators may end the line
        header = not all(map(cells.is_value, numbers))
        first = first if header else numbers
        if comma := next(filter(cells.has_decimal_comma, first), ""):
            raise LineFault(line, cells.explain(comma, "a name or a number"))
        self.line, self.width, self.first = line, len(first), first
        self.names = first if header else []
        if not header:
            self._rows = chain([(line, row)], self._rows)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield all rows. Raises LineFault for one with another number of cells."""
        width = self.width
        for line, row in self._rows:
            if len(row) != width and (len(row) < width or any(map(str.strip, row[width:]))):
                raise LineFault(line, self._mismatch(row))
            yield line, row

    def column(self, index: int) -> Iterator[tuple[int, str]]:
        """Yield the cells of one column."""
        for line, row in self.rows():
            yield line, row[index]

    def _mismatch(self, row: list[str]) -> str:
        says = f"{pluralise(len(row), 'cell')} where line {self.line} has {pluralise(self.width, 'column')}"
        pair = re.search(r"(?:^|,)\s*(\d+,\d+)\s*(?:,|$)", ",".join(row)) if self._separator == "," else None
        if len(row) > self.width and pair:
            says += f"; is {pair[1]} a number with a decimal comma? Expected {pair[1].replace(',', '.')}"
        return says


class JsonTable:
    """JSON lines: an object per line, whose first has the columns as keys. Numbers keep the digits of the file."""

    form = ", JSON lines"

    def __init__(self, lines: Lines):
        self._lines = lines
        self._parse = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).decode
        self.line, entry = next(self._objects())
        if not entry:
            raise LineFault(self.line, "an object without keys; expected a timestamp")
        self.names, self.first, self.width = list(entry), list(entry), len(entry)
        self._head = (self.line, entry)

    def _objects(self) -> Iterator[tuple[int, dict]]:
        for line in self._lines:
            self._lines.within = False
            try:
                entry = self._parse(line)
            except (ValueError, RecursionError):
                entry = None
            if not isinstance(entry, dict):
                raise LineFault(self._lines.start, f"{quote(line)} is not a JSON object; expected one on every line")
            yield self._lines.start, entry

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield all rows; a key that an object lacks is `null`."""
        for line, entry in chain([self._head], self._objects()):
            yield line, [as_text(entry.get(name)) for name in self.names]

    def column(self, index: int) -> Iterator[tuple[int, str]]:
        """Yield the cells of one column. Raises LineFault for an object that lacks it."""
        name = self.names[index]
        for line, entry in chain([self._head], self._objects()):
            if name not in entry:
                raise LineFault(line, f"no {quote(name)}; expected one in every object")
            yield line, as_text(entry[name])


def as_text(value: object) -> str:
    """Return text and numbers as they stand in the file; anything else as JSON, which is not a number."""
    if isinstance(value, list | dict):
        return "[...]" if isinstance(value, list) else "{...}"
    return value if isinstance(value, str) else json.dumps(value)
