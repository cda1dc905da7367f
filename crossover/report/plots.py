"""The report's plots: SVG without a size or a background, whose colours are CSS variables of the page it stands in.

The first placement, the baseline, is always blue and the second always orange (Okabe and Ito's palette: told apart by
the colour-blind, too); others follow. The client modes differ in their dashes. Where a bar shows what a request
passes, blue is the client's part and orange the server's.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from io import StringIO
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from common import atomic_write

CLIENT, SERVER, INK, LINE, WIRE, PAPER = "#0072b2", "#d55e00", "#010101", "#020202", "#030303", "#040404"
UNIFORM, POISSON, RANDOM = "#009e73", "#8e44ad", "#e69f00"  # arrivals
VARIABLES = {CLIENT: "client", SERVER: "server", INK: "ink", LINE: "line", WIRE: "wire", PAPER: "paper"}
VARIABLES |= {UNIFORM: "uniform", POISSON: "poisson", RANDOM: "random"}
BASELINE, CANDIDATE, THIRD, FOURTH = "#0072b3", "#d55e01", "#009e74", "#cc79a7"
VARIABLES |= {BASELINE: "baseline", CANDIDATE: "candidate", THIRD: "third", FOURTH: "fourth"}
PLACES = (BASELINE, CANDIDATE, THIRD, FOURTH)  # of placements, in the order of their workload
DASHES = {"async": "-", "threads": "--", "sequential": ":"}
WIDTH = 6.0
STYLE: dict = {
    "svg.fonttype": "none",
    "font.size": 11.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "hatch.linewidth": 1.2,
}
WHITE_PAPER: dict = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
}
"""The style of plots that are files of their own."""


def draw_svg(draw: Callable, label: str, size: tuple[float, float], frame: tuple | None = None, **options) -> Markup:
    """Return what `draw(axes, **options)` draws as an SVG element; `label` describes it to those who cannot see it.

    `size`, in inches, only sets the proportions. `frame` places the axes (left, bottom, width, height, as shares);
    without one they leave room for their labels. matplotlib escapes the texts in it, so it is safe markup.
    """
    with rc_context({**STYLE, "svg.hashsalt": label}):
        figure = Figure(size, layout=None if frame else "constrained")
        draw(figure.add_axes(frame) if frame else figure.subplots(), **options)
        written = StringIO()
        figure.savefig(written, format="svg")
    return Markup(embeddable(written.getvalue(), label))


def embeddable(svg: str, label: str) -> str:
    """Strip what may not stand twice in a page off an SVG file of matplotlib: prologue, sizes, styles, names."""
    if not (found := re.search(r'viewBox="([\d. ]+)"', svg)):
        raise ValueError("matplotlib's SVG has no viewBox")
    box = found[1]
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<(metadata|style).*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
    for colour, name in VARIABLES.items():
        body = body.replace(colour, f"var(--{name})")
    body = re.sub(r"\n\s*", "\n", body)
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(label)}">{body}'


@contextmanager
def png(path: Path, size: tuple[float, float], dpi: int) -> Iterator[Figure]:
    """Yield a figure of `size` inches on white paper, and save it as `path` when the body has drawn it."""
    with rc_context(WHITE_PAPER):
        figure = Figure(size, layout="constrained", dpi=dpi)
        yield figure
        with atomic_write.replace_file(path) as unfinished:
            figure.savefig(unfinished, format="png")


def short(arm: str) -> str:
    """Return an arm's name without its workload: `client async:1` for `image client async:1`."""
    return arm.partition(" ")[2] or arm


def look(arm: str, placements: Sequence[str]) -> dict:
    """Return the colour (by placement) and the dashes (by client mode) of an arm's line, as matplotlib's keywords.

    A control has dashes of its own. `arm` is its name, with or without the workload; `placements` are those of its
    workload, the baseline first.
    """
    placement, mode, *control = [*short(arm).split(" "), ""]
    dashes = "-." if any(control) else DASHES.get(mode.partition(":")[0], "-.")
    places = list(placements)
    colour = PLACES[places.index(placement) % len(PLACES)] if placement in places else INK
    return {"color": colour, "linestyle": dashes}


def literal(text: str) -> str:
    """Escape dollars, between which matplotlib would read mathematics."""
    return text.replace("$", r"\$")


def plain(axis, low: float, high: float) -> None:
    """Label a logarithmic axis from `low` to `high` with plain numbers.

    It takes the fewest parts of powers of ten that make four ticks or more, else even steps.
    """
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for parts in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [tick for tick in np.outer(decades, parts).ravel() if low <= tick <= high]
        if len(ticks) >= 4:
            break
    else:
        ticks = [tick for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]
    axis.set_ticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def limits(ratios: Sequence[dict]) -> tuple[float, float]:
    """Return the ends of an axis that holds these ratios with their intervals, 1, and the band of equal ratios."""
    known = [each[key] for each in ratios for key in ("ratio", "low", "high") if each.get(key)]
    aside = 1 + max([0.05, *(each.get("margin") or 0 for each in ratios)])
    return min([*known, 1 / aside]) / 1.06, max([*known, aside]) * 1.06


def reference(span: Callable, line: Callable, margin: float | None) -> None:
    """Draw where two arms are equal: a line at 1, and a band within `margin`, where they count as equal.

    `span` and `line` are the methods of the axes for that, across or upright.
    """
    if margin:
        span(1 / (1 + margin), 1 + margin, color=LINE, alpha=0.45, linewidth=0)
    line(1, color=INK, linewidth=0.8, alpha=0.7)
