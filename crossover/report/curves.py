"""The plots of the longer experiments: latency against load and bursts, a sweep's ratios, the study's conditions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from common import atomic_write
from crossover.analysis.wording import SUBJECTS
from crossover.experiments.burst_shapes import bursts
from crossover.experiments.client_modes.conditions import LAWS, VIDEO
from crossover.report.plots import (
    CLIENT,
    INK,
    PAPER,
    POISSON,
    RANDOM,
    SERVER,
    UNIFORM,
    WIDTH,
    drawn,
    limits,
    literal,
    look,
    plain,
    reference,
    short,
)
from loadgen.arm import PLACEMENTS

COLOURS = dict(zip(LAWS, (UNIFORM, POISSON, RANDOM, INK), strict=True))
MARKS = {"p50": "o", "tail": "^"}
SHARES = (":", "--", "-")  # of loads, from the lowest up


# Load -----------------------------------------------------------------------------------------------------------


def load(found: dict, said: str) -> str:
    """Latency against offered load, p99 and, thinner, p50; from a workload of capacity.json."""
    return drawn(draw_load, said, (WIDTH, 3.7), curve=found["curve"], capacities=found["capacity"])


def draw_load(axes, curve: Sequence[dict], capacities: Sequence[dict]) -> None:
    for arm in dict.fromkeys(point["arm"] for point in curve):
        points = sorted((point for point in curve if point["arm"] == arm), key=lambda point: point["rate"])
        for key, width, alpha in (("p99", 1.8, 1), ("p50", 1, 0.75)):
            known = [point for point in points if point[key] is not None]
            rates, values = [point["rate"] for point in known], [point[key] for point in known]
            label = f"{literal(short(arm))}, {key}"
            axes.plot(rates, values, linewidth=width, alpha=alpha, label=label, **look(arm))
            for point in known:
                face = look(arm)["color"] if point["valid"] else PAPER
                marks = {"marker": "o", "markersize": 3 + width, "markerfacecolor": face, "alpha": 1}
                axes.plot([point["rate"]], [point[key]], color=look(arm)["color"], linestyle="", **marks)
    values = [point[key] for point in curve for key in ("p50", "p99") if point[key]]
    kept = dict.fromkeys((each["slo_ms"], each["percentile"]) for each in capacities)
    for limit, percentile in kept:
        axes.axhline(limit, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        told = f"p{percentile:g} limit {limit:g} ms"
        axes.text(0.01, limit, told, va="bottom", transform=axes.get_yaxis_transform())
    for each in capacities:
        if each["rate"]:
            axes.axvline(each["rate"], color=look(each["arm"])["color"], linewidth=1, alpha=0.7)
    axes.set(yscale="log", xlabel="offered load, requests per second", ylabel="latency, ms")
    if values:
        plain(axes.yaxis, min(values), max(*values, *(limit for limit, _ in kept)))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


def burstiness(rows: Sequence[dict], said: str) -> str:
    """p99 in every shape of the same mean load, a line per arm and load."""
    return drawn(draw_burstiness, said, (WIDTH, 3.7), rows=rows)


def draw_burstiness(axes, rows: Sequence[dict]) -> None:
    names, loads = list(bursts()), sorted({row["load"] for row in rows})
    spaced = [name for name in names if name.startswith("cv")]
    for arm, share in dict.fromkeys((row["arm"], row["load"]) for row in rows):
        own = {row["arrivals"]: row for row in rows if (row["arm"], row["load"]) == (arm, share) and row["p99"]}
        colour, dashes = look(arm)["color"], SHARES[-len(loads) :][loads.index(share) % len(SHARES)]
        line = [name for name in spaced if name in own]
        label, x = f"{literal(short(arm))}, {share:g}", [names.index(name) for name in line]
        axes.plot(x, [own[name]["p99"] for name in line], color=colour, linestyle=dashes, linewidth=1.6, label=label)
        for name, row in own.items():
            face, mark = (colour if row["valid"] else PAPER), "o" if name in spaced else "s"
            style = {"color": colour, "marker": mark, "markersize": 4.5, "markerfacecolor": face}
            axes.plot([names.index(name)], [row["p99"]], linestyle="", **style)
    axes.set_xticks(range(len(names)), names)
    axes.set(yscale="log", ylabel="p99, ms", xlabel="shape of the arrivals, at the same mean load")
    if values := [row["p99"] for row in rows if row["p99"]]:
        plain(axes.yaxis, min(values), max(values))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


# Sweeps ---------------------------------------------------------------------------------------------------------


def crossover(entry: dict, said: str) -> str:
    """The ratio along a sweep; from an entry of crossover.json."""
    return drawn(draw_crossover, said, (WIDTH, 3.4), entry=entry)


def draw_crossover(axes, entry: dict, paper: str = PAPER) -> None:
    """Of medians, or of what the crossing is by; points without an interval are hollow; where a limit of the crossing
    is open, the shade goes to the edge."""
    by = entry["crossing"]["by"] if entry["crossing"] else "p50"
    points = [{"x": point["x"], **(point if by == "p50" else point[by])} for point in entry["points"]]
    points.sort(key=lambda point: point["x"])
    x, ratio = ([point[key] for point in points] for key in ("x", "ratio"))
    low, high = limits(points)
    reference(axes.axhspan, axes.axhline, None)
    axes.plot(x, ratio, color=INK, linewidth=1, alpha=0.6)
    for point in points:
        known, colour = None not in (point["low"], point["high"]), CLIENT if point["ratio"] > 1 else SERVER
        if known:
            axes.vlines(point["x"], point["low"], point["high"], color=INK, linewidth=1.4)
        face = colour if known else paper
        axes.plot([point["x"]], [point["ratio"]], "o", color=colour, markersize=5.5, markerfacecolor=face, zorder=3)
    axes.set(yscale="log", ylim=(low, high), xlabel=literal(f"{entry['sweep']}, {entry['unit']}"))
    axes.set(ylabel=f"server ÷ client, {by}")
    if min(x) > 0 and max(x) / min(x) > 8:
        axes.set_xscale("log")
        plain(axes.xaxis, min(x), max(x))
    else:
        axes.set_xticks(x if len(x) < 6 else axes.get_xticks())
    plain(axes.yaxis, low, high)
    if crossing := entry["crossing"]:
        edges = axes.get_xlim()
        axes.axvline(crossing["x"], color=INK, linewidth=1.2, linestyle="--")
        axes.axvspan(crossing["low"] or edges[0], crossing["high"] or edges[1], color=INK, alpha=0.09, linewidth=0)
        axes.set_xlim(edges)
    left, right = (0.01, "left"), (0.99, "right")
    top, bottom = (left, right) if ratio[-1] > ratio[0] else (right, left)  # where the points are not
    for text, (x, side), y, where, colour in (
        ("client ahead", top, 0.98, "top", CLIENT),
        ("server ahead", bottom, 0.02, "bottom", SERVER),
    ):
        box = {"facecolor": paper, "edgecolor": "none", "pad": 1.5}
        axes.text(x, y, text, color=colour, ha=side, va=where, transform=axes.transAxes, bbox=box)


def sweep(entry: dict, path: Path) -> None:
    """The same as a file."""
    with rc_context(PLAIN_PAPER):
        figure = Figure((6, 3.6), layout="constrained", dpi=150)
        axes = figure.subplots()
        draw_crossover(axes, entry, "white")
        axes.set_title(f"{entry['workload']}: {entry['regime']}", fontsize=9)
        with atomic_write.replace_file(path) as unfinished:
            figure.savefig(unfinished, format="png")


# Conditions -----------------------------------------------------------------------------------------------------


def conditions(found: dict, placement: str, said: str) -> str:
    """p50 and tail of every client under every law; from a workload of study.json."""
    return drawn(draw_conditions, said, (WIDTH, 3.7), found=found, placement=placement)


def draw_conditions(axes, found: dict, placement: str, paper: str = PAPER) -> None:
    """A place on the axis per client, and one for the cameras; the axis of latency suits both placements."""
    own = [row for row in found["conditions"] if row["placement"] == placement]
    groups = list(dict.fromkeys((row["client"], row["arrivals"] in VIDEO) for row in own))
    for place, group in enumerate(groups):
        rows = [row for row in own if (row["client"], row["arrivals"] in VIDEO) == group]
        for row, aside in zip(rows, np.linspace(-0.18, 0.18, len(rows)) if len(rows) > 1 else (0,), strict=True):
            colour, x = COLOURS[row["arrivals"]], place + aside
            for (key, mark), beside in zip(MARKS.items(), (-0.04, 0.04), strict=True):
                value, low, high = row[key]["value"], row[key]["low"], row[key]["high"]
                if low is not None and high is not None:
                    axes.vlines(x + beside, low, high, color=colour, linewidth=1.2)
                face = colour if key == "p50" else paper
                axes.plot([x + beside], [value], mark, color=colour, markersize=6, markerfacecolor=face)
    if groups and groups[-1][1] and len(groups) > 1:
        axes.axvline(len(groups) - 1.5, color=INK, linewidth=0.8, alpha=0.5, linestyle=(0, (3, 3)))
    axes.set_xticks(range(len(groups)), [client + ",\nvideo" * video for client, video in groups])
    axes.tick_params(axis="x", labelsize=9.5, length=0)
    axes.grid(visible=False, axis="x")
    values = [row[key]["value"] for row in found["conditions"] for key in MARKS]
    low, high = min(values) / 2, max(values) * 2  # an interval may reach beyond
    axes.set(xlim=(-0.5, max(0.5, len(groups) - 0.5)), yscale="log", ylim=(low, high))
    axes.set_ylabel(f"p50 and p{found['tail']}, ms")
    plain(axes.yaxis, low, high)


def study(result: dict, path: Path) -> None:
    """study.png: a row per workload, a column per placement."""
    workloads = result["workloads"]
    with rc_context(PLAIN_PAPER):
        figure = Figure((11, 0.9 + 3.3 * len(workloads)), layout="constrained")
        grid = figure.subplots(len(workloads), 2, squeeze=False)
        for (name, found), row in zip(workloads.items(), grid, strict=True):
            for placement, axes in zip(PLACEMENTS, row, strict=True):
                draw_conditions(axes, found, placement, "white")
                title = f"{SUBJECTS[name]}, {found['rate']:g}/s, preprocessed by the {placement}"
                axes.set_title(title, loc="left", fontsize=11)
        marks = [axes.plot([], [], "o", color=colour, label=law)[0] for law, colour in COLOURS.items()]
        for mark, label, face in zip(MARKS.values(), ("p50", "p90, p95 or p99"), ("#777777", "white"), strict=True):
            marks += axes.plot([], [], mark, color="#777777", markerfacecolor=face, label=label)
        figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), frameon=False, columnspacing=1.2)
        figure.supxlabel("every condition at the same mean rate; lines: 95 % intervals, over rounds", fontsize=9)
        with atomic_write.replace_file(path) as unfinished:
            figure.savefig(unfinished, dpi=130, format="png")


PLAIN_PAPER = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
}
