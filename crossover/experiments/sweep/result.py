"""The result of sweeps: the ratio at each point, where it crosses 1, the sentence that says so, and the section.

crossover.json is a list with an entry per sweep, and per form that its client sends:

- `workload`, `sweep` (the title), `unit` of x, `network` (with its weights), `regime` in words, `path` of its trials.
- `points`, in which each has `x`, `label`, its load (`arrivals`, `seconds`, `kilobytes` of the encoded input), `ratio`
  server / client of p50 with its 95 % interval `low` to `high` (null if there are too few rounds), `client_p50` and
  `server_p50` in ms, the same ratio of `mean` and `client CPU`, `rounds`, `requests`, and how many trials are
  `invalid`, by which rules (`findings`).
- `crossing`: null, or `by` which statistic (p50 or mean) it is, `x`, and its 95 % interval; a limit beyond the sweep is
  null.
- `says`: the sentence.
"""

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
from crossover.experiments.sweep import plots
from crossover.measurement.trial import Trial, read_trials
from crossover.report.html import Section, render
from crossover.report.kind import Kind, warn_of_invalid


def describe_entry(entry: dict) -> str:
    """One sentence about an entry of crossover.json: which sweep, and its outcome."""
    return f"{entry['workload']}, {entry['sweep']}, {entry['regime']}: {outcome(entry)}"


def outcome(entry: dict) -> str:
    """Return what the points of an entry show, and no more, as the end of a sentence.

    A difference needs an interval that does not hold 1; a crossing needs points on both sides that have one.
    """
    points, unit = entry["points"], entry["unit"]
    if not points:
        return "nothing was measured."
    if any(point["low"] is None for point in points):
        return "no interval at every point, so no verdict: measure 6 rounds or more."
    sides = [faster_placement(point) for point in points]
    ratios = [point["ratio"] for point in points]
    cross = entry["crossing"]
    means = "" if cross and cross["by"] == "mean" else describe_means(points, unit)
    spread = f"server/client p50 {min(ratios):.3g} to {max(ratios):.3g}{means}"
    if cross:
        own = [faster_placement(select_ratio(point, cross["by"])) for point in points]
        first = next(filter(None, own))
        then = "server" if first == "client" else "client"
        low, high = cross["low"], cross["high"]
        limits = f"{f'{low:.3g}' if low else 'before the sweep'} to {f'{high:.3g}' if high else 'after the sweep'}"
        where = f"below {cross['x']:.3g} {unit} (95 %: {limits})"
        mean = " by mean" if cross["by"] == "mean" else ""
        open_ = f" (not shown at {list_points(points, own, '')} {unit})" if not all(own) else ""
        return f"the {first} is quicker{mean} {where}, the {then} above{open_}; {spread}."
    shown = set(filter(None, sides))
    if len(shown) == 1:
        open_ = list_points(points, sides, "")
        where = f"wherever a difference is shown (not at {open_} {unit})" if open_ else "throughout"
        return f"the {shown.pop()} is quicker {where}; {spread}."
    if shown:
        at = {each: list_points(points, sides, each) for each in ("client", "server")}
        where = " and ".join(f"the {each} is quicker at {xs}" for each, xs in at.items())
        return f"it turns {len(find_changes(sides))} times, so there is no one crossing: {where} {unit}; {spread}."
    return f"no difference shown anywhere; {spread}."


def list_points(points: Sequence[dict], sides: Sequence[str], wanted: str) -> str:
    """The x of the points whose side is `wanted`, with commas; an empty one is for undecided points."""
    return ", ".join(f"{point['x']:.4g}" for point, side in zip(points, sides, strict=True) if side == wanted)


def describe_means(points: Sequence[dict], unit: str) -> str:
    """Name the points where the median is undecided and the mean is not: a few long waits weigh on it."""
    text = ""
    for name in ("client", "server"):
        undecided = [point for point in points if not faster_placement(point)]
        if apart := [point for point in undecided if faster_placement(point["mean"]) == name]:
            where = ", ".join(f"{point['x']:.4g}" for point in apart)
            ratios = " to ".join(dict.fromkeys(f"{pick(p['mean']['ratio'] for p in apart):.3g}" for pick in (min, max)))
            text += f"; by mean the {name} is ahead at {where} {unit}, {ratios}"
    return text


def evaluate(directory: Path, path: str, described: dict) -> list[dict]:
    """The entries of one sweep in crossover.json, one for each form that the client sends, from its trials.

    `path` is its folder in the directory, `described` its part of run.json. Raises ValueError for a damaged trial.
    """
    own = read_trials(directory / path)
    found = []
    for form in described["forms"]:
        points, kept = [], []
        for seed, asked in enumerate(described["points"]):
            here = [trial for trial in own if trial.path.parent.parent.name == asked["label"]]
            if pairs := pair_trials(here, folder(form)):
                points.append({**asked, **summarise_point(pairs)})
                kept.append((seed, pairs))
        entry = {key: described[key] for key in ("workload", "sweep", "unit", "network", "regime")}
        entry["sweep"] += f", {form}" if form else ""
        entry |= {"path": path, "points": points, "crossing": None}
        # The crossing of the medians; that of the means only where no median tells the placements apart.
        for by in ("p50", "mean"):
            ratios = [select_ratio(point, by) for point in points]
            if find_changes(sides := [faster_placement(ratio) for ratio in ratios]):
                drawn = np.transpose([resample_ratio(each, seed, by) for seed, each in kept])
                x, known = [point["x"] for point in points], [ratio["ratio"] for ratio in ratios]
                if all(ratio["low"] for ratio in ratios) and (cross := find_crossing(x, known, sides, drawn)):
                    entry["crossing"] = {"by": by, **cross}
                break
        found.append({**entry, "says": describe_entry(entry)})
    return found


def folder(form: str) -> str:
    """The folder of the trials of a client that sends this form: `client-UINT8-tensor`."""
    return f"client {form}".strip().replace(" ", "-")


Pairs = list[tuple[Trial, Trial]]


def pair_trials(here: Sequence[Trial], client: str) -> Pairs:
    """Return (client's, server's trial) of each round in which both are complete and have answers, by round.

    `here` are the trials of one point, `client` is the folder of the client's.
    """
    rounds: dict[int, dict[str, Trial]] = {}
    for trial in here:
        if trial.facts["complete"] and trial.completed:
            rounds.setdefault(trial.round, {})[trial.path.parent.name] = trial
    return [(each[client], each["server"]) for _, each in sorted(rounds.items()) if {client, "server"} <= set(each)]


def summarise_interim(points: Iterable[Sequence[Trial]], form: str) -> str:
    """The ratio of the medians at each point so far, for the line of progress."""
    ratios = []
    for own in points:
        if pairs := pair_trials(own, folder(form)):
            arms = zip(*pairs, strict=True)
            client, server = (np.median(np.concatenate([trial.latency for trial in arm])) for arm in arms)
            ratios.append(f"{server / client:.3g}")
    return f"p50 server/client{f' {form}' * bool(form)} {', '.join(ratios)}" if ratios else ""


def summarise_point(pairs: Pairs) -> dict:
    """The figures of a point in crossover.json: ratios server / client with 95 % intervals, medians in ms, counts."""
    found = {each.metric: each for each in comparison.compare(pairs)}
    p50 = found["p50"]
    keys = "ratio", "low", "high"
    others = {name: {key: getattr(found[name], key) for key in keys} for name in ("mean", "client CPU")}
    invalid = [finding for pair in pairs for trial in pair for finding in trial.findings]
    return {
        "ratio": p50.ratio,
        "low": p50.low,
        "high": p50.high,
        "client_p50": p50.client,
        "server_p50": p50.server,
        "rounds": len(pairs),
        "requests": sum(client.completed for client, _ in pairs),
        **others,
        "invalid": sum(not trial.valid for pair in pairs for trial in pair),
        "findings": dict(Counter(finding["rule"] for finding in invalid)),
    }


def table(entry: dict) -> str:
    """The table of one sweep for the terminal: a line per point, and the sentence."""
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
    """`0.862 (0.83-0.894)`: a ratio with its interval."""
    return f"{of['ratio']:.3g}" + (f" ({of['low']:.3g}-{of['high']:.3g})" if of["low"] else " (too few rounds)")


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> list[dict]:
    """Write crossover.json and a plot of each sweep, from run.json and the trials; returns the entries."""
    found = [entry for path, described in run["sweeps"].items() for entry in evaluate(directory, path, described)]
    atomic_write.write_json(directory / "crossover.json", found)
    for entry in found:
        if entry["points"]:
            form = entry["sweep"].partition(", ")[2].partition(" ")[0]
            plots.save_ratios(entry, directory / entry["path"] / f"{'-'.join(filter(None, ('ratio', form)))}.png")
    return found


def text(result: Sequence[dict]) -> str:
    """A sentence for each sweep; their tables are printed while it runs."""
    return "\n".join(entry["says"] for entry in result)


def sentences(result: Sequence[dict]) -> dict[str, list[str]]:
    """Workload and network -> a sentence for each of their sweeps."""
    found: dict[str, list[str]] = {}
    for entry in result:
        found.setdefault(group(entry), []).append(f"{capital(entry['sweep'])}: {outcome(entry)}")
    return found


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def group(entry: dict) -> str:
    """The heading that a sweep stands under: its workload and its network."""
    return f"{entry['workload']}, {entry['regime']}"


def sections(run: dict, result: list[dict], trials: Sequence[Trial]) -> list[Section]:
    """Every sweep with its plot, by workload and network."""
    values = {"groups": groups(result), "left_out": run.get("left_out", [])}
    return [Section(render(Path(__file__).with_name("section.html.j2"), **values), KIND.title, sentences(result))]


def groups(result: Sequence[dict]) -> dict[str, list[dict]]:
    """Sweeps with their plots, by workload and network. Those without a point are left out."""
    found: dict[str, list[dict]] = {}
    for entry in result:
        if entry["points"]:
            label = f"{entry['workload']}, {entry['network']}: server ÷ client against {entry['sweep']}"
            shown = {**entry, "plot": plots.ratios(entry, label), "outcome": capital(outcome(entry))}
            found.setdefault(group(entry), []).append(shown)
    return found


COUNTED_IN = "They are counted in; the table of each sweep says at which points, that of trials what to change."

KIND = Kind(
    name="crossover",
    title="Where it turns",
    question="Where does the answer change?",
    file="crossover.json",
    leaves="samples, crossover.json, a plot of every sweep and report.html",
    fold=fold,
    text=text,
    sections=sections,
    banners=lambda result, trials: warn_of_invalid(trials, lambda invalid: COUNTED_IN),
    wants_stand_ins=True,
)
