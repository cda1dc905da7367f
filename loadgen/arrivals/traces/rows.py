"""The rows of a trace file, as text, each with the number of the line on which it begins.

Two forms: CSV (commas, semicolons or tabs between cells) and JSON lines (an object per line). Blank lines and lines
that begin with # are skipped between rows, not within a quoted cell. Reading takes one row of memory at a time.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Protocol, TextIO

from loadgen.arrivals.traces import cells
from loadgen.arrivals.traces.faults import Fault, LineFault, pluralise, quote

LONGEST = 1 << 20  # characters in a line
SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas"}
"""In this order: a file with decimal commas is separated by one of the first two."""


class Table(Protocol):
    names: list[str]
    """Of the columns; empty where the file has no header."""
    width: int
    line: int
    """The line of the names, or else of the first row."""
    form: str
    """How the file is written, to be added to a note; empty for a plain CSV file."""
    first: list[str]
    """The names, or the cells of the first row where there are none."""

    def column(self, index: int) -> Iterator[tuple[int, str]]:
        """The cells of one column, each with its line."""

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """All cells, as many as there are names, with the line on which the row begins."""


def open_table(file: TextIO) -> "CsvTable | JsonTable":
    """Find out the form of a file. Raises Fault for one that is empty or no table, UnicodeDecodeError."""
    lines = read_lines(file)
    head = read_head(lines)
    start = next((line.lstrip() for line in head if not is_skipped(line)), "")
    lines = Lines(chain(head, lines))
    if start.startswith("{"):
        return JsonTable(lines)
    if start.startswith("["):
        raise Fault(" begins with '[': a JSON array is not read, only JSON lines, an object per line")
    return CsvTable(lines, find_separator(head))


def read_lines(file: TextIO) -> Iterator[str]:
    number = 0
    while line := file.readline(LONGEST):
        number += 1
        if "\0" in line:
            raise Fault(" is not a text file in UTF-8: it has zero bytes")
        if len(line) == LONGEST and line[-1] not in "\r\n":
            raise LineFault(number, f"longer than {LONGEST:,} characters; expected a row of a table")
        yield line


def read_head(lines: Iterator[str]) -> list[str]:
    """The first lines, eight of them with content."""
    head, content = [], 0
    while content < 8 and (line := next(lines, "")):
        head.append(line)
        content += not is_skipped(line)
    return head


def is_skipped(line: str) -> bool:
    return line.startswith("#") or line.isspace()


class Lines:
    """Lines for csv.reader or a JSON parser: counted, and without those that are skipped between rows."""

    def __init__(self, lines: Iterable[str]):
        self._lines, self._number, self.start, self.within = iter(lines), 0, 0, False

    def __iter__(self):
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
    """The first of SEPARATORS that splits the first two rows into equally many cells, two or more.

    If none does: the first that splits the first row, so that the second is refused with its line.
    """
    widths = {each: [len(row) for _, row in islice(parse_head(head, each), 2)] for each in SEPARATORS}
    for each, found in widths.items():
        if found[:1] != [1] and len(set(found)) == 1:
            return each
    return next((each for each, found in widths.items() if found and found[0] > 1), ",")


def parse_head(head: list[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from parse_rows(Lines(head), delimiter)
    except Fault:  # a quoted cell may end beyond the head; reading the whole file tells
        return


def parse_rows(lines: Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.within = False
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise LineFault(lines.start, f"the quotes of this row are damaged or do not end ({error})") from None
        if len(row) == 1 or "".join(row).strip():  # a row of one cell is no blank line: its quotes hold nothing
            yield lines.start, row


class CsvTable:
    """A first row with a cell that is no number and no date-time is a header."""

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

    def rows(self):
        width = self.width
        for line, row in self._rows:
            if len(row) != width and (len(row) < width or any(map(str.strip, row[width:]))):
                raise LineFault(line, self._mismatch(row))
            yield line, row

    def column(self, index):
        for line, row in self.rows():
            yield line, row[index]

    def _mismatch(self, row: list[str]) -> str:
        says = f"{pluralise(len(row), 'cell')} where line {self.line} has {pluralise(self.width, 'column')}"
        pair = re.search(r"(?:^|,)\s*(\d+,\d+)\s*(?:,|$)", ",".join(row)) if self._separator == "," else None
        if len(row) > self.width and pair:
            says += f"; is {pair[1]} a number with a decimal comma? Expected {pair[1].replace(',', '.')}"
        return says


class JsonTable:
    """An object per line; the keys of the first are the columns. Numbers keep the digits that the file has."""

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

    def rows(self):
        for line, entry in chain([self._head], self._objects()):
            yield line, [as_text(entry.get(name)) for name in self.names]

    def column(self, index):
        name = self.names[index]
        for line, entry in chain([self._head], self._objects()):
            if name not in entry:
                raise LineFault(line, f"no {quote(name)}; expected one in every object")
            yield line, as_text(entry[name])


def as_text(value) -> str:
    """Text and numbers as they stand in the file; else what is no number and reads like it."""
    if isinstance(value, list | dict):
        return "[...]" if isinstance(value, list) else "{...}"
    return value if isinstance(value, str) else json.dumps(value)
