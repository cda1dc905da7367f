"""Tables in Markdown, and what stands in a cell: a figure with its interval, another number, the batches."""

from collections.abc import Sequence

from benchmarks.gpu.reading import Entry
from common.figures import UNKNOWN, interval, significant


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def value(entry: Entry | None, scale: float = 1.0) -> str:
    """Return a figure with its interval; UNKNOWN without one."""
    if entry is None or entry["value"] is None:
        return UNKNOWN
    low, high = (None if entry[key] is None else entry[key] * scale for key in ("low", "high"))
    return f"{significant(entry['value'] * scale)} {interval(low, high)}".rstrip()


def detail(entry: Entry | None, key: str, scale: float = 1.0) -> str:
    """Return another number of a figure's line."""
    number = (entry or {}).get(key)
    return UNKNOWN if number is None else significant(number * scale)


def batches(entry: Entry | None) -> str:
    """Return the mean batch of the steps that are no ensembles, with arrows between them."""
    found = (entry or {}).get("batch", {})
    steps = [
        f"{name} {significant(size)}" for name, size in found.items() if name not in ("image", "image_cpu", "audio")
    ]
    return ", ".join(steps) or UNKNOWN
