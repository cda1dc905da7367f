"""What is said of capacities: no rate and no ratio without its interval, and no winner unless the interval has one.

Rates are requests per second. `found` is a workload of capacity.json, `each` an entry under its `capacity` or `ratios`.
"""

from collections.abc import Mapping

from crossover.experiments.capacity.estimates import BOTH
from crossover.experiments.capacity.search import SLOW_CLIENT, SLOW_SERVER
from crossover.report.format import significant

LIMITS = {SLOW_SERVER: "the server", SLOW_CLIENT: "the client", BOTH: "now the client, now the server"}


def write_sentence(found: Mapping) -> str:
    """Write what each placement carries within the SLO, how the two compare, and what was slow above that.

    `found` is a workload of capacity.json.
    """
    capacities = found["capacity"]
    each_carries = " and ".join(
        f"{describe_capacity(each)} preprocessed by {name_arm(each['arm'], found)}" for each in capacities
    )
    held = f"p{found['percentile']:g} of Poisson arrivals stays within {found['slo_ms']:g} ms"
    text = f"For {found['subject']}, {held} {each_carries}"
    if compared := [describe_comparison(each, found) for each in found["ratios"]]:
        text += f": {'; '.join(compared)}"
    return f"{text}.{describe_limits(found)}"


def name_arm(arm: str, found: Mapping) -> str:
    """Return what a sentence calls an arm: `the client` for `image client async:1`."""
    return found["placements"][arm.split()[1]]["words"]


def describe_capacity(each: Mapping) -> str:
    """Write an arm's capacity with its interval: `up to 5.9 requests/s (95 %: 5.4 to 6.5)`."""
    if each["rate"]:
        interval = describe_interval(each) or "too few turns for an interval"
        return f"up to {'' if each['low'] else 'about '}{significant(each['rate'])} requests/s ({interval})"
    if each["highest_within"] is None:
        return f"not even at {significant(each['lowest_over'])} requests/s, the lowest rate tried,"
    if each["lowest_over"] is None:
        return f"also at {significant(each['highest_within'])} requests/s, the highest rate tried,"
    return "up to an unknown rate (too few probes near the limit)"


def describe_interval(each: Mapping) -> str:
    """Write an interval: `95 %: 5.4 to 6.5`; empty without one."""
    return f"{100 * each['confidence']:.3g} %: {describe_ends(each)}" if each["low"] is not None else ""


def describe_ends(each: Mapping) -> str:
    """Write an interval without its confidence, for a column: `5.4 to 6.5`; empty without one."""
    return f"{significant(each['low'])} to {significant(each['high'])}" if each["low"] is not None else ""


def describe_comparison(each: Mapping, found: Mapping) -> str:
    """Write how two capacities compare: which is larger, if the interval of their ratio says so.

    The larger one is named first, so that the factor is above 1; an undecided ratio is candidate / baseline.
    """
    candidate, baseline = (name_arm(each[key], found) for key in ("candidate", "baseline"))
    if each["ratio"] is None or each["low"] is None:
        return f"too little was measured to compare {candidate} with {baseline}"
    if each["low"] > 1:
        return (
            f"{candidate} carries {significant(each['ratio'])} times as many as {baseline} ({describe_interval(each)})"
        )
    if each["high"] < 1:
        inverse = {"low": 1 / each["high"], "high": 1 / each["low"], "confidence": each["confidence"]}
        times = significant(1 / each["ratio"])
        return f"{baseline} carries {times} times as many as {candidate} ({describe_interval(inverse)})"
    ratio = f"{significant(each['ratio'])} times as many by {candidate}"
    return f"which of them carries more is undecided, {ratio} as by {baseline} ({describe_interval(each)})"


def describe_limit(each: Mapping) -> str:
    """Write what was slow in an arm's probes over the SLO, as a cell of a table."""
    return "–" if each["limited_by"] is None else each["limited_by"]


def describe_limits(found: Mapping) -> str:
    """Write a sentence on what was slow in the probes over the SLO; empty if there were none."""
    limits = [each["limited_by"] for each in found["capacity"] if each["limited_by"]]
    if not limits:
        return ""
    if len(set(limits)) == 1:
        cases = {1: "", 2: " in both cases"}.get(len(limits), " in every case")
        return f" In the probes over that, {LIMITS[limits[0]]} was slow{cases}."
    if len(limits) == len(found["capacity"]) == 2:
        first, second = (LIMITS[each] for each in limits)
        return f" In the probes over that, {first} was slow in the first case, {second} in the second."
    slow = ", ".join(
        f"{LIMITS[each['limited_by']]} with preprocessing by {name_arm(each['arm'], found)}"
        for each in found["capacity"]
        if each["limited_by"]
    )
    return f" In the probes over that, what was slow was: {slow}."
