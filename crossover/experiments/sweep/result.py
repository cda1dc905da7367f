"""What a sweep comes to: the ratio at each of its points, where it turns, and the sentence that says so."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from common import atomic_write
from crossover.analysis import comparison
from crossover.analysis.crossing_point import (
    faster_placement,
    find_changes,
    find_crossing,
    resample_ratio,
    select_ratio,
)
from crossover.measurement import trial
from crossover.measurement.trial import Block
from crossover.report import curves


def says(entry: dict) -> str:
    """One sentence, with what it is about."""
    return f"{entry['workload']}, {entry['sweep']}, {entry['regime']}: {outcome(entry)}"


def outcome(entry: dict) -> str:
    """What the points let one say, and no more: a difference, or a side, is shown by an interval that is clear of 1."""
    points, unit = entry["points"], entry["unit"]
    if not points:
        return "nothing was measured."
    if any(point["low"] is None for point in points):
        return "no interval at every point, so no verdict: measure 6 rounds or more."
    sides = [faster_placement(point) for point in points]
    ratios = [point["ratio"] for point in points]
    cross = entry["crossing"]
    means = "" if cross and cross["by"] == "mean" else by_mean(points, unit)
    spread = f"server/client p50 {min(ratios):.3g} to {max(ratios):.3g}{means}"
    if cross:
        own = [faster_placement(select_ratio(point, cross["by"])) for point in points]
        first = next(filter(None, own))
        then = "server" if first == "client" else "client"
        low, high = cross["low"], cross["high"]
        limits = f"{f'{low:.3g}' if low else 'before the sweep'} to {f'{high:.3g}' if high else 'after the sweep'}"
        where = f"below {cross['x']:.3g} {unit} (95 %: {limits})"
        mean = " by mean" if cross["by"] == "mean" else ""
        open_ = f" (not shown at {at(points, own, '')} {unit})" if not all(own) else ""
        return f"the {first} is quicker{mean} {where}, the {then} above{open_}; {spread}."
    shown = set(filter(None, sides))
    if len(shown) == 1:
        open_ = at(points, sides, "")
        where = f"wherever a difference is shown (not at {open_} {unit})" if open_ else "throughout"
        return f"the {shown.pop()} is quicker {where}; {spread}."
    if shown:
        where = " and ".join(f"the {each} is quicker at {at(points, sides, each)}" for each in ("client", "server"))
        return f"it turns {len(find_changes(sides))} times, so there is no one crossing: {where} {unit}; {spread}."
    return f"no difference shown anywhere; {spread}."


def at(points: Sequence[dict], sides: Sequence[str], wanted: str) -> str:
    """The points on that side, empty for those on neither."""
    return ", ".join(f"{point['x']:.4g}" for point, side in zip(points, sides, strict=True) if side == wanted)


def by_mean(points: Sequence[dict], unit: str) -> str:
    """Where the median's interval is open and that of the mean, which few long waits weigh on, is not."""
    told = ""
    for name in ("client", "server"):
        if apart := [
            point for point in points if not faster_placement(point) and faster_placement(point["mean"]) == name
        ]:
            where = ", ".join(f"{point['x']:.4g}" for point in apart)
            ratios = " to ".join(dict.fromkeys(f"{pick(p['mean']['ratio'] for p in apart):.3g}" for pick in (min, max)))
            told += f"; by mean the {name} is ahead at {where} {unit}, {ratios}"
    return told


def evaluate(directory: Path, path: str, described: dict) -> list[dict]:
    """crossover.json's entries of one sweep, one for each form that the client sends: a fold over its blocks."""
    own = trial.read(directory / path)
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
            ratios = [select_ratio(point, by) for point in points]
            if find_changes(sides := [faster_placement(ratio) for ratio in ratios]):
                drawn = np.transpose([resample_ratio(each, seed, by) for seed, each in kept])
                x, known = [point["x"] for point in points], [ratio["ratio"] for ratio in ratios]
                if all(ratio["low"] for ratio in ratios) and (cross := find_crossing(x, known, sides, drawn)):
                    entry["crossing"] = {"by": by, **cross}
                break
        found.append({**entry, "says": says(entry)})
    return found


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


def running(points: Iterable[Sequence[Block]], form: str) -> str:
    """The ratio at each point so far, for the line of progress."""
    ratios = []
    for own in points:
        if pairs := paired(own, folder(form)):
            arms = zip(*pairs, strict=True)
            client, server = (np.median(np.concatenate([block.latency for block in arm])) for arm in arms)
            ratios.append(f"{server / client:.3g}")
    return f"p50 server/client{f' {form}' * bool(form)} {', '.join(ratios)}" if ratios else ""


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
    atomic_write.write_json(directory / "crossover.json", found)
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
