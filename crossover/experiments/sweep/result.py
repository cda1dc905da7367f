"""The result of sweeps: the ratio at each point, where it crosses 1, the sentence that says so, and the section.

crossover.json is a list with an entry per sweep, and per form that its baseline sends:

- `workload`, its `placements` as in run.json (baseline, candidate), `sweep` (the title), `unit` of x, `network` (with
  its weights), `regime` in words, `path` of its trials.
- `points`, in which each has `x`, `label`, its load (`arrivals`, `seconds`, `kilobytes` of the encoded input), `ratio`
  candidate / baseline of p50 with its 95 % interval `low` to `high` (null if there are too few rounds), `baseline_p50`
  and `candidate_p50` in ms, the same ratio of `mean` and `client CPU`, `rounds`, `requests`, and how many trials are
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
    faster_arm,
    find_changes,
    find_crossing,
    resample_ratio,
    select_ratio,
)
from crossover.analysis.verdict import BASELINE, CANDIDATE
from crossover.experiments.sweep import plots
from crossover.measurement.trial import Trial, read_trials
from crossover.report.html import Section, render
from crossover.report.kind import Kind, warn_of_invalid


def describe_entry(entry: dict) -> str:
    """Write a sentence about an entry of crossover.json: which sweep, and its outcome."""
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
    sides = [faster_arm(point) for point in points]
    ratios = [point["ratio"] for point in points]
    cross = entry["crossing"]
    names, words = name_arms(entry), word_arms(entry)
    means = "" if cross and cross["by"] == "mean" else describe_means(points, unit, words)
    spread = f"{names[CANDIDATE]}/{names[BASELINE]} p50 {min(ratios):.3g} to {max(ratios):.3g}{means}"
    if cross:
        own = [faster_arm(select_ratio(point, cross["by"])) for point in points]
        first = next(filter(None, own))
        then = CANDIDATE if first == BASELINE else BASELINE
        low, high = cross["low"], cross["high"]
        limits = f"{f'{low:.3g}' if low else 'before the sweep'} to {f'{high:.3g}' if high else 'after the sweep'}"
        where = f"below {cross['x']:.3g} {unit} (95 %: {limits})"
        mean = " by mean" if cross["by"] == "mean" else ""
        # A point near the crossing is often undecided: it is named, as it belongs to neither side.
        open_ = f" (not shown at {list_points(points, own, '')} {unit})" if not all(own) else ""
        return f"{words[first]} is quicker{mean} {where}, {words[then]} above{open_}; {spread}."
    shown = set(filter(None, sides))
    if len(shown) == 1:
        open_ = list_points(points, sides, "")
        where = f"wherever a difference is shown (not at {open_} {unit})" if open_ else "throughout"
        return f"{words[shown.pop()]} is quicker {where}; {spread}."
    if shown:
        at = {each: list_points(points, sides, each) for each in (BASELINE, CANDIDATE)}
        where = " and ".join(f"{words[each]} is quicker at {xs}" for each, xs in at.items())
        return f"it turns {len(find_changes(sides))} times, so there is no one crossing: {where} {unit}; {spread}."
    return f"no difference shown anywhere; {spread}."


def list_points(points: Sequence[dict], sides: Sequence[str], wanted: str) -> str:
    """List the x of the points whose side is `wanted`, with commas; an empty one is for undecided points."""
    return ", ".join(f"{point['x']:.4g}" for point, side in zip(points, sides, strict=True) if side == wanted)


def name_arms(entry: dict) -> dict[str, str]:
    """Return BASELINE and CANDIDATE -> the placement's name."""
    return dict(zip((BASELINE, CANDIDATE), entry["placements"], strict=True))


def word_arms(entry: dict) -> dict[str, str]:
    """Return BASELINE and CANDIDATE -> what sentences call the placement."""
    return {arm: entry["placements"][name]["words"] for arm, name in name_arms(entry).items()}


def describe_means(points: Sequence[dict], unit: str, words: dict[str, str]) -> str:
    """Name the points where the median is undecided and the mean is not: a few long waits weigh on it."""
    text = ""
    for name in (BASELINE, CANDIDATE):
        undecided = [point for point in points if not faster_arm(point)]
        if apart := [point for point in undecided if faster_arm(point["mean"]) == name]:
            where = ", ".join(f"{point['x']:.4g}" for point in apart)
            ratios = " to ".join(dict.fromkeys(f"{pick(p['mean']['ratio'] for p in apart):.3g}" for pick in (min, max)))
            text += f"; by mean {words[name]} is ahead at {where} {unit}, {ratios}"
    return text


def evaluate(directory: Path, path: str, described: dict) -> list[dict]:
    """Return the entries of one sweep in crossover.json, one for each form that the baseline sends, from its trials.

    `path` is its folder in the directory, `described` its part of run.json. Raises ValueError for a damaged trial.
    """
    own = read_trials(directory / path)
    found, (baseline, candidate) = [], described["placements"]
    for form in described["forms"]:
        points, kept = [], []
        for seed, asked in enumerate(described["points"]):
            # A trial lies in <point>/<arm>/round-NN.json.
            here = [trial for trial in own if trial.path.parent.parent.name == asked["label"]]
            if pairs := pair_trials(here, folder(baseline, form), candidate):
                points.append({**asked, **summarise_point(pairs)})
                # Each point has a seed of its own, so that the draws of different points are independent.
                kept.append((seed, pairs))
        entry = {key: described[key] for key in ("workload", "placements", "sweep", "unit", "network", "regime")}
        entry["sweep"] += f", {form}" if form else ""
        entry |= {"path": path, "points": points, "crossing": None}
        # The crossing of the medians; that of the means only where no median tells the placements apart.
        for by in ("p50", "mean"):
            ratios = [select_ratio(point, by) for point in points]
            if find_changes(sides := [faster_arm(ratio) for ratio in ratios]):
                drawn = np.transpose([resample_ratio(each, seed, by) for seed, each in kept])
                x, known = [point["x"] for point in points], [ratio["ratio"] for ratio in ratios]
                if all(ratio["low"] for ratio in ratios) and (cross := find_crossing(x, known, sides, drawn)):
                    entry["crossing"] = {"by": by, **cross}
                break
        found.append({**entry, "says": describe_entry(entry)})
    return found


def folder(baseline: str, form: str) -> str:
    """Return the folder of the trials of a baseline that sends this form: `client-UINT8-tensor`."""
    return f"{baseline} {form}".strip().replace(" ", "-")


Pairs = list[tuple[Trial, Trial]]


def pair_trials(here: Sequence[Trial], baseline: str, candidate: str) -> Pairs:
    """Return (baseline's, candidate's trial) of each round in which both are complete and have answers, by round.

    `here` are the trials of one point, `baseline` and `candidate` the folders of the two arms.
    """
    rounds: dict[int, dict[str, Trial]] = {}
    for trial in here:
        if trial.facts["complete"] and trial.completed:
            rounds.setdefault(trial.round, {})[trial.path.parent.name] = trial
    both = [each for _, each in sorted(rounds.items()) if {baseline, candidate} <= set(each)]
    return [(each[baseline], each[candidate]) for each in both]


def summarise_interim(points: Iterable[Sequence[Trial]], form: str, names: tuple[str, str]) -> str:
    """Write the ratio of the medians at each point so far, for the line of progress."""
    ratios = []
    for own in points:
        if pairs := pair_trials(own, folder(names[0], form), names[1]):
            arms = zip(*pairs, strict=True)
            baseline, candidate = (np.median(np.concatenate([trial.latency for trial in arm])) for arm in arms)
            ratios.append(f"{candidate / baseline:.3g}")
    return f"p50 {names[1]}/{names[0]}{f' {form}' * bool(form)} {', '.join(ratios)}" if ratios else ""


def summarise_point(pairs: Pairs) -> dict:
    """Return the figures of a point in crossover.json: ratios with their 95 % intervals, medians in ms, counts."""
    found = {each.metric: each for each in comparison.compare(pairs)}
    p50 = found["p50"]
    keys = "ratio", "low", "high"
    others = {name: {key: getattr(found[name], key) for key in keys} for name in ("mean", "client CPU")}
    invalid = [finding for pair in pairs for trial in pair for finding in trial.findings]
    return {
        "ratio": p50.ratio,
        "low": p50.low,
        "high": p50.high,
        "baseline_p50": p50.baseline,
        "candidate_p50": p50.candidate,
        "rounds": len(pairs),
        "requests": sum(baseline.completed for baseline, _ in pairs),
        **others,
        "invalid": sum(not trial.valid for pair in pairs for trial in pair),
        "findings": dict(Counter(finding["rule"] for finding in invalid)),
    }


def table(entry: dict) -> str:
    """Write the table of one sweep for the terminal: a line per point, and the sentence."""
    first, second = entry["placements"]
    named = [f"{name} p50" for name in (first, second)]
    wide = [max(11, len(name)) for name in named]
    lines = [
        f"\n{entry['workload']}: {entry['sweep']}, {entry['network']}; {second} / {first}, 95 % intervals over rounds",
        f"{entry['unit']:>12} {'KB file':>8} {named[0]:>{wide[0]}} {named[1]:>{wide[1]}}  {'p50':<21} {'mean':<21}"
        f" {'client CPU':<11} {'rounds':>6} {'requests':>8} invalid",
    ]
    for point in entry["points"]:
        broken = ", ".join(f"{n} {rule}" for rule, n in point["findings"].items()) or "-"
        medians = f"{point['baseline_p50']:>{wide[0]}.4g} {point['candidate_p50']:>{wide[1]}.4g}"
        lines.append(
            f"{point['x']:>12.4g} {point['kilobytes']:>8.0f} {medians}"
            f"  {interval(point):<21} {interval(point['mean']):<21} {point['client CPU']['ratio']:<11.3g}"
            f" {point['rounds']:>6} {point['requests']:>8} {broken}"
        )
    return "\n".join([*lines, entry["says"]])


def interval(of: dict) -> str:
    """Write a ratio with its interval: `0.862 (0.83-0.894)`."""
    return f"{of['ratio']:.3g}" + (f" ({of['low']:.3g}-{of['high']:.3g})" if of["low"] else " (too few rounds)")


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> list[dict]:
    """Write crossover.json and a plot of each sweep, from run.json and the trials; returns the entries."""
    found = [entry for path, described in run["sweeps"].items() for entry in evaluate(directory, path, described)]
    atomic_write.write_json(directory / "crossover.json", found)
    for entry in found:
        if entry["points"]:
            # "link rate, UINT8 tensor" is drawn as ratio-UINT8.png, beside those of the other forms.
            form = entry["sweep"].partition(", ")[2].partition(" ")[0]
            plots.save_ratios(entry, directory / entry["path"] / f"{'-'.join(filter(None, ('ratio', form)))}.png")
    return found


def text(result: Sequence[dict]) -> str:
    """Write a sentence for each sweep; their tables are printed while it runs."""
    return "\n".join(entry["says"] for entry in result)


def sentences(result: Sequence[dict]) -> dict[str, list[str]]:
    """Return workload and network -> a sentence for each of their sweeps."""
    found: dict[str, list[str]] = {}
    for entry in result:
        found.setdefault(group(entry), []).append(f"{capital(entry['sweep'])}: {outcome(entry)}")
    return found


def capital(text: str) -> str:
    """Return the text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def group(entry: dict) -> str:
    """Return the heading that a sweep stands under: its workload and its network."""
    return f"{entry['workload']}, {entry['regime']}"


def sections(run: dict, result: list[dict], trials: Sequence[Trial]) -> list[Section]:
    """Return the sections of all sweeps, each with its plot, by workload and network."""
    values = {"groups": groups(result), "left_out": run.get("left_out", [])}
    return [Section(render(Path(__file__).with_name("section.html.j2"), **values), KIND.title, sentences(result))]


def groups(result: Sequence[dict]) -> dict[str, list[dict]]:
    """Group sweeps with their plots by workload and network. Those without a point are left out."""
    found: dict[str, list[dict]] = {}
    for entry in result:
        if entry["points"]:
            first, second = entry["placements"]
            label = f"{entry['workload']}, {entry['network']}: {second} ÷ {first} against {entry['sweep']}"
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
