"""The figures of a sweep: from its trials to the entries of crossover.json, which `result` describes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from common.figures import significant
from crossover.analysis import comparison
from crossover.analysis.latency_crossing import find_crossing, find_turns, judge_point, resample_difference
from crossover.experiments.sweep.wording import describe_entry, find_stretch, select_ratio
from crossover.measurement.trial import Trial, read_trials

Pairs = list[tuple[Trial, Trial]]

FAILURES = 0.01
"""An arm that fails a larger share of its requests does not carry the load: its ratio would be that of survivors."""


def evaluate(directory: Path, path: str, described: dict) -> list[dict]:
    """Return the entries of one sweep in crossover.json, one for each form that the baseline sends, from its trials.

    `path` is its folder in the directory, `described` its part of run.json. Raises ValueError for a damaged trial.
    """
    return evaluate_trials(read_trials(directory / path), path, described)


def evaluate_trials(own: Sequence[Trial], path: str, described: dict) -> list[dict]:
    """Return the entries of one sweep, as `evaluate` does, from its trials."""
    found, baseline = [], next(iter(described["placements"]))
    for form in described["forms"]:
        points, sound = [], []
        # Each point has a seed of its own, so that the draws of different points are independent.
        for seed, asked in sorted(enumerate(described["points"]), key=lambda each: each[1]["x"]):
            # A trial lies in <point>/<arm>/round-NN.json.
            here = [trial for trial in own if trial.path.parent.parent.name == asked["label"]]
            if pairs := pair_trials(here, folder(baseline, form), list(described["placements"])[1]):
                points.append({**asked, **summarise_point(pairs, list(described["placements"]))})
                sound.append((seed, keep_sound(pairs)))
        entry = {key: described[key] for key in ("workload", "placements", "sweep", "unit", "network", "regime")}
        entry["sweep"] += f", {form}" if form else ""
        entry["planned"] = max(described.get("planned", 0), len(points))
        entry |= {"path": path, "points": points, "crossing": locate_crossing(points, sound, entry["unit"])}
        found.append({**entry, "says": describe_entry(entry)})
    return found


def locate_crossing(points: Sequence[dict], sound: Sequence[tuple[int, Pairs]], unit: str) -> dict | None:
    """Return the `crossing` of an entry: that of the medians, or of the means where no median tells the arms apart.

    `sound` has the seed and the rounds of each point. Points without an interval are left out, which makes the
    interval of the crossing wider and nothing else. Where an arm does not carry the load nothing crosses: the points on
    either side of such a one are not joined.
    """
    for by in ("p50", "mean"):
        known = [i for i, point in enumerate(points) if select_ratio(point, by)["low"] is not None]
        sides = [
            judge_point(**{key: select_ratio(points[i], by)[key] for key in ("ratio", "low", "high")}) for i in known
        ]
        if turns := find_turns(sides):
            first, last = turns[0]
            joined = {i: sides[n] for n, i in enumerate(known) if i in find_stretch(points, known[first])}
            if len(turns) > 1 or known[last] not in joined:
                return None
            measured = [resample_difference(sound[i][1], sound[i][0], by) for i in joined]
            differences, drawn = zip(*measured, strict=True)
            x = [points[i]["x"] for i in joined]
            crossing = find_crossing(x, differences, list(joined.values()), np.transpose(drawn), unit)
            return {"by": by, **crossing.as_dict()} if crossing else None
    return None


def folder(baseline: str, form: str) -> str:
    """Return the folder of the trials of a baseline that sends this form: `client-UINT8-tensor`."""
    return f"{baseline} {form}".strip().replace(" ", "-")


def pair_trials(here: Sequence[Trial], baseline: str, candidate: str) -> Pairs:
    """Return (baseline's, candidate's trial) of each round in which both are complete, by round.

    `here` are the trials of one point, `baseline` and `candidate` the folders of the two arms.
    """
    rounds: dict[int, dict[str, Trial]] = {}
    for trial in here:
        if trial.facts["complete"]:
            rounds.setdefault(trial.round, {})[trial.path.parent.name] = trial
    both = [each for _, each in sorted(rounds.items()) if {baseline, candidate} <= set(each)]
    return [(each[baseline], each[candidate]) for each in both]


def keep_sound(pairs: Pairs) -> Pairs:
    """Return the rounds in which every request of both arms has a good answer."""
    return [pair for pair in pairs if all(trial.sound and trial.completed for trial in pair)]


def find_failing(pairs: Pairs, placements: Sequence[str]) -> dict[str, float]:
    """Return placement -> the share of its requests without a good answer, of those above FAILURES."""
    found = {}
    for name, trials in zip(placements, zip(*pairs, strict=True), strict=True):
        scheduled = sum(trial.scheduled for trial in trials)
        failed = scheduled - sum(trial.completed for trial in trials)
        if failed > FAILURES * scheduled:
            found[name] = failed / scheduled
    return found


def summarise_interim(points: Iterable[Sequence[Trial]], form: str, names: tuple[str, str]) -> str:
    """Write the ratio of the medians at each point so far, for the line of progress."""
    ratios = []
    for own in points:
        if pairs := keep_sound(pair_trials(own, folder(names[0], form), names[1])):
            arms = zip(*pairs, strict=True)
            baseline, candidate = (np.median(np.concatenate([trial.latency for trial in arm])) for arm in arms)
            ratios.append(significant(candidate / baseline))
    return f"p50 {names[1]}/{names[0]}{f' {form}' * bool(form)} {', '.join(ratios)}" if ratios else ""


def summarise_point(pairs: Pairs, placements: Sequence[str]) -> dict:
    """Return the figures of a point in crossover.json: ratios with their 95 % intervals, medians in ms, counts.

    `pairs` are its complete rounds, `placements` the names of baseline and candidate.
    """
    fails, sound = find_failing(pairs, placements), keep_sound(pairs)
    found = {} if fails else {each.metric: each for each in comparison.compare(sound)}
    p50, mean, cpu = (
        {key: getattr(found.get(name), key, None) for key in ("ratio", "low", "high")}
        for name in ("p50", "mean", "client CPU")
    )
    invalid = [finding for pair in pairs for trial in pair for finding in trial.findings]
    return {
        **p50,
        "baseline_p50": found["p50"].baseline if found else None,
        "candidate_p50": found["p50"].candidate if found else None,
        "mean": mean,
        "client CPU": cpu,
        "rounds": len(sound),
        "excluded": len(pairs) - len(sound),
        "fails": fails,
        "requests": sum(baseline.completed for baseline, _ in sound),
        "invalid": sum(not trial.valid for pair in pairs for trial in pair),
        "findings": dict(Counter(finding["rule"] for finding in invalid)),
    }
