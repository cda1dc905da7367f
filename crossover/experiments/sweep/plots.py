"""The plot of a sweep: the ratio at each point, and where it crosses 1."""

from pathlib import Path

from markupsafe import Markup

from crossover.report.plots import (
    BASELINE,
    CANDIDATE,
    INK,
    PAPER,
    WIDTH,
    draw_svg,
    limits,
    literal,
    plain,
    png,
    reference,
)


def ratios(entry: dict, label: str) -> Markup:
    """Plot the ratio candidate / baseline along a sweep, with its intervals and the crossing.

    `entry` is one of crossover.json, `label` the description of the plot for those who cannot see it.
    """
    return draw_svg(draw_ratios, label, (WIDTH, 3.4), entry=entry)


def draw_ratios(axes, entry: dict, paper: str = PAPER) -> None:
    """Draw the ratios of the medians, or of what the crossing is by, with their intervals on a logarithmic axis.

    Points without an interval are hollow, points without a ratio left out. The shade is the crossing's interval.
    """
    by = entry["crossing"]["by"] if entry["crossing"] else "p50"
    points = [{"x": point["x"], **(point if by == "p50" else point[by])} for point in entry["points"]]
    points = sorted((point for point in points if point["ratio"] is not None), key=lambda point: point["x"])
    x, ratio = ([point[key] for point in points] for key in ("x", "ratio"))
    low, high = limits(points)
    reference(axes.axhspan, axes.axhline, None)
    axes.plot(x, ratio, color=INK, linewidth=1, alpha=0.6)
    for point in points:
        known, colour = None not in (point["low"], point["high"]), BASELINE if point["ratio"] > 1 else CANDIDATE
        if known:
            axes.vlines(point["x"], point["low"], point["high"], color=INK, linewidth=1.4)
        face = colour if known else paper
        axes.plot([point["x"]], [point["ratio"]], "o", color=colour, markersize=5.5, markerfacecolor=face, zorder=3)
    axes.set(yscale="log", ylim=(low, high), xlabel=literal(f"{entry['sweep']}, {entry['unit']}"))
    first, second = entry["placements"]
    axes.set(ylabel=literal(f"{second} ÷ {first}, {by}"))
    if min(x) > 0 and max(x) / min(x) > 8:
        axes.set_xscale("log")
        plain(axes.xaxis, min(x), max(x))
    else:
        axes.set_xticks(x if len(x) < 6 else axes.get_xticks())
    plain(axes.yaxis, low, high)
    if crossing := entry["crossing"]:
        axes.axvline(crossing["x"], color=INK, linewidth=1.2, linestyle="--")
        axes.axvspan(crossing["low"], crossing["high"], color=INK, alpha=0.09, linewidth=0)
    left, right = (0.01, "left"), (0.99, "right")
    top, bottom = (left, right) if ratio[-1] > ratio[0] else (right, left)  # where the points are not
    for text, (at, side), y, where, colour in (
        (f"{first} ahead", top, 0.98, "top", BASELINE),
        (f"{second} ahead", bottom, 0.02, "bottom", CANDIDATE),
    ):
        box = {"facecolor": paper, "edgecolor": "none", "pad": 1.5}
        axes.text(at, y, literal(text), color=colour, ha=side, va=where, transform=axes.transAxes, bbox=box)


def save_ratios(entry: dict, path: Path) -> None:
    """Save the plot of one entry of crossover.json as `path`."""
    with png(path, (6, 3.6), dpi=150) as figure:
        axes = figure.subplots()
        draw_ratios(axes, entry, "white")
        axes.set_title(f"{entry['workload']}: {entry['regime']}", fontsize=9)
