"""Find the column that holds the arrivals; its name tells what they are and in which unit.

What could mean two things is rejected with a message that lists the columns, rather than guessed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from arrivals.traces.cells import is_value
from arrivals.traces.faults import LineFault, cut, quote
from arrivals.traces.rows import Table

NAMES = {
    "timestamps": (
        *("timestamp", "timestamps", "time", "times", "ts", "datetime"),
        *("arrival", "arrivals", "arrival time", "arrival times", "arrival timestamp", "arrived at"),
        *("start", "starts", "start time", "start times", "start timestamp", "started at"),
        *("request time", "request timestamp", "submit time"),
    ),
    "intervals": ("interval", "intervals", "gap", "gaps", "inter arrival", "inter arrival time", "inter arrival times"),
    "counts": ("count", "counts", "invocations", "requests"),
}
"""Kind -> names of its columns; upper and lower case, spaces, `_` and `-` do not matter. A unit may follow the first
two kinds."""
KINDS = tuple(NAMES)
KIND_OF = {name.replace(" ", ""): kind for kind, names in NAMES.items() for name in names}
SPELLINGS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "msecs", "milli", "millis", "millisec", "millisecs", "millisecond", "milliseconds"),
    "us": ("us", "usec", "usecs", "\u03bcs", "\u03bcsec", "micro", "micros", "microsec", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nsecs", "nano", "nanos", "nanosec", "nanosecs", "nanosecond", "nanoseconds"),
}
UNIT_OF = {word: unit for unit, words in SPELLINGS.items() for word in words}
FOREIGN = {
    *("h", "hr", "hrs", "hour", "hours", "m", "min", "mins", "minute", "minutes", "d", "day", "days", "week", "weeks"),
}
"""Units of time that are not read."""
BOUNDARY = re.compile(r"[\W_]+|(?<=[a-z]{2})(?=[A-Z\u00b5\u03bc])")
STEMS = sorted({"t", "duration", "epoch", *KIND_OF}, key=len, reverse=True)
"""Names to which a unit may be attached without a separator, as in `timestampms`; longest first."""
FUNCTIONS = {"function", "func", "hashfunction", "functionid", "functionname", "app", "hashapp", "owner", "hashowner"}
PERIODS = {
    *(
        "minute",
        "minutes",
        "min",
        "hour",
        "hours",
        "second",
        "seconds",
        "day",
        "days",
        "date",
        "datetime",
        "time",
        "ts",
    ),
    *("timestamp", "timestamps", "bucket", "period", "window", "slot", "bin", "start", "end"),
}
LONGER = {"hour", "hours", "day", "days", "date"}
OTHERS = {"minute": {*LONGER, "second", "seconds"}, "second": {*LONGER, "minute", "minutes", "min"}}
"""Period of a count -> words for other periods, even where their numbers are consecutive."""
SHOWN = 12  # columns that an error lists


@dataclass(frozen=True)
class Column:
    """The column that holds the arrivals."""

    index: int
    kind: str
    """One of KINDS."""
    unit: str
    """Empty where the name has none."""
    doubt: str
    """A word of the name that may be a unit that is not read; empty for none."""
    label: str
    """The column as a note names it."""


def normalise(name: str) -> str:
    """Return a name in lower case without spaces, `_` and `-`."""
    return re.sub(r"[\s_-]", "", name.lower())


def interpret(name: str) -> tuple[str, str, str]:
    """Return the kind and the unit that a name implies, and a word that may be another unit; each may be empty.

    "arrival_ms" gives ("timestamps", "ms", ""), "time (h)" gives ("timestamps", "", "h").
    """
    if kind := KIND_OF.get(normalise(name), ""):
        return kind, "", ""
    words = split_words(name)
    stem, last = split_unit(words)
    kind = KIND_OF.get(stem, "")
    kind = kind if last and kind != "counts" else ""
    # A unit within the name, as in "ms since start", may be the column's.
    inner = [word for word in words[:-1] if len(word) > 1 and (word in FOREIGN or UNIT_OF.get(word, "s") != "s")]
    doubts = [*inner, *([last] if last in FOREIGN else [])]
    return kind, UNIT_OF.get(last, ""), doubts[0] if doubts else ""


def split_words(name: str) -> list[str]:
    """Return the words of a name in lower case; a capital after two small letters begins a word."""
    return [word.casefold() for word in BOUNDARY.split(name) if word]


def split_unit(words: list[str]) -> tuple[str, str]:
    """Return what precedes the unit at the end of a name, without spaces, and the unit's word; empty for none.

    The unit may be attached (`timestampms`) or be the last of the words (`arrival ms`).
    """
    whole = "".join(words)
    for stem in STEMS:
        rest = whole.removeprefix(stem)
        if rest != whole and len(rest) > 1 and (rest in UNIT_OF or rest in FOREIGN):
            return stem, rest
    last = words[-1] if words else ""
    if last in UNIT_OF or (last in FOREIGN and (len(last) > 1 or len(words) > 1)):
        return "".join(words[:-1]), last
    return whole, ""


def choose(table: Table, kind: str = "", column: str = "", hint: str = "") -> Column:
    """Return the requested column (a name, or a number from 1 on), or the only one, or the only one with a known name.

    Raises LineFault that lists the columns, followed by the hint, if that leaves none or several.
    """
    if kind == "counts":
        reject_functions_as_rows(table, hint)
    index = find_requested(table, column) if column else find_evident(table, kind, hint)
    name = table.names[index] if table.names else ""
    implied, unit, doubt = interpret(name)
    kind = kind or implied or "timestamps"
    if kind == "counts":
        reject_functions_as_rows(table, hint)
    label = f"column {quote(name)}" if name else f"column {index + 1}" if table.width > 1 else "the only column"
    return Column(index, kind, unit, doubt, label)


def find_requested(table: Table, column: str) -> int:
    """Return the index of the column with this name or number. Raises LineFault if it may mean two columns, or none."""
    named = [i for i, name in enumerate(table.names) if name == column]
    place = int(column) - 1 if re.fullmatch(r"[1-9]\d{0,8}", column) else -1
    if 0 <= place < table.width:
        if not table.names or (not named and not is_value(table.first[place])):
            return place
        says = f"column={column} may mean the name or the place, and this line a header or a row"
        raise LineFault(table.line, f"{says}: {list_columns(table)}; expected a header of words")
    if len(named) > 1:
        numbers = " and ".join(str(i + 1) for i in named)
        raise LineFault(table.line, f"{len(named)} columns are named {quote(column)}: say column={numbers}")
    if named:
        return named[0]
    if not table.names:
        says = f"there is no header, so column must be a number from 1 to {table.width}"
        raise LineFault(table.line, f"{says}, not {quote(column)}")
    raise LineFault(table.line, f"no column {quote(column)} in {list_columns(table)}")


def find_evident(table: Table, kind: str, hint: str) -> int:
    """Return the index of the only column, or of the only one whose name implies the kind. Raises LineFault."""
    if table.width == 1:
        return 0
    if not table.names:
        says = f"{table.width} columns without a header, {list_columns(table)}: say column=1 to column={table.width}"
        if table.width == 2 and table.form == "":
            says += f", or write {'.'.join(table.first)} if its comma is a decimal one"
        raise LineFault(table.line, says)
    meanings = [interpret(name)[0] for name in table.names]
    evident = [i for i, implied in enumerate(meanings) if implied and implied == (kind or implied)]
    if len(evident) == 1:
        return evident[0]
    sought, several = kind or "arrivals", " and ".join(quote(table.names[i]) for i in evident)
    says = f"{several} may each hold the {sought}" if several else f"no name tells which column holds the {sought}"
    raise LineFault(table.line, f"{says}: {list_columns(table)}; say column=NAME{hint}")


def reject_functions_as_rows(table: Table, hint: str) -> None:
    """Raise LineFault if the rows are functions with counts of their own, rather than minutes."""
    minutes = [name for name in table.names if name.isdecimal()]
    functions = [name for name in table.names if normalise(name) in FUNCTIONS]
    if len(minutes) > 1:
        says = f"the columns {minutes[0]} to {minutes[-1]} look like minutes and every row like one function"
    elif functions:
        says = f"the column {quote(functions[0])} makes every row one function's, not one minute's"
    else:
        return
    hint = hint or "; kind=azure-functions-2019 sums them for HashOwner,HashApp,HashFunction,Trigger,1,2,..."
    raise LineFault(table.line, f"{says}; kind=counts expects one row per minute: sum them first{hint}")


def read_consecutive(table: Table, index: int, period: str) -> Iterator[tuple[int, str]]:
    """Yield the cells of a column of counts, one per period: `minute` or `second`.

    Raises LineFault where a column beside it shows that a row is not the period after the row before.
    """
    beside = [i for i, name in enumerate(table.names) if i != index and PERIODS & set(split_words(name))]
    if not beside:
        yield from table.column(index)
        return
    before: dict[int, int] = {}
    for line, row in table.rows():
        for i in beside:
            match, name = re.fullmatch(r"(\d{1,15})(?:\.0*)?", row[i].strip(), re.ASCII), table.names[i]
            place = int(match[1]) if match else None
            follows = place is not None and place == before.get(i, place - 1) + 1
            if place is None or not follows or OTHERS[period] & set(split_words(name)):
                says = f"counts are taken as consecutive {period}s, but column {quote(name)} says which"
                found = quote(row[i]) + (f" after '{before[i]}'" if i in before else "")
                what = "fill the gaps and give the counts alone, in a file of one column"
                raise LineFault(line, f"{says} ({found}): {what}")
            before[i] = place
        yield line, row[index]


def list_columns(table: Table) -> str:
    """Return the names of the first SHOWN columns, or their first cells, for an error."""
    names = [cut(name) or "(no name)" for name in table.first[:SHOWN]]
    return ", ".join(names) + (f" and {table.width - SHOWN} more" if table.width > SHOWN else "")
