"""Plots of a capacity search: the probes' latency against offered load, and p99 under bursts."""

from collections.abc import Sequence

from markupsafe import Markup

from crossover.experiments.burst_shapes import bursts
from crossover.report.format import label_arms
from crossover.report.plots import INK, PAPER, WIDTH, draw_svg, literal, look, plain

SHARES = (":", "--", "-")  # of loads, from the lowest up


def load(found: dict, label: str) -> Markup:
    """Plot a mark per probe: the percentile held to the SLO, in ms, against offered load in requests per second.

    `found` is a workload of capacity.json, `label` the description of the plot for those who cannot see it.
    """
    return draw_svg(draw_load, label, (WIDTH, 3.7), found=found)


def draw_load(axes, found: dict) -> None:
    """Draw the probes of each arm, hollow where INVALID, a line for the SLO, and each capacity with its interval."""
    placements, limit = found["placements"], found["slo_ms"]
    known = [probe for probe in found["probes"] if probe["ms"]]
    for arm, label in label_arms(probe["arm"] for probe in known).items():
        colour, named = look(arm, placements)["color"], False
        for valid in (True, False):
            of_arm = [probe for probe in known if (probe["arm"], probe["valid"]) == (arm, valid)]
            if not of_arm:
                continue
            marks = {"marker": "o", "markersize": 4.5, "markerfacecolor": colour if valid else PAPER}
            rates, values = [probe["rate"] for probe in of_arm], [probe["ms"] for probe in of_arm]
            axes.plot(rates, values, color=colour, linestyle="", label=None if named else literal(label), **marks)
            named = True
    axes.axhline(limit, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    text = f"p{found['percentile']:g} limit {limit:g} ms"
    axes.text(0.01, limit, text, va="bottom", transform=axes.get_yaxis_transform())
    for each in found["capacity"]:
        colour = look(each["arm"], placements)["color"]
        if each["low"]:
            axes.axvspan(each["low"], each["high"], color=colour, alpha=0.15, linewidth=0)
        if each["rate"]:
            axes.axvline(each["rate"], color=colour, linewidth=1, alpha=0.7)
    ylabel = f"p{found['percentile']:g} of a probe, ms"
    axes.set(xscale="log", yscale="log", xlabel="offered load, requests per second", ylabel=ylabel)
    if known:
        rates, values = [[probe[key] for probe in known] for key in ("rate", "ms")]
        plain(axes.xaxis, min(rates), max(rates))
        plain(axes.yaxis, min(*values, limit), max(*values, limit))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


def burstiness(rows: Sequence[dict], placements: Sequence[str], label: str) -> Markup:
    """Plot p99 in ms in every shape of the same mean load, a line per arm and load.

    `rows` are those of `burstiness` in capacity.json.
    """
    return draw_svg(draw_burstiness, label, (WIDTH, 3.7), rows=rows, placements=placements)


def draw_burstiness(axes, rows: Sequence[dict], placements: Sequence[str]) -> None:
    """Draw a mark per arm, load and shape.

    Dashes tell the shares of the capacity apart; cameras, no point of a scale, have squares.
    """
    names, loads = list(bursts()), sorted({row["load"] for row in rows})
    spaced = [name for name in names if name.startswith("cv")]
    labels = label_arms(row["arm"] for row in rows)
    for arm, share in dict.fromkeys((row["arm"], row["load"]) for row in rows):
        by_shape = {row["arrivals"]: row for row in rows if (row["arm"], row["load"]) == (arm, share) and row["p99"]}
        colour, dashes = look(arm, placements)["color"], SHARES[-len(loads) :][loads.index(share) % len(SHARES)]
        line = [name for name in spaced if name in by_shape]
        label, x = f"{literal(labels[arm])}, {share:g}", [names.index(name) for name in line]
        values = [by_shape[name]["p99"] for name in line]
        axes.plot(x, values, color=colour, linestyle=dashes, linewidth=1.6, label=label)
        for name, row in by_shape.items():
            face, mark = (colour if row["valid"] else PAPER), "o" if name in spaced else "s"
            style = {"color": colour, "marker": mark, "markersize": 4.5, "markerfacecolor": face}
            axes.plot([names.index(name)], [row["p99"]], linestyle="", **style)
    axes.set_xticks(range(len(names)), names)
    axes.set(yscale="log", ylabel="p99, ms", xlabel="shape of the arrivals, at the same mean load")
    if values := [row["p99"] for row in rows if row["p99"]]:
        plain(axes.yaxis, min(values), max(values))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
