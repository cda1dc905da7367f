"""The table of what requests cost the server's GPUs: of every experiment whose own tables do not say it."""

from collections.abc import Mapping, Sequence

from crossover.measurement.gpu_use import summarise_gpu
from crossover.measurement.trial import Trial
from crossover.report.format import label_arms, number
from crossover.report.html import TEMPLATES, Section, render
from crossover.report.terminal import Column, draw_table

TITLE = "The GPU"
COLUMNS = Column("GPU", left=True), Column("J per request"), Column("in use, %"), Column("memory, GB")
NOTE = (
    "Joules are the whole card's, idle power included; its use is the mean of what it was at the end of each trial, "
    "its memory the most in use, by anyone."
)


def list_use(trials: Sequence[Trial], by_load: bool = False) -> list[tuple[str, dict]]:
    """Return (arm, `summarise_gpu`) of each arm whose trials know of a GPU; of each load, if `by_load`."""
    groups: dict[str, list[Trial]] = {}
    labels = label_arms((trial.arm for trial in trials), workload=True)
    for trial in trials:
        groups.setdefault(labels[trial.arm] + f", {trial.arrivals}" * by_load, []).append(trial)
    found = ((name, summarise_gpu(group)) for name, group in groups.items())
    return [(name, use) for name, use in found if use["gpu_joules"] is not None]


def list_rows(found: Sequence[tuple[str, Mapping]]) -> list[tuple[str, ...]]:
    """Return the cells of each arm, in the order of COLUMNS."""
    units = (("gpu_joules", 1), ("gpu_utilisation", 100), ("gpu_memory_mb", 0.001))
    return [(name, *(number(scale(use[key], factor)) for key, factor in units)) for name, use in found]


def scale(value: float | None, factor: float) -> float | None:
    """Return a value in another unit; None stays."""
    return None if value is None else value * factor


def text(found: Sequence[tuple[str, Mapping]]) -> str:
    """Return the table for the terminal; empty without a GPU."""
    return f"{draw_table(COLUMNS, list_rows(found))}\n{NOTE}" if found else ""


def list_sections(found: Sequence[tuple[str, Mapping]]) -> list[Section]:
    """Return the table as a section of a page; none without a GPU."""
    if not found:
        return []
    return [Section(render(TEMPLATES / "gpu.html.j2", columns=COLUMNS, rows=list_rows(found), note=NOTE), TITLE)]
