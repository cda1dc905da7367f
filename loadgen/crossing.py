"""What a sweep comes to: the ratio at each of its points, where it passes 1, and the sentence that says so."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import norm

from loadgen import blocks, bootstrap, comparison, curves, files
from loadgen.blocks import Block
from loadgen.metrics import METRICS


def crossing(x: Sequence[float], ratios: Sequence[float], resampled: np.ndarray) -> dict | None:
    """Where log(ratio), straight between the points over log(x), first passes 0, with a 95 % interval; None if nowhere.

    `resampled` are logarithms of ratios, (resamples, points). In each the crossing nearest to the estimate counts;
    where there is none it lies beyond the sweep, on the side that the winner tells, and so may a limit: that is None.
    """
    logs, own = np.log(x), np.log(ratios)
    found = roots(logs, own)
    if not found:
        return None
    at, rises = found[0]
    places = []
    for row in resampled:
        near = [place for place, _ in roots(logs, row)]
        beyond = -np.inf if (row.mean() > 0) == rises else np.inf
        places.append(min(near, key=lambda place: abs(place - at)) if near else beyond)
    limits = np.quantile(places, [0.025, 0.975], method="inverted_cdf")
    low, high = (float(np.exp(limit)) if np.isfinite(limit) else None for limit in limits)
    return {"x": float(np.exp(at)), "low": low, "high": high}


def roots(x: np.ndarray, y: np.ndarray) -> list[tuple[float, bool]]:
    """(where the line through these points passes 0, whether upwards), in order."""
    found = []
    for i in range(len(x) - 1):
        if (y[i] > 0) != (y[i + 1] > 0):
            found.append((float(x[i] + (x[i + 1] - x[i]) * y[i] / (y[i] - y[i + 1])), bool(y[i + 1] > 0)))
    return found


def says(entry: dict) -> str:
    """One sentence, with what it is about."""
    return f"{entry['workload']}, {entry['sweep']}, {entry['regime']}: {outcome(entry)}"


def outcome(entry: dict) -> str:
    """A crossing is one only if an interval lies wholly on either side of 1."""
    points, unit = entry["points"], entry["unit"]
    if not points:
        return "nothing was measured."
    if any(point["low"] is None for point in points):
        return "no interval at every point, so no verdict: measure 6 rounds or more."
    sides = {point["x"]: side(point) for point in points}
    ratios = [point["ratio"] for point in points]
    cross = entry["crossing"]
    means = "" if cross and cross["by"] == "mean" else by_mean(points, unit)
    spread = f"server/client p50 {min(ratios):.3g} to {max(ratios):.3g}{means}"
    if cross:
        first = "client" if statistic(points[0], cross["by"])["ratio"] > 1 else "server"
        then = "server" if first == "client" else "client"
        low, high = cross["low"], cross["high"]
        limits = f"{f'{low:.3g}' if low else 'before the sweep'} to {f'{high:.3g}' if high else 'after the sweep'}"
        where = f"below {cross['x']:.3g} {unit} (95 %: {limits})"
        mean = " by mean" if cross["by"] == "mean" else ""
        return f"the {first} is quicker{mean} {where}, the {then} above; {spread}."
    shown = {side for side in sides.values() if side}
    if len(shown) == 1:
        open_ = [f"{x:.4g}" for x, side in sides.items() if not side]
        where = f"wherever a difference is shown (not at {', '.join(open_)} {unit})" if open_ else "throughout"
        return f"the {shown.pop()} is quicker {where}; {spread}."
    if shown:
        return f"it changes more than once or not along the sweep; {spread}."
    return f"no difference shown anywhere; {spread}."


def by_mean(points: Sequence[dict], unit: str) -> str:
    """Where the median's interval is open and that of the mean, which few long waits weigh on, is not."""
    told = ""
    for name in ("client", "server"):
        if apart := [point for point in points if not side(point) and side(point["mean"]) == name]:
            where = ", ".join(f"{point['x']:.4g}" for point in apart)
            ratios = " to ".join(dict.fromkeys(f"{pick(p['mean']['ratio'] for p in apart):.3g}" for pick in (min, max)))
            told += f"; by mean the {name} is ahead at {where} {unit}, {ratios}"
    return told


def evaluate(directory: Path, path: str, described: dict) -> list[dict]:
    """crossover.json's entries of one sweep, one for each form that the client sends: a fold over its blocks."""
    own = blocks.read(directory / path)
    found = []
    for form in described["forms"]:
        points, kept = [], []
        for seed, asked in enumerate(described["points"]):
            here = [block for block in own if block.path.parent.parent.name == asked["label"]]
            if pairs := paired(here, folder(form)):
                points.append({**asked, **estimate(pairs)})
                kept.append((seed, pairs))
        entry = {key: described[key] for key in ("workload", "sweep", "unit", "network", "regime")}
        entry["sweep"] += f", {form}" if form else ""
        entry |= {"path": path, "points": points, "crossing": None}
        for by in ("p50", "mean"):
            ratios = [statistic(point, by) for point in points]
            if {side(ratio) for ratio in ratios} >= {"client", "server"}:
                drawn = np.transpose([replicates(each, seed, by) for seed, each in kept])
                x, known = [point["x"] for point in points], [ratio["ratio"] for ratio in ratios]
                entry["crossing"] = {"by": by, **crossing(x, known, drawn)}
                break
        found.append({**entry, "says": says(entry)})
    return found


def statistic(point: dict, by: str) -> dict:
    """The ratio of a point's p50 or mean, with its interval."""
    return point if by == "p50" else point[by]


def side(ratio: dict) -> str:
    """Who is quicker by the whole interval; empty if that is open."""
    if ratio["low"] is None or ratio["high"] is None:
        return ""
    return "client" if ratio["low"] > 1 else "server" if ratio["high"] < 1 else ""


def folder(form: str) -> str:
    """Of a client's blocks."""
    return f"client {form}".strip().replace(" ", "-")


Pairs = list[tuple[Block, Block]]


def paired(here: Sequence[Block], client: str) -> Pairs:
    """(client's, server's) of each round in which both are whole and have answers."""
    rounds: dict[int, dict[str, Block]] = {}
    for block in here:
        if block.facts["complete"] and block.completed:
            rounds.setdefault(block.round, {})[block.path.parent.name] = block
    return [(each[client], each["server"]) for _, each in sorted(rounds.items()) if {client, "server"} <= set(each)]


def estimate(pairs: Pairs) -> dict:
    found = {each.metric: each for each in comparison.compare(pairs)}
    p50 = found["p50"]
    keys = "ratio", "low", "high"
    others = {name: {key: getattr(found[name], key) for key in keys} for name in ("mean", "client CPU")}
    invalid = [finding for pair in pairs for block in pair for finding in block.findings]
    return {
        "ratio": p50.ratio,
        "low": p50.low,
        "high": p50.high,
        "client_p50": p50.client,
        "server_p50": p50.server,
        "rounds": len(pairs),
        "requests": sum(client.completed for client, _ in pairs),
        **others,
        "invalid": sum(not block.valid for pair in pairs for block in pair),
        "findings": dict(Counter(finding["rule"] for finding in invalid)),
    }


def replicates(pairs: Pairs, seed: int, by: str) -> np.ndarray:
    """log(ratio of the medians, or means) in bootstrap draws of rounds, as widely spread as the interval that
    `comparison` gives: Student's t for so few rounds, and not the normal distribution's narrower one."""
    n = len(pairs)
    [metric] = [each for each in METRICS if each.name == by]
    client, server = (metric.statistic(arm, None) for arm in zip(*pairs, strict=True))
    weights, once = bootstrap.resamples(n, seed), np.ones((1, n), int)
    own, drawn = (np.log(server(each) / client(each)) for each in (once, weights))
    if n < 2:
        return drawn
    return own + (drawn - own) * bootstrap.width(n, 0.95) * np.sqrt(n) / norm.ppf(0.975) * np.sqrt(n / (n - 1))


def table(entry: dict) -> str:
    """As printed: a point a line, and the sentence."""
    lines = [
        f"\n{entry['workload']}: {entry['sweep']}, {entry['network']}; server / client, 95 % intervals over rounds",
        f"{entry['unit']:>12} {'KB file':>8} {'client p50':>11} {'server p50':>11}  {'p50':<21} {'mean':<21}"
        f" {'client CPU':<11} {'rounds':>6} {'requests':>8} invalid",
    ]
    for point in entry["points"]:
        broken = ", ".join(f"{n} {rule}" for rule, n in point["findings"].items()) or "-"
        lines.append(
            f"{point['x']:>12.4g} {point['kilobytes']:>8.0f} {point['client_p50']:>11.4g} {point['server_p50']:>11.4g}"
            f"  {interval(point):<21} {interval(point['mean']):<21} {point['client CPU']['ratio']:<11.3g}"
            f" {point['rounds']:>6} {point['requests']:>8} {broken}"
        )
    return "\n".join([*lines, entry["says"]])


def interval(of: dict) -> str:
    return f"{of['ratio']:.3g}" + (f" ({of['low']:.3g}-{of['high']:.3g})" if of["low"] else " (too few rounds)")


def fold(directory: Path, run: dict, measured: Sequence[Block]) -> list[dict]:
    """crossover.json and a plot of each sweep, from run.json and the blocks."""
    found = [entry for path, described in run["sweeps"].items() for entry in evaluate(directory, path, described)]
    files.write_json(directory / "crossover.json", found)
    for entry in found:
        if entry["points"]:
            form = entry["sweep"].partition(", ")[2].partition(" ")[0]
            curves.sweep(entry, directory / entry["path"] / f"{'-'.join(filter(None, ('ratio', form)))}.png")
    return found


def text(found: list[dict]) -> str:
    """As printed: a sentence for each sweep; their tables were printed while it ran."""
    return "\n".join(entry["says"] for entry in found)


def sentences(found: list[dict]) -> dict[str, list[str]]:
    """What it comes to, by headings."""
    told: dict[str, list[str]] = {}
    for entry in found:
        told.setdefault(group(entry), []).append(f"{capital(entry['sweep'])}: {outcome(entry)}")
    return told


def capital(told: str) -> str:
    return told[:1].upper() + told[1:]


def group(entry: dict) -> str:
    """Sweeps of which workload, and of which network, it belongs to."""
    return f"{entry['workload']}, {entry['regime']}"
