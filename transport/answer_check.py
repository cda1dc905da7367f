"""Whether an answer holds the tensors that it describes: as many bytes, or numbers, as their shapes and types need.

What an answer's JSON says is checked once: a model repeats it from answer to answer.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from transport.outputs import find_dtype

PREFIX = 4  # bytes before an element of a BYTES tensor, which say its length
ITEM_SIZES = {"BYTES": PREFIX, "BF16": 2}
"""Bytes of an element, at least, of the types that NumPy does not have."""
NUMBERS = frozenset({int, float, bool})
UNDEFINED = frozenset({type(None)})  # null, as some servers write NaN


class Unreadable(Exception):
    """An answer whose tensors cannot be read; the message says in one line what is wrong."""


class Head(NamedTuple):
    """What the JSON of an answer says of the bytes behind it."""

    binary: int
    """How many there are."""
    texts: tuple[tuple[str, int, int, int], ...]
    """Tensors of BYTES that were asked for: (name, first byte behind the JSON, last + 1, elements)."""


@lru_cache(256)
def read_head(text: bytes, wanted: tuple[str, ...], placed: tuple[tuple[str, int], ...] = ()) -> Head:
    """Read an answer's JSON, which must describe a readable tensor for each of `wanted`.

    `placed` are those that come through shared memory, as (name, bytes). Raises Unreadable; and ValueError, KeyError or
    TypeError for JSON of another form.
    """
    outputs, sizes, texts, start = list_outputs(json.loads(text)), dict(placed), [], 0
    if missing := set(wanted) - {output["name"] for output in outputs}:
        raise Unreadable(f"the answer lacks {', '.join(sorted(missing))}")
    seen = set()
    for output in outputs:
        name, parameters = output["name"], output.get("parameters") or {}
        size = parameters.get("binary_data_size")
        if name in seen:
            raise Unreadable(f"the answer has {name} twice")
        if size is not None and (type(size) is not int or size < 0):
            raise Unreadable(f"the answer says that {name} has {size!r} bytes")
        seen.add(name)
        if name in wanted:
            datatype, shape = read_kind(name, output)
            if name in sizes:  # Triton tells of its type and shape only
                if size is not None or "data" in output:
                    raise Unreadable(f"{name} is not in shared memory, where it was asked for")
                check_size(name, datatype, shape, sizes[name])
            elif size is not None:
                check_size(name, datatype, shape, size)
                if datatype == "BYTES":
                    texts.append((name, start, start + size, prod(shape)))
            elif "data" in output:
                check_data(name, datatype, shape, output["data"])
            else:
                raise Unreadable(f"{name} has no data")
        start += size or 0
    return Head(start, tuple(texts))


def list_outputs(told: Any) -> list[dict]:
    """Return the outputs of an answer's JSON. Raises Unreadable if it has none, or an error beside them."""
    if isinstance(told, dict) and told.get("error"):
        raise Unreadable(f"HTTP 200 with an error: {told['error']}")
    outputs = told.get("outputs") if isinstance(told, dict) else None
    if not isinstance(outputs, list):
        raise Unreadable("the answer has no outputs")
    return outputs


def read_kind(name: str, output: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Return type and shape of an output, from an answer's JSON. Raises Unreadable if it has none that can be."""
    datatype, shape = output.get("datatype"), output.get("shape")
    if not isinstance(datatype, str):
        raise Unreadable(f"{name} has the type {datatype!r}")
    if not isinstance(shape, list) or not all(type(length) is int for length in shape):
        raise Unreadable(f"{name} has the shape {shape!r}")
    return datatype, tuple(shape)


def count_elements(name: str, datatype: str, shape: tuple[int, ...]) -> int:
    """Return how many elements a tensor has. Raises Unreadable for an unknown type, or a length below 0."""
    if any(length < 0 for length in shape):
        raise Unreadable(f"{name} has the shape {list(shape)}")
    try:
        find_dtype(datatype)
    except ValueError as error:
        raise Unreadable(f"{name} has an {error}") from None
    return prod(shape)


@lru_cache(256)
def check_size(name: str, datatype: str, shape: tuple[int, ...], size: int) -> None:
    """Raise Unreadable unless so many bytes are a tensor of that type and shape."""
    count = count_elements(name, datatype, shape)
    needed = count * ITEM_SIZES.get(datatype, np.dtype(find_dtype(datatype)).itemsize)
    may_be_more = datatype == "BYTES" and count > 0
    if size < needed or (size > needed and not may_be_more):
        least = "at least " if may_be_more else ""
        raise Unreadable(f"{name} has {size} bytes where {datatype} of shape {list(shape)} needs {least}{needed}")


def check_data(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> None:
    """Raise Unreadable unless the JSON array `data`, nested or not, has the elements of that type and shape."""
    count = count_elements(name, datatype, shape)
    while isinstance(data, list) and data and isinstance(data[0], list):
        if not all(isinstance(each, list) for each in data):
            raise Unreadable(f"{name} has numbers beside lists of numbers")
        data = [element for each in data for element in each]
    if not isinstance(data, list) or len(data) != count:
        has = f"{len(data)} elements" if isinstance(data, list) else f"{type(data).__name__} as data"
        raise Unreadable(f"{name} has {has} where shape {list(shape)} needs {count}")
    try:  # in a seventh of the time that a look at each element's type takes
        "".join(data) if datatype == "BYTES" else sum(data)
    except (TypeError, OverflowError):
        others = set(map(type, data)) - ({str} if datatype == "BYTES" else NUMBERS)
        if others != UNDEFINED or "F" not in datatype:
            types = ", ".join(sorted(each.__name__ for each in others)) or "too large"
            raise Unreadable(f"{name} has elements that are no {datatype}: {types}") from None


def check_texts(head: Head, tensors: memoryview | bytes) -> None:
    """Raise Unreadable if a tensor of BYTES has not as many elements as its shape, each as long as it says."""
    for name, begin, end, count in head.texts:
        check_text(name, tensors[begin:end], count)


def check_text(name: str, raw: memoryview | bytes, count: int) -> None:
    """Raise Unreadable unless `raw` has exactly so many elements, each with its length before it."""
    position, end = 0, len(raw)
    for _ in range(count):
        if position + PREFIX > end:
            break
        position += PREFIX + int.from_bytes(raw[position : position + PREFIX], "little")
    else:
        if position == end:
            return
    raise Unreadable(f"{name} has not {count} elements of BYTES in its {end} bytes")
