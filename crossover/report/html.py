"""The report: one HTML file that needs nothing beside it, the verdict first, from what the blocks come to."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common import atomic_write
from crossover.analysis.bootstrap import minimum_rounds
from crossover.experiments import catalogue
from crossover.experiments.catalogue import svg
from crossover.experiments.compare import tables
from crossover.measurement.trial import Block
from crossover.report import plots
from crossover.report.provenance import banners, listed, offered, servers
from loadgen.arm import PLACEMENTS
from loadgen.samples.early_stopping import required_requests
from loadgen.samples.sample import STATUSES

NAME = "report.html"
P99_NEEDS = required_requests(99)


def write(directory: Path, run: dict, blocks: Sequence[Block], summary: dict) -> Path:
    """directory/report.html from the contents of run.json, the blocks and what they come to. Raises OSError.

    Of `summary` it needs `workloads` (name -> arms, comparisons, sentence): bench's, or none. `capacity`, `crossover`,
    `efficiency` and `study` are the contents of those files; without bench's workloads the page is about the one that
    there is. These and a workload's `other_modes` are shown where they are, `sources` says whence.
    """
    experiments = {kind: summary[kind] for kind in catalogue.SENTENCES if summary.get(kind)}
    kind = "bench" if summary["workloads"] else next(iter(experiments), "bench")
    rendered = template().render(
        run=run,
        kind=kind,
        question=catalogue.QUESTIONS.get(kind, "Should the client or the server decode?"),
        banners=banners(run, blocks, summary, kind),
        workloads={name: workload(name, found, blocks) for name, found in summary["workloads"].items()},
        titles=catalogue.TITLES,
        told={name: catalogue.SENTENCES[name](found) for name, found in experiments.items()},
        capacity=catalogue.capacity(summary.get("capacity") or {}),
        crossover=catalogue.crossover(summary.get("crossover") or ()),
        efficiency=summary.get("efficiency") or {},
        study=catalogue.study(summary.get("study") or {}),
        sources=summary.get("sources", {}),
        servers=servers(run),
        offered=offered(run),
        blocks=[(block, place(directory, block, kind)) for block in blocks],
        uneven=uneven(blocks) if kind == "bench" else [],
        seeds=seeds(blocks) if kind == "bench" else {},
        gpu=any(arm["gpu_joules"] is not None for found in summary["workloads"].values() for arm in found["arms"]),
        P99_NEEDS=P99_NEEDS,
    )
    path = directory / NAME
    atomic_write.write(path, rendered)
    return path


def template():
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "kb": lambda size: number(None if size is None else size / 1e3)}
    environment.filters |= {"short": plots.short, "listed": listed, "books": books, "tied": tied}
    return environment.get_template("report.html.j2")


def number(value: float | None) -> str:
    """Three digits or so, whole numbers in full; a dash for what is not known."""
    if value is None:
        return "–"
    size = abs(value)
    if 0 < size < 0.01:
        return f"{value:.1g}"
    return f"{value:,.{0 if size >= 100 or not size else 1 if size >= 10 else 2}f}"


def tied(text: str) -> str:
    """A per cent sign stays with its number."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def books(balance: dict) -> str:
    """Every arrival's end; statuses that nothing ended in are left out."""
    ends = " + ".join(f"{balance[status]} {status}" for status in STATUSES if balance[status])
    return f"{balance['scheduled']} = {ends or 0}"


def place(directory: Path, block: Block, kind: str) -> str:
    """Which arm a block is of; an experiment's folders tell more of it than the arm's name."""
    return block.arm if kind == "bench" else str(block.path.parent.relative_to(directory))


def uneven(blocks: Sequence[Block]) -> list[str]:
    """Rounds in which not every arm was offered the same schedule."""
    offered: dict[tuple, set] = {}
    for block in blocks:
        offered.setdefault((block.workload, block.round), set()).add(block.schedule)
    return [f"{name} round {turn}" for (name, turn), schedules in offered.items() if len(schedules) > 1]


def seeds(blocks: Sequence[Block]) -> dict[str, list[Block]]:
    """Workload -> one block per schedule."""
    kept = {(block.workload, block.round, block.schedule): block for block in blocks}
    return {
        name: [block for (workload, *_), block in kept.items() if workload == name]
        for name in dict.fromkeys(block.workload for block in blocks)
    }


# Sections -------------------------------------------------------------------------------------------------------


def workload(name: str, found: dict, blocks: Sequence[Block]) -> dict:
    """What the template shows of a workload: its summary with its plots."""
    own = [block for block in blocks if block.workload == name]
    arms = [arm for arm in found["arms"] if arm["stages"]]
    longest_first = sorted(arms, key=lambda arm: -len(arm["stages"]))
    stages = list(dict.fromkeys(stage for arm in longest_first for stage in arm["stages"]))
    return {
        **found,
        "compared": compared(name, found["comparisons"]),
        "others": {mode: compared(f"{name} {mode}", each) for mode, each in found.get("other_modes", {}).items()},
        "invalid": sum(not block.valid for block in own),
        "latency": svg(plots.latency, own, f"{name}: latency of each arm") if any(b.completed for b in own) else "",
        "paints": plots.paints(stages),
        "steps": tables.computing(stages),
        "bars": svg(plots.stages, arms, stages, f"{name}: mean latency of each arm by stage") if arms else "",
    }


def compared(about: str, comparisons: Sequence[dict]) -> dict:
    """Forest plots in rows: each comparison's interval, on one scale for what comes out and one for what it costs."""
    first, second = comparisons[0].get("names", PLACEMENTS) if comparisons else PLACEMENTS
    quotient = f"{second} ÷ {first}"
    costs = [row for row in comparisons if row["unit"].endswith("/request")]
    groups = []
    for rows in ([row for row in comparisons if row not in costs], costs):
        if rows:
            ends = plots.limits(rows)
            scale = svg(plots.scale, ends, f"{about}: scale of {quotient} for {rows[0]['metric']}")
            groups.append({"rows": [compared_row(about, row, ends, quotient) for row in rows], "scale": scale})
    return {"groups": groups, "names": (first, second), "quotient": quotient}


def compared_row(about: str, row: dict, ends: tuple[float, float], quotient: str) -> dict:
    return {
        **row,
        "tone": row["kind"] if row["kind"] in PLACEMENTS else "neither",
        "interval": svg(plots.interval, row, ends, f"{about}, {row['metric']}: {quotient}") if row["ratio"] else "",
        "without": "too few rounds"
        if row.get("rounds", 0) < minimum_rounds(row.get("confidence", 0.95))
        else "no interval",
    }
