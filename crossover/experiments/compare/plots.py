"""Plots of a comparison: latency distributions, mean latency by stage, and the rows of a forest plot."""

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup

from crossover.analysis.latency_breakdown import CLIENT_STAGES, UNEXPLAINED
from crossover.measurement.trial import Trial
from crossover.report.format import label_arms
from crossover.report.plots import INK, PAPER, VARIABLES, WIDTH, draw_svg, literal, look, plain, reference

ROW, INSIDE, SCALE = (2.4, 0.28), (0.03, 0, 0.94, 1), (0.03, 0.9, 0.94, 0.1)


def latency(trials: Sequence[Trial], placements: Sequence[str], label: str) -> Markup:
    """Draw the distribution of each arm's latency, in ms from the due time."""
    return draw_svg(draw_latency, label, (WIDTH, 3.7), trials=trials, placements=placements)


def draw_latency(axes, trials: Sequence[Trial], placements: Sequence[str]) -> None:
    """Draw a line per arm over all its trials, and a band from the lowest to the highest of them.

    The line ends at the share that its requests still bear out: 1 - 1 / requests.
    """
    shares, most = 1 - np.logspace(0, -3, 181), 0
    ends: list[float] = []
    arms = label_arms(trial.arm for trial in trials)
    for arm, label in arms.items():
        each = [trial.latency for trial in trials if trial.arm == arm and trial.completed]
        if not each:
            continue
        fewest = min(map(len, each))
        within = shares[shares <= 1 - 1 / fewest]
        apart, pooled = np.array([np.quantile(times, within) for times in each]), np.concatenate(each)
        known = shares[shares <= 1 - 1 / len(pooled)]
        low, high = apart.min(0), apart.max(0)
        alpha = 0.32 / max(2, len(arms))
        axes.fill_betweenx(within, low, high, color=look(arm, placements)["color"], alpha=alpha, linewidth=0)
        axes.plot(np.quantile(pooled, known), known, label=literal(label), linewidth=1.8, **look(arm, placements))
        ends, most = [*ends, low.min(), pooled.max()], max(most, len(pooled))
    stretch(axes.set_yscale)
    axes.set_yticks([0, 0.5, 0.9, 0.99, 0.999], ["0 %", "50 %", "90 %", "99 %", "99.9 %"])
    axes.set_ylim(0, 0.999 if most >= 1000 else 0.99)
    axes.set(xscale="log", xlabel="latency from the due time, ms", ylabel="answered within")
    if ends:
        plain(axes.xaxis, min(ends), max(ends))
        axes.legend(loc="upper left", borderaxespad=0.2)


def stretch(set_scale: Callable) -> None:
    """Set a scale for shares on which 90, 99 and 99.9 % are equally far apart."""

    def forward(share):
        return -np.log10(np.maximum(1 - np.asarray(share), 1e-9))

    set_scale("function", functions=(forward, lambda value: 1 - 10 ** -np.asarray(value)))


# Stages ---------------------------------------------------------------------------------------------------------


CLIENT_SHADES = dict(zip(CLIENT_STAGES, (0.3, 0.45, 1, 0.65), strict=True))
STEP_SHADES = (1, 0.55, 0.3)


def choose_paints(stages: Sequence[str]) -> dict[str, dict]:
    """Return stage -> its colour's name, how much of it, and whether it is hatched.

    The client is blue, the server orange.

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


def stages(arms: Sequence[dict], names: Sequence[str], label: str) -> Markup:
    """Plot a bar per arm of summary.json: its mean latency in ms, by stage.

    `names` are the stages in their order from left to right.
    """
    return draw_svg(draw_stages, label, (WIDTH, 0.75 + 0.42 * len(arms)), arms=arms, names=names)


def draw_stages(axes, arms: Sequence[dict], names: Sequence[str]) -> None:
    """Draw the bars, stages from left to right in the order of `names`."""
    colours = {name: colour for colour, name in VARIABLES.items()}
    places = np.arange(len(arms))
    left = np.zeros(len(arms))
    totals = [sum(max(0, ms) for ms in arm["stages"].values()) for arm in arms]
    axes.barh(places, totals, 0.62, color=PAPER, linewidth=0)  # no grid behind what is translucent
    for name, paint in choose_paints(names).items():
        widths = np.array([max(0, arm["stages"].get(name) or 0) for arm in arms])
        colour, alpha = colours[paint["colour"]], paint["alpha"]
        filled = {"color": "none", "edgecolor": colour, "hatch": "/////"} if paint["hatched"] else {"color": colour}
        axes.barh(places, widths, 0.62, left, linewidth=0, alpha=alpha, **filled)
        left += widths
    axes.set_yticks(places, [literal(label) for label in label_arms(arm["arm"] for arm in arms).values()])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="mean ms per request")


# Ratios ---------------------------------------------------------------------------------------------------------


def interval(compared: dict, ends: tuple[float, float], label: str) -> Markup:
    """Plot a row of a forest plot: the ratio, and its interval if there is one.

    `compared` is an entry of `comparisons` in summary.json, `ends` are those of the axis, as ratios.
    """
    return draw_svg(draw_interval, label, ROW, INSIDE, compared=compared, ends=ends)


def draw_interval(axes, compared: dict, ends: tuple[float, float]) -> None:
    """Draw a dot for the ratio, hollow without an interval, and a line for the interval."""
    strip(axes, ends)
    reference(axes.axvspan, axes.axvline, compared.get("margin"))
    axes.set_axis_off()
    ratio, low, high = (compared.get(key) for key in ("ratio", "low", "high"))
    known = low is not None and high is not None
    if known:
        axes.plot([low, high], [0, 0], color=INK, linewidth=1.6, solid_capstyle="butt")
        axes.plot([low, high], [0, 0], color=INK, linestyle="", marker="|", markersize=7)
    face = INK if known else PAPER
    axes.plot([ratio], [0], color=INK, linestyle="", marker="o", markersize=5.5, markerfacecolor=face)


def scale(ends: tuple[float, float], label: str) -> Markup:
    """Draw the axis under the rows of a forest plot."""
    return draw_svg(draw_scale, label, ROW, SCALE, ends=ends)


def draw_scale(axes, ends: tuple[float, float]) -> None:
    """Draw nothing but the axis."""
    strip(axes, ends)
    axes.tick_params(labelsize=7.5, length=2, pad=2)
    axes.spines["left"].set_visible(False)


def strip(axes, ends: tuple[float, float]) -> None:
    """Leave a logarithmic x axis from one end to the other, and nothing else."""
    axes.set(xscale="log", xlim=ends, ylim=(-1, 1), yticks=[])
    plain(axes.xaxis, *ends)
    axes.grid(visible=False)
