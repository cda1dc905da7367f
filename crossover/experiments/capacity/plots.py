"""Plots of a capacity search: latency against offered load, and p99 under bursts."""

from collections.abc import Sequence

from markupsafe import Markup

from crossover.experiments.burst_shapes import bursts
from crossover.report.plots import INK, PAPER, WIDTH, draw_svg, literal, look, plain, short

SHARES = (":", "--", "-")  # of loads, from the lowest up


def load(found: dict, label: str) -> Markup:
    """Plot latency in ms against offered load in requests per second: p99 and, thinner, p50.

    `found` is a workload of capacity.json, `label` the description of the plot for those who cannot see it.
    """
    return draw_svg(draw_load, label, (WIDTH, 3.7), found=found)


def draw_load(axes, found: dict) -> None:
    """Draw a line per arm, hollow marks for INVALID probes, and lines for the SLO and for each arm's capacity."""
    curve, capacities, placements = found["curve"], found["capacity"], found["placements"]
    for arm in dict.fromkeys(point["arm"] for point in curve):
        points = sorted((point for point in curve if point["arm"] == arm), key=lambda point: point["rate"])
        for key, width, alpha in (("p99", 1.8, 1), ("p50", 1, 0.75)):
            known = [point for point in points if point[key] is not None]
            rates, values = [point["rate"] for point in known], [point[key] for point in known]
            label = f"{literal(short(arm))}, {key}"
            axes.plot(rates, values, linewidth=width, alpha=alpha, label=label, **look(arm, placements))
            for point in known:
                face = look(arm, placements)["color"] if point["valid"] else PAPER
                marks = {"marker": "o", "markersize": 3 + width, "markerfacecolor": face, "alpha": 1}
                axes.plot([point["rate"]], [point[key]], color=look(arm, placements)["color"], linestyle="", **marks)
    values = [point[key] for point in curve for key in ("p50", "p99") if point[key]]
    limits = dict.fromkeys((each["slo_ms"], each["percentile"]) for each in capacities)
    for limit, percentile in limits:
        axes.axhline(limit, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        text = f"p{percentile:g} limit {limit:g} ms"
        axes.text(0.01, limit, text, va="bottom", transform=axes.get_yaxis_transform())
    for each in capacities:
        if each["rate"]:
            axes.axvline(each["rate"], color=look(each["arm"], placements)["color"], linewidth=1, alpha=0.7)
    axes.set(yscale="log", xlabel="offered load, requests per second", ylabel="latency, ms")
    if values:
        plain(axes.yaxis, min(values), max(*values, *(limit for limit, _ in limits)))
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
    for arm, share in dict.fromkeys((row["arm"], row["load"]) for row in rows):
        by_shape = {row["arrivals"]: row for row in rows if (row["arm"], row["load"]) == (arm, share) and row["p99"]}
        colour, dashes = look(arm, placements)["color"], SHARES[-len(loads) :][loads.index(share) % len(SHARES)]
        line = [name for name in spaced if name in by_shape]
        label, x = f"{literal(short(arm))}, {share:g}", [names.index(name) for name in line]
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
