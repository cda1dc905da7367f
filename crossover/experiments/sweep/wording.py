"""The sentence about a sweep: it says what the points show, names those that show nothing, and claims no more."""

from collections.abc import Sequence

from common.figures import interval, significant
from crossover.analysis.latency_crossing import MARGIN, find_turns, holds_throughout, judge_point
from crossover.analysis.verdict import BASELINE, CANDIDATE, is_equivalent
from crossover.analysis.wording import count

EQUIVALENT, UNDECIDED, UNKNOWN = "equivalent", "undecided", "unknown"
"""What a point shows where no arm is quicker; unknown: it has no interval."""


def describe_entry(entry: dict) -> str:
    """Write a sentence about an entry of crossover.json: which sweep, and its outcome."""
    return f"{entry['workload']}, {entry['sweep']}, {entry['regime']}: {outcome(entry)}"


def outcome(entry: dict) -> str:
    """Return what the points of an entry show, as the end of a sentence.

    Its parts say which arm fails where, which is quicker where, how far the medians are apart, and what is missing.
    They are by the mean if the crossing was found by it, else by p50.
    """
    points = entry["points"]
    if not points:
        return "nothing was measured."
    by = entry["crossing"]["by"] if entry["crossing"] else "p50"
    found = [judge(select_ratio(point, by)) for point in points]
    parts = [
        *describe_failures(entry),
        *describe_sides(entry, found, by),
        describe_spread(entry, by),
        count_missing(entry),
        count_excluded(points),
    ]
    return "; ".join(filter(None, parts)) + "."


def select_ratio(point: dict, metric: str) -> dict:
    """Return a point's ratio, with its interval, by "p50" or by "mean"."""
    return point if metric == "p50" else point[metric]


def judge(ratio: dict) -> str:
    """Return what a point's ratio shows: BASELINE or CANDIDATE is quicker, EQUIVALENT, UNDECIDED or UNKNOWN."""
    low, high = ratio["low"], ratio["high"]
    if low is None or high is None:
        return UNKNOWN
    if is_equivalent(low, high, MARGIN):
        return EQUIVALENT
    return judge_point(ratio["ratio"], low, high) or UNDECIDED


def describe_failures(entry: dict) -> list[str]:
    """Return where which arm fails too many of its requests: that is the finding there, whatever the others took."""
    parts = []
    for name, about in entry["placements"].items():
        if failing := [point for point in entry["points"] if name in point["fails"]]:
            shares = [point["fails"][name] * 100 for point in failing]
            share = " to ".join(dict.fromkeys(significant(each, 2) for each in (min(shares), max(shares))))
            parts.append(
                f"{about['words']} does not carry this load at {list_x(failing, entry['unit'])}"
                f" ({share} % of its requests have no good answer)"
            )
    return parts


def describe_sides(entry: dict, found: Sequence[str], by: str) -> list[str]:
    """Return which arm is quicker where, and where none is; `found` is what `judge` says of each point.

    With a crossing the first part names it, with its interval, and the stretch of points around it at which both arms
    carry the load; the points beyond that stretch follow one by one.
    """
    words, unit, cross, points = word_arms(entry), entry["unit"], entry["crossing"], entry["points"]
    sides = [each if each in words else "" for each in found]
    mean = " by mean" if by == "mean" else ""
    if cross:
        # Only one stretch has both sides, and it encloses the crossing.
        joined = next(each for each in list_stretches(points) if find_turns([sides[i] for i in each]))
        ordered = [sides[i] for i in joined if sides[i]]
        place = f"{significant(cross['x'])} {interval(cross['low'], cross['high'])}".rstrip()
        where = f"below {place} {unit}, {words[ordered[-1]]} above"
        if len(joined) < len(points):
            ends = " to ".join(significant(points[i]["x"], 4) for i in (joined[0], joined[-1]))
            where += f", as far as both carry the load ({ends} {unit})"
        apart = ["" if i in joined else side for i, side in enumerate(sides)]
        begin = f"{words[ordered[0]]} is quicker{mean} {where}"
        return [begin, *list_quicker(entry, apart), *describe_open(entry, found)]
    if holds_throughout(sides, entry["planned"]):
        return [f"{words[sides[0]]} is quicker throughout"]
    turns = find_turns(sides)
    several = [f"it turns {len(turns)} times, so there is no one crossing"] if len(turns) > 1 else []
    if len(turns) == 1:
        ends = " and ".join(significant(points[i]["x"], 4) for i in turns[0])
        several = [f"it turns between {ends} {unit}, where no crossing is told, as an arm does not carry the load"]
    return [*several, *list_quicker(entry, sides), *describe_open(entry, found)]


def list_quicker(entry: dict, sides: Sequence[str]) -> list[str]:
    """Return at which points each arm is quicker, by `sides`."""
    return [
        f"{words} is quicker at {list_x(at, entry['unit'])}"
        for arm, words in word_arms(entry).items()
        if (at := [point for point, side in zip(entry["points"], sides, strict=True) if side == arm])
    ]


def find_stretch(points: Sequence[dict], i: int) -> list[int]:
    """Return the numbers of the points around i, as far as both arms carry the load; i is one at which they do."""
    return next(each for each in list_stretches(points) if i in each)


def list_stretches(points: Sequence[dict]) -> list[list[int]]:
    """Return the numbers of neighbouring points at which both arms carry the load, a list for each such stretch."""
    stretches: list[list[int]] = [[]]
    for i, point in enumerate(points):
        if point["fails"]:
            stretches.append([])
        else:
            stretches[-1].append(i)
    return [each for each in stretches if each]


def describe_open(entry: dict, found: Sequence[str]) -> list[str]:
    """Return at which points neither arm is quicker, by what they show."""
    parts = []
    for kind, text in (
        (EQUIVALENT, f"equivalent within {MARGIN * 100:.2g} %"),
        (UNDECIDED, "undecided"),
        (UNKNOWN, "no interval"),
    ):
        # Where an arm fails, that is said already.
        judged = zip(entry["points"], found, strict=True)
        if here := [point for point, each in judged if each == kind and not point["fails"]]:
            fewer = " (6 rounds or more are needed)" if kind == UNKNOWN else ""
            parts.append(f"{text} at {list_x(here, entry['unit'])}{fewer}")
    return parts


def describe_spread(entry: dict, by: str) -> str:
    """Return the least and the greatest ratio of the medians, and where only the means tell the arms apart."""
    points = [point for point in entry["points"] if point["ratio"] is not None]
    if not points:
        return ""
    baseline, candidate = entry["placements"]
    ratios = [point["ratio"] for point in points]
    spread = " to ".join(dict.fromkeys(map(significant, (min(ratios), max(ratios)))))
    means = "" if by == "mean" else describe_means(points, entry["unit"], word_arms(entry))
    return f"{candidate}/{baseline} p50 {spread}{means}"


def describe_means(points: Sequence[dict], unit: str, words: dict[str, str]) -> str:
    """Name the points where the median is undecided and the mean is not: a few long waits weigh on it."""
    text = ""
    for arm in words:
        if apart := [point for point in points if judge(point) not in words and judge(point["mean"]) == arm]:
            means = [point["mean"]["ratio"] for point in apart]
            ratios = " to ".join(dict.fromkeys(map(significant, (min(means), max(means)))))
            text += f"; by mean {words[arm]} is quicker at {list_x(apart, unit)}, {ratios}"
    return text


def count_missing(entry: dict) -> str:
    """Return how many of the points that were planned have no data at all; empty if none."""
    lacking = entry["planned"] - len(entry["points"])
    return f"{lacking} of {count(entry['planned'], 'point')} not measured" if lacking > 0 else ""


def count_excluded(points: Sequence[dict]) -> str:
    """Return how many rounds are left out because an arm failed some requests; empty if none."""
    here = [point for point in points if not point["fails"]]
    excluded = sum(point["excluded"] for point in here)
    total = excluded + sum(point["rounds"] for point in here)
    return f"{excluded} of {count(total, 'round')} excluded because of unanswered requests" if excluded else ""


def list_x(points: Sequence[dict], unit: str) -> str:
    """List the x of these points, with commas and their unit: `1, 2 threads`; a single one is `1 thread`."""
    listed = ", ".join(significant(point["x"], 4) for point in points)
    return f"{listed} {unit.removesuffix('s') if listed == '1' else unit}"


def word_arms(entry: dict) -> dict[str, str]:
    """Return BASELINE and CANDIDATE -> what sentences call the placement."""
    return {arm: each["words"] for arm, each in zip((BASELINE, CANDIDATE), entry["placements"].values(), strict=True)}
