"""The parser of specifications: `name:key=value,key=value`, where a value may stand without its key, by position.

A dataclass defines the keys and, by its annotations, the type of their values: a number, a whole number, numbers with
slashes between them (`5/50/200`) or a word. A field named like a Python keyword ends in an underscore that is not
written. `also` defines other spellings: `{"burstiness": ("cv", convert)}`. Words cannot hold commas: the grammar has no
quoting.
"""

import dataclasses
from collections.abc import Callable
from itertools import zip_longest
from typing import Any, TypeVar

Process = TypeVar("Process")


def read(cls: type[Process], text: str) -> Process:
    """Make the dataclass `cls` from parameters such as `rate=5,cv=2` or `5,2`.

    Raises ValueError with one line that says what is wrong.
    """
    fields: dict[str, dataclasses.Field] = {field.name.rstrip("_"): field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]  # only dataclasses are passed
    also = getattr(cls, "also", {})
    words = [word.strip() for word in text.split(",") if word.strip()]
    values = {}
    # A word without `=` has the key of its position.
    for word, position in zip_longest(words, list(fields)[: len(words)], fillvalue=""):
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals:
            name, value = position, word
        key, convert = also.get(name, (name, None))
        if key not in fields:
            names = " and ".join((*fields, *also))
            raise ValueError(f"{word!r} means nothing here, {cls.__name__.lower()} takes {names}")
        if fields[key].name in values:
            raise ValueError(f"{key} is given twice" + (f": {' and '.join(also)} mean it too" if also else ""))
        parsed = PARSERS[fields[key].type](name, value)
        values[fields[key].name] = convert(parsed) if convert else parsed
    missing = [key for key, field in fields.items() if field.name not in values and is_required(field)]
    if missing:
        raise ValueError(f"{' and '.join(missing)} is missing")
    return cls(**values)


def write(process) -> str:
    """Return the specification that reads back as an equal process; an empty word, or None, is not written."""
    values = {field.name.rstrip("_"): getattr(process, field.name) for field in dataclasses.fields(process)}
    fields = ",".join(f"{key}={format_value(value)}" for key, value in values.items() if value not in ("", None))
    return f"{type(process).__name__.lower()}:{fields}"


def format_value(value: float | str | tuple[float, ...]) -> str:
    """Return a value as a specification has it: the shortest form that reads back as the same number."""
    if isinstance(value, tuple):
        return "/".join(map(format_value, value))
    if isinstance(value, str) or float(f"{value:g}") != value:
        return str(value)
    return f"{value:g}"


def is_required(field: dataclasses.Field) -> bool:
    """Return True if a specification must give this field."""
    return field.default is dataclasses.MISSING


def parse_number(key: str, text: str) -> float:
    """Return a number. Raises ValueError that names the key."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{key} must be a number, not {text!r}") from None


def parse_whole_number(key: str, text: str) -> int:
    """Return a whole number. Raises ValueError that names the key."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{key} must be a whole number, not {text!r}") from None


def parse_numbers(key: str, text: str) -> tuple[float, ...]:
    """Return numbers with slashes between them. Raises ValueError that names the key."""
    return tuple(parse_number(key, part) for part in text.split("/"))


PARSERS: dict[Any, Callable[[str, str], Any]] = {
    float: parse_number,
    float | None: parse_number,
    int: parse_whole_number,
    tuple[float, ...]: parse_numbers,
    str: lambda key, text: text,
}
"""Annotation of a field -> the parser of its values."""
