"""What is said of capacities: no rate and no ratio without its interval, and no winner unless the interval has one.

Rates are requests per second. `found` is a workload of capacity.json, `each` an entry under its `capacity` or `ratios`.
"""

from collections.abc import Mapping

from common.figures import interval, ratio, significant
from crossover.experiments.capacity.estimates import BOTH, SEVERAL, find_best_share
from crossover.experiments.capacity.search import SLOW_CLIENT, SLOW_LINK, SLOW_SERVER

LIMITS = {
    SLOW_SERVER: "the server",
    SLOW_CLIENT: "the client",
    BOTH: "now the client, now the server",
    SLOW_LINK: "the link",
    SEVERAL: "now the link, now one of its ends",
}


MANY = 3
"""Arms of which a sentence has each; of more it has the best, and the table has all."""


def write_sentence(found: Mapping) -> str:
    """Write what each placement carries within the SLO, how they compare, and what was slow above that.

    `found` is a workload of capacity.json. Of more than MANY arms only the best is written about.
    """
    capacities = found["capacity"]
    if len(capacities) > MANY and (best := found.get("best")):
        capacities = [each for each in capacities if each["arm"] == best["arm"]]
    each_carries = " and ".join(
        f"{describe_capacity(each)} preprocessed by {name_arm(each['arm'], found)}" for each in capacities
    )
    held = f"p{found['percentile']:g} of Poisson arrivals stays within {significant(found['slo_ms'])} ms"
    text = f"For {found['subject']}{describe_link(found)}, {held} {each_carries}"
    whole = len(capacities) == len(found["capacity"])
    compared = list_comparisons(found) if whole else [*describe_best(found), *describe_shares(found)]
    if compared:
        text += f": {'; '.join(compared)}"
    return f"{text}.{describe_limits({**found, 'capacity': capacities})}"


def describe_link(found: Mapping) -> str:
    """Write which link lies between client and server: ` over a link of 20 Mbit/s`; empty without --link."""
    return f" over a link of {found['link_mbit']:g} Mbit/s" if found.get("link_mbit") else ""


def name_arm(arm: str, found: Mapping) -> str:
    """Return what a sentence calls an arm: `the client` for `image client async:1`."""
    return found["placements"][arm.split()[1]]["words"]


def describe_capacity(each: Mapping) -> str:
    """Write an arm's capacity with its interval: `up to 5.9 [5.4, 6.5] requests/s`."""
    if each["rate"]:
        if limits := interval(each["low"], each["high"]):
            return f"up to {significant(each['rate'])} {limits} requests/s"
        return f"up to about {significant(each['rate'])} requests/s (too few turns for an interval)"
    if each["highest_within"] is None:
        return f"not even at {significant(each['lowest_over'])} requests/s, the lowest rate tried,"
    if each["lowest_over"] is None:
        return f"also at {significant(each['highest_within'])} requests/s, the highest rate tried,"
    return "up to an unknown rate (too few probes near the limit)"


def write_ratio(each: Mapping) -> str:
    """Write a ratio of two capacities with its interval: `0.88 [0.79, 0.98]`."""
    return ratio(each["ratio"], each["low"], each["high"])


def describe_comparison(each: Mapping, found: Mapping) -> str:
    """Write how two capacities compare: which is larger, if the interval of their ratio says so.

    The ratio is candidate / baseline, whichever is larger, as in the tables.
    """
    candidate, baseline = (name_arm(each[key], found) for key in ("candidate", "baseline"))
    if each["ratio"] is None or each["low"] is None:
        return f"too little was measured to compare {candidate} with {baseline}"
    names = "/".join(each[key].split()[1] for key in ("candidate", "baseline"))
    compared = f"{names} is {write_ratio(each)}"
    if each["low"] > 1:
        return f"{candidate} carries more than {baseline}, {compared}"
    if each["high"] < 1:
        return f"{baseline} carries more than {candidate}, {compared}"
    return f"which of them carries more is undecided, {compared}"


def list_comparisons(found: Mapping) -> list[str]:
    """Write how the capacities compare: each with the baseline's, then of three or more the best with the next one."""
    compared = (describe_comparison(each, found) for each in found["ratios"])
    return [*compared, *describe_best(found), *describe_shares(found)]


def describe_best(found: Mapping) -> list[str]:
    """Write how much more the best of three arms or more carries than the next one; nothing where that is not known."""
    if not (best := found.get("best")):
        return []
    first, second = (name_arm(best[key], found) for key in ("arm", "next"))
    if best["low"] is not None and best["low"] <= 1:
        names = "/".join(best[key].split()[1] for key in ("arm", "next"))
        return [f"which carries most is undecided, {names} is {write_ratio(best)}"]
    few = " (too few turns for an interval)" if best["low"] is None else ""
    return [f"the most is carried by {first}, {write_ratio(best)} times what {second} carries{few}"]


def describe_shares(found: Mapping) -> list[str]:
    """Write which share carries most, of those that mixed:best stood for; nothing where it was not asked for."""
    if not (shares := found.get("shares")) or not (arm := find_best_share(found)):
        return []
    tried = ", ".join(each.partition(":")[2] for each in shares["arms"])
    text = f"of the shares {tried} (balance {shares['balance']:g}) {arm.split()[1]} carries most"
    if not (best := found.get("best_share")) or best["low"] is None:
        return [f"{text}, without an interval"]
    undecided = "" if best["low"] > 1 else ", which is undecided"
    return [f"{text}, {write_ratio(best)} times what {best['next'].split()[1]} does{undecided}"]


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
