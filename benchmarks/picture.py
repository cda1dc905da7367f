"""Draws README's picture, docs/compare.png, from a run of `make bench`, and prints README's table.

    python -m benchmarks.picture reports/20261126-223310    # take its figures over into docs/compare.json, and draw
    python -m benchmarks.picture                            # draw docs/compare.json again

The figures are those of the run's summary.json. The plots are those of the report: the ratios with their intervals, and
where the mean latency goes. A test holds picture and table to what the code makes of docs/compare.json.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from matplotlib import colors
from matplotlib.layout_engine import ConstrainedLayoutEngine

from common import atomic_write
from crossover.analysis.comparison import folds
from crossover.experiments.compare import tables
from crossover.experiments.compare.plots import draw_interval, draw_scale, draw_stages
from crossover.report.plots import CLIENT, INK, LINE, PAPER, SERVER, WIRE, limits, png
from serving import ROOT

FIGURES, PICTURE = ROOT / "docs" / "compare.json", ROOT / "docs" / "compare.png"
SIZE, DPI = (9.6, 5.4), 150
LIGHT = {INK: "#1b1f24", LINE: "#c9d0d6", WIRE: "#98a1ab", PAPER: "#ffffff", CLIENT: "#0072b2", SERVER: "#c85400"}
"""The light colours of the report's style.css, which its plots name by placeholders."""
STAGES = "mean latency: client blue, server orange, hatched is waiting"


def extract_figures(summary: Mapping) -> dict:
    """Return what README shows of a summary.json: workload -> its ratios, its verdict, and the stages of its arms."""
    return {
        name: {
            **{key: found[key] for key in ("subject", "comparisons", "sentence", "remarks")},
            "arms": [{"arm": arm["arm"], "stages": arm["stages"]} for arm in found["arms"]],
        }
        for name, found in summary["workloads"].items()
    }


def write_words(found: Mapping) -> str:
    """Return what `make bench` prints of a workload: the table, the verdict, and what belongs to it."""
    return "\n".join([tables.comparison_table(found["comparisons"]), "", found["sentence"], *found["remarks"]])


def draw(figures: Mapping, path: Path) -> None:
    """Draw a line of plots for each workload: its ratios on the left, the stages of its arms on the right."""
    with png(path, SIZE, DPI) as whole:
        layout = whole.get_layout_engine()
        assert isinstance(layout, ConstrainedLayoutEngine)
        layout.set(h_pad=0.015, hspace=0)
        for part, found in zip(whole.subfigures(len(figures), 1, squeeze=False)[:, 0], figures.values(), strict=True):
            rows = [row for row in found["comparisons"] if not folds(row)]
            first, second = rows[0]["names"]
            part.suptitle(f"{found['subject']}: {second} ÷ {first}", x=0.01, ha="left", fontsize=10.5, weight="bold")
            ratios, stages = part.subfigures(1, 2, width_ratios=(1.25, 1))
            draw_ratios(ratios, rows)
            stages.suptitle(STAGES, fontsize=9)
            axes = stages.subplots()
            arms = found["arms"]
            draw_stages(axes, arms, max((list(arm["stages"]) for arm in arms), key=len))
        repaint(whole)


def draw_ratios(part, rows: list[dict]) -> None:
    """Draw a row for each metric, all on one scale: its name, the ratio with its interval, and the verdict."""
    ends = limits(rows)
    places = part.subplots(len(rows) + 1, 1, height_ratios=[*[1] * len(rows), 0.5])
    for axes, row in zip(places, rows, strict=False):
        draw_interval(axes, row, ends)
        axes.text(-0.03, 0.5, row["metric"], transform=axes.transAxes, ha="right", va="center", fontsize=9)
        words = f"{row['ratio']:.3g}  {row['verdict']}"
        axes.text(1.03, 0.5, words, transform=axes.transAxes, ha="left", va="center", fontsize=9)
    draw_scale(places[-1], ends)


def repaint(figure) -> None:
    """Replace the placeholders, which a page fills in by CSS, by colours for white paper."""
    for artist in figure.findobj():
        for part in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            if (read := getattr(artist, f"get_{part}", None)) and (write := getattr(artist, f"set_{part}", None)):
                repaint_part(read(), write)


def repaint_part(now, write) -> None:
    """Call `write` with the colour that stands for `now`, if `now` is one placeholder; keep how much of it there is."""
    try:
        alpha = colors.to_rgba_array(now)[0, 3]
        name = colors.to_hex(colors.to_rgba_array(now)[0])
    except (ValueError, TypeError, IndexError):  # several colours, or none
        return
    if name in LIGHT and alpha:
        write(colors.to_rgba(LIGHT[name], alpha))


def main() -> int:
    """Run `python -m benchmarks.picture`. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture", description="Draw README's picture.")
    parser.add_argument("directory", type=Path, nargs="?", help="of a run of `make bench`; without: docs/compare.json")
    options = parser.parse_args()
    try:
        if options.directory:
            summary = json.loads((options.directory / "summary.json").read_text())
            atomic_write.write(FIGURES, json.dumps(extract_figures(summary), indent=1) + "\n")
        figures = json.loads(FIGURES.read_text())
        draw(figures, PICTURE)
        print("\n\n".join(write_words(found) for found in figures.values()))
    except (OSError, ValueError, KeyError) as error:
        print(f"no picture was drawn: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
