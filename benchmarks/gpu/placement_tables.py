"""Tables of placements over sizes: latency, rates and what they cost, and a sentence of advice for images."""

from collections.abc import Sequence

from benchmarks.gpu.advice import advise
from benchmarks.gpu.reading import Left
from benchmarks.gpu.tables import batches, detail, table, value
from common.figures import UNKNOWN

SPEECH = {"server": "server", "client": "client"}
UNLOADED = (
    *("", "", "median ms", "n", "processing", "network", "movement", "waiting", "processing %", "beyond network %"),
)
RATES = (
    *("", "", "highest rate /s", "limit ms", "p95 ms", "mean batch", "CPU ms client", "server", "J", "GPU %"),
    *("limit", "without pauses /s", "turns"),
)
PARTS = ("processing", "network", "movement", "waiting")


def image_sections(left: Left, stage: str, title: str) -> list[str]:
    """Return the tables of placements over sizes, with one sentence of advice per size."""
    names = left.arm_names()
    measured = [arm for arm in names if left_has(left, stage, arm, "unloaded latency")]
    sizes = [size for size in left.names(stage, "size") if any_latency(left, stage, size, measured)]
    if not sizes:
        return []
    rows = [(stage, size, arm) for size in sizes for arm in measured if left.last(stage, size, arm, "unloaded latency")]
    parts = [f"## {title}", *placement_tables(left, rows, names)]
    return [*parts, "\n".join(f"- {advise(left, stage, size, measured)}" for size in sizes)]


def left_has(left: Left, stage: str, arm: str, figure: str) -> bool:
    """Return whether a stage has that figure of an arm, at any size."""
    return any(left.last(stage, size, arm, figure) for size in left.names(stage, "size"))


def any_latency(left: Left, stage: str, size: str, arms: Sequence[str]) -> bool:
    """Return whether an arm was measured unloaded at a size."""
    return any(left.last(stage, size, arm, "unloaded latency") for arm in arms)


Row = tuple[str, str, str]
"""Stage, size, arm."""


def placement_tables(left: Left, rows: Sequence[Row], names: dict[str, str]) -> list[str]:
    """Return two tables: unloaded latency and where it goes, and the highest rates with their costs."""
    return [
        "Unloaded, one request at a time; processing, network, movement and waiting are mean ms.",
        table(UNLOADED, [unloaded_row(left, *row, names[row[-1]]) for row in rows]),
        "The highest rate of Poisson arrivals that keeps p95 within the limit, which is 5 times the slowest arm's"
        " unloaded median; costs are per answer at the highest rate that was kept.",
        table(RATES, [rate_row(left, *row, names[row[-1]]) for row in rows]),
    ]


def rate_table(left: Left, rows: Sequence[Row], names: dict[str, str]) -> str:
    """Return the table of the highest rates that were measured."""
    return table(RATES, [rate_row(left, *row, names[row[-1]]) for row in rows if left.last(*row, "capacity")])


def unloaded_row(left: Left, stage: str, size: str, arm: str, name: str) -> list[str]:
    """Return a row of UNLOADED."""
    latency = left.last(stage, size, arm, "unloaded latency")
    parts = (left.last(stage, size, arm, "mean latency") or {}).get("parts", {})
    shares = [value(left.last(stage, size, arm, f"share {of}"), 100) for of in ("processing", "beyond the network")]
    return [size, name, value(latency), detail(latency, "n"), *(detail(parts, part) for part in PARTS), *shares]


def rate_row(left: Left, stage: str, size: str, arm: str, name: str) -> list[str]:
    """Return a row of RATES."""
    found = left.last(stage, size, arm, "capacity")
    limits = [detail(found, key) for key in ("slo_ms", "p95")]
    costs = [detail(found, key) for key in ("client_cpu_ms", "server_cpu_ms", "joules")]
    costs += [detail(found, "utilisation", 100), (found or {}).get("limit", UNKNOWN)]
    full = left.last(stage, size, arm, "rate without pauses")
    return [size, name, value(found), *limits, batches(found), *costs, value(full), detail(found, "turns")]


def speech_section(left: Left) -> list[str]:
    """Return the tables of speech."""
    sizes = left.names("d", "size")
    rows = [("d", size, arm) for size in sizes for arm in SPEECH if left.last("d", size, arm, "unloaded latency")]
    return ["## Speech", *placement_tables(left, rows, SPEECH)] if rows else []
