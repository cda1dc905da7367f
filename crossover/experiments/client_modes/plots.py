"""Plots of the client modes: p50 and tail latency of every client under every law of arrivals."""

from pathlib import Path

import numpy as np
from markupsafe import Markup

from crossover.experiments.client_modes.conditions import LAWS, VIDEO
from crossover.report.plots import INK, PAPER, POISSON, RANDOM, UNIFORM, WIDTH, draw_svg, literal, plain, png

COLOURS = dict(zip(LAWS, (UNIFORM, POISSON, RANDOM, INK), strict=True))
MARKS = {"p50": "o", "tail": "^"}


def conditions(found: dict, placement: str, label: str) -> Markup:
    """Plot p50 and tail in ms of every client under every law, for one placement.

    `found` is a workload of study.json, `label` the description of the plot for those who cannot see it.
    """
    return draw_svg(draw_conditions, label, (WIDTH, 3.7), found=found, placement=placement)


def draw_conditions(axes, found: dict, placement: str, paper: str = PAPER) -> None:
    """Draw a place on the axis per client, and one for the cameras, each with a mark per law of arrivals.

    The axis of latency is that of the workload, so that the plots of both placements can be compared.
    """
    shown = [row for row in found["conditions"] if row["placement"] == placement]
    groups = list(dict.fromkeys((row["mode"], row["arrivals"] in VIDEO) for row in shown))
    for position, group in enumerate(groups):
        rows = [row for row in shown if (row["mode"], row["arrivals"] in VIDEO) == group]
        for row, aside in zip(rows, np.linspace(-0.18, 0.18, len(rows)) if len(rows) > 1 else (0,), strict=True):
            colour, x = COLOURS[row["arrivals"]], position + aside
            for (key, mark), beside in zip(MARKS.items(), (-0.04, 0.04), strict=True):
                value, low, high = row[key]["value"], row[key]["low"], row[key]["high"]
                if low is not None and high is not None:
                    axes.vlines(x + beside, low, high, color=colour, linewidth=1.2)
                face = colour if key == "p50" else paper
                axes.plot([x + beside], [value], mark, color=colour, markersize=6, markerfacecolor=face)
    if groups and groups[-1][1] and len(groups) > 1:
        axes.axvline(len(groups) - 1.5, color=INK, linewidth=0.8, alpha=0.5, linestyle=(0, (3, 3)))
    axes.set_xticks(range(len(groups)), [mode + ",\nvideo" * video for mode, video in groups])
    axes.tick_params(axis="x", labelsize=9.5, length=0)
    axes.grid(visible=False, axis="x")
    values = [row[key]["value"] for row in found["conditions"] for key in MARKS]
    low, high = min(values) / 2, max(values) * 2  # an interval may reach beyond
    axes.set(xlim=(-0.5, max(0.5, len(groups) - 0.5)), yscale="log", ylim=(low, high))
    axes.set_ylabel(f"p50 and p{found['tail']}, ms")
    plain(axes.yaxis, low, high)


def save_conditions(result: dict, path: Path) -> None:
    """Save study.png: a row per workload, a column per placement."""
    workloads = result["workloads"]
    columns = max(len(found["placements"]) for found in workloads.values())
    with png(path, (5.5 * columns, 0.9 + 3.3 * len(workloads)), dpi=130) as figure:
        grid = figure.subplots(len(workloads), columns, squeeze=False)
        for found, row in zip(workloads.values(), grid, strict=True):
            for axes in row[len(found["placements"]) :]:
                axes.set_axis_off()
            for (placement, about), axes in zip(found["placements"].items(), row, strict=False):
                draw_conditions(axes, found, placement, "white")
                title = f"{found['subject']}, {found['rate']:g}/s, preprocessed by {about['words']}"
                axes.set_title(literal(title), loc="left", fontsize=11)
        marks = [axes.plot([], [], "o", color=colour, label=law)[0] for law, colour in COLOURS.items()]
        for mark, label, face in zip(MARKS.values(), ("p50", "p90, p95 or p99"), ("#777777", "white"), strict=True):
            marks += axes.plot([], [], mark, color="#777777", markerfacecolor=face, label=label)
        figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), frameon=False, columnspacing=1.2)
        figure.supxlabel("every condition at the same mean rate; lines: 95 % intervals, over rounds", fontsize=9)
