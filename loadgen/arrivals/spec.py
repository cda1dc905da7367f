"""The grammar of a specification: `name:key=value,key=value`, where a value may go by its position.

A dataclass says which keys there are and, by its annotations, how their values read: a number, a whole
number, numbers with slashes between them (`5/50/200`) or a word. A field named like a Python keyword ends in
an underscore that is not written. `also` names other spellings: `{"burstiness": ("cv", convert)}`.
Words cannot hold commas: the grammar has no quoting.
"""

import dataclasses
from itertools import zip_longest


def read(cls: type, text: str):
    """The `cls` that `rate=5,cv=2` or `5,2` describes. Raises ValueError with one line that says what is wrong."""
    fields = {field.name.rstrip("_"): field for field in dataclasses.fields(cls)}
    also = getattr(cls, "also", {})
    words = [word.strip() for word in text.split(",") if word.strip()]
    values = {}
    for word, position in zip_longest(words, list(fields)[: len(words)], fillvalue=""):
        given, equals, value = (part.strip() for part in word.partition("="))
        if not equals:
            given, value = position, word
        key, convert = also.get(given, (given, None))
        if key not in fields:
            names = " and ".join((*fields, *also))
            raise ValueError(f"{word!r} means nothing here, {cls.__name__.lower()} takes {names}")
        if fields[key].name in values:
            raise ValueError(f"{key} is given twice" + (f": {' and '.join(also)} mean it too" if also else ""))
        number = READ[fields[key].type](given, value)
        values[fields[key].name] = convert(number) if convert else number
    missing = [key for key, field in fields.items() if field.name not in values and required(field)]
    if missing:
        raise ValueError(f"{' and '.join(missing)} is missing")
    return cls(**values)


def write(process) -> str:
    """The specification that reads back as an equal process; a word left empty is not written."""
    values = {field.name.rstrip("_"): getattr(process, field.name) for field in dataclasses.fields(process)}
    fields = ",".join(f"{key}={written(value)}" for key, value in values.items() if value != "")
    return f"{type(process).__name__.lower()}:{fields}"


def written(value) -> str:
    if isinstance(value, tuple):
        return "/".join(map(written, value))
    if isinstance(value, str) or float(f"{value:g}") != value:
        return str(value)
    return f"{value:g}"


def required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING


def number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{key} must be a number, not {text!r}") from None


def whole(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{key} must be a whole number, not {text!r}") from None


def numbers(key: str, text: str) -> tuple[float, ...]:
    return tuple(number(key, part) for part in text.split("/"))


READ = {float: number, int: whole, tuple[float, ...]: numbers, str: lambda key, text: text}
