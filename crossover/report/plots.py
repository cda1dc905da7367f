"""The report's plots: SVG without a size or a background, whose colours are CSS variables of the page it stands in.

The client is always blue and the server always orange (Okabe and Ito's palette: told apart by the colour-blind, too);
the client modes differ in their dashes.
"""

import re
from collections.abc import Callable, Sequence
from html import escape
from io import StringIO

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from crossover.analysis.latency_breakdown import CLIENT_STAGES, UNEXPLAINED
from crossover.measurement.trial import Block

CLIENT, SERVER, INK, LINE, WIRE, PAPER = "#0072b2", "#d55e00", "#010101", "#020202", "#030303", "#040404"
UNIFORM, POISSON, RANDOM = "#009e73", "#8e44ad", "#e69f00"  # arrivals
VARIABLES = {CLIENT: "client", SERVER: "server", INK: "ink", LINE: "line", WIRE: "wire", PAPER: "paper"}
VARIABLES |= {UNIFORM: "uniform", POISSON: "poisson", RANDOM: "random"}
PLACEMENTS = {"client": CLIENT, "server": SERVER}
DASHES = {"async": "-", "threads": "--", "sequential": ":"}
WIDTH = 6.0
ROW, INSIDE, SCALE = (2.4, 0.28), (0.03, 0, 0.94, 1), (0.03, 0.9, 0.94, 0.1)
STYLE = {
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


def drawn(draw: Callable, said: str, size: tuple[float, float], frame: tuple | None = None, **options) -> str:
    """An SVG element of what `draw` does with axes; `said` describes it. Its size in inches only sets its proportions.

    `frame` is where in it the axes lie; without one, they leave room for what is around them.
    """
    with rc_context({**STYLE, "svg.hashsalt": said}):
        figure = Figure(size, layout=None if frame else "constrained")
        draw(figure.add_axes(frame) if frame else figure.subplots(), **options)
        written = StringIO()
        figure.savefig(written, format="svg")
    return inline(written.getvalue(), said)


def inline(svg: str, said: str) -> str:
    """Of a file of matplotlib's what may stand in a page beside others: no prologue, sizes, styles or names."""
    box = re.search(r'viewBox="([\d. ]+)"', svg)[1]
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<(metadata|style).*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
    for colour, name in VARIABLES.items():
        body = body.replace(colour, f"var(--{name})")
    body = re.sub(r"\n\s*", "\n", body)
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(said)}">{body}'


def short(arm: str) -> str:
    """`image client async:1` without its workload."""
    return arm.partition(" ")[2] or arm


def look(arm: str) -> dict:
    """Colour and dashes of an arm's line."""
    placement, mode, *control = [*short(arm).split(" "), ""]
    dashes = "-." if any(control) else DASHES.get(mode.partition(":")[0], "-.")
    return {"color": PLACEMENTS.get(placement, INK), "linestyle": dashes}


def literal(text: str) -> str:
    """No mathematics between dollars."""
    return text.replace("$", r"\$")


def plain(axis, low: float, high: float) -> None:
    """Plain numbers on a logarithmic axis: as few powers of ten and parts of them as make four, else even steps."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for parts in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [tick for tick in np.outer(decades, parts).ravel() if low <= tick <= high]
        if len(ticks) >= 4:
            break
    else:
        ticks = [tick for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]
    axis.set_ticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


# Latency --------------------------------------------------------------------------------------------------------


def latency(blocks: Sequence[Block], said: str) -> str:
    """Distribution of each arm's latency over its blocks."""
    return drawn(draw_latency, said, (WIDTH, 3.7), blocks=blocks)


def draw_latency(axes, blocks: Sequence[Block]) -> None:
    shares, most, ends = 1 - np.logspace(0, -3, 181), 0, []
    arms = list(dict.fromkeys(block.arm for block in blocks))
    for arm in arms:
        each = [block.latency for block in blocks if block.arm == arm and block.completed]
        if not each:
            continue
        fewest = min(map(len, each))
        within = shares[shares <= 1 - 1 / fewest]
        apart, pooled = np.array([np.quantile(times, within) for times in each]), np.concatenate(each)
        known = shares[shares <= 1 - 1 / len(pooled)]
        low, high = apart.min(0), apart.max(0)
        alpha = 0.32 / max(2, len(arms))
        axes.fill_betweenx(within, low, high, color=look(arm)["color"], alpha=alpha, linewidth=0)
        axes.plot(np.quantile(pooled, known), known, label=literal(short(arm)), linewidth=1.8, **look(arm))
        ends, most = [*ends, low.min(), pooled.max()], max(most, len(pooled))
    stretched(axes.set_yscale)
    axes.set_yticks([0, 0.5, 0.9, 0.99, 0.999], ["0 %", "50 %", "90 %", "99 %", "99.9 %"])
    axes.set_ylim(0, 0.999 if most >= 1000 else 0.99)
    axes.set(xscale="log", xlabel="latency from the due time, ms", ylabel="answered within")
    if ends:
        plain(axes.xaxis, min(ends), max(ends))
        axes.legend(loc="upper left", borderaxespad=0.2)


def stretched(set_scale: Callable) -> None:
    """A scale for shares on which 90, 99 and 99.9 % are equally far apart."""

    def forward(share):
        return -np.log10(np.maximum(1 - np.asarray(share), 1e-9))

    set_scale("function", functions=(forward, lambda value: 1 - 10 ** -np.asarray(value)))


# Stages ---------------------------------------------------------------------------------------------------------


CLIENT_SHADES = dict(zip(CLIENT_STAGES, (0.3, 0.45, 1, 0.65), strict=True))
STEP_SHADES = (1, 0.55, 0.3)


def paints(stages: Sequence[str]) -> dict[str, dict]:
    """Stage -> its colour's name, how much of it, and whether it is hatched: blue in the client, orange in the server.

    A step of the server has a shade; waiting for it is the same, hatched.
    """
    steps = list(dict.fromkeys(name.rpartition(" ")[0] for name in stages if name.endswith((" queue", " compute"))))
    result = {}
    for name in stages:
        step, _, kind = name.rpartition(" ")
        if name in CLIENT_SHADES:
            paint = "client", CLIENT_SHADES[name], False
        elif step in steps:
            paint = "server", STEP_SHADES[steps.index(step) % len(STEP_SHADES)], kind == "queue"
        else:
            paint = "wire", 1, name == UNEXPLAINED
        result[name] = dict(zip(("colour", "alpha", "hatched"), paint, strict=True))
    return result


def stages(arms: Sequence[dict], names: Sequence[str], said: str) -> str:
    return drawn(draw_stages, said, (WIDTH, 0.75 + 0.42 * len(arms)), arms=arms, names=names)


def draw_stages(axes, arms: Sequence[dict], names: Sequence[str]) -> None:
    colours = {name: colour for colour, name in VARIABLES.items()}
    places = np.arange(len(arms))
    left = np.zeros(len(arms))
    whole = [sum(max(0, ms) for ms in arm["stages"].values()) for arm in arms]
    axes.barh(places, whole, 0.62, color=PAPER, linewidth=0)  # no grid behind what is translucent
    for name, paint in paints(names).items():
        widths = np.array([max(0, arm["stages"].get(name) or 0) for arm in arms])
        colour, alpha = colours[paint["colour"]], paint["alpha"]
        filled = {"color": "none", "edgecolor": colour, "hatch": "/////"} if paint["hatched"] else {"color": colour}
        axes.barh(places, widths, 0.62, left, linewidth=0, alpha=alpha, **filled)
        left += widths
    axes.set_yticks(places, [literal(short(arm["arm"])) for arm in arms])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="mean ms per request")


# Ratios ---------------------------------------------------------------------------------------------------------


def limits(ratios: Sequence[dict]) -> tuple[float, float]:
    """Of an axis that holds these ratios with their intervals, 1, and the band of what counts as equal."""
    known = [each[key] for each in ratios for key in ("ratio", "low", "high") if each.get(key)]
    aside = 1 + max([0.05, *(each.get("margin") or 0 for each in ratios)])
    return min([*known, 1 / aside]) / 1.06, max([*known, aside]) * 1.06


def interval(compared: dict, ends: tuple[float, float], said: str) -> str:
    """A row of a forest plot: the ratio, and its interval if there is one."""
    return drawn(draw_interval, said, ROW, INSIDE, compared=compared, ends=ends)


def draw_interval(axes, compared: dict, ends: tuple[float, float]) -> None:
    bare(axes, ends)
    reference(axes.axvspan, axes.axvline, compared.get("margin"))
    axes.set_axis_off()
    ratio, low, high = (compared.get(key) for key in ("ratio", "low", "high"))
    known = low is not None and high is not None
    if known:
        axes.plot([low, high], [0, 0], color=INK, linewidth=1.6, solid_capstyle="butt")
        axes.plot([low, high], [0, 0], color=INK, linestyle="", marker="|", markersize=7)
    face = INK if known else PAPER
    axes.plot([ratio], [0], color=INK, linestyle="", marker="o", markersize=5.5, markerfacecolor=face)


def scale(ends: tuple[float, float], said: str) -> str:
    """The axis under the rows."""
    return drawn(draw_scale, said, ROW, SCALE, ends=ends)


def draw_scale(axes, ends: tuple[float, float]) -> None:
    bare(axes, ends)
    axes.tick_params(labelsize=7.5, length=2, pad=2)
    axes.spines["left"].set_visible(False)


def bare(axes, ends: tuple[float, float]) -> None:
    axes.set(xscale="log", xlim=ends, ylim=(-1, 1), yticks=[])
    plain(axes.xaxis, *ends)
    axes.grid(visible=False)


def reference(span: Callable, line: Callable, margin: float | None) -> None:
    """Where client and server are alike: exactly, and for all practical purposes."""
    if margin:
        span(1 / (1 + margin), 1 + margin, color=LINE, alpha=0.45, linewidth=0)
    line(1, color=INK, linewidth=0.8, alpha=0.7)
