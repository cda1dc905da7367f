"""From the probes of a workload to its arms' capacities: what capacity.json says beside the probes themselves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

from crossover.analysis.capacity_pairs import CONFIDENCE, CapacityComparison, CapacityTurn, compare_capacities
from crossover.analysis.estimate import Estimate
from crossover.experiments.capacity.search import SLOW_LINK

MOSTLY = 2 / 3
"""Share of an arm's probes over the SLO in which one side was slow, from which on it counts as the limit."""
FAR_OVER = float("inf")
BOTH = "both"
SEVERAL = "several"
"""What counts as the limit where no side was slow so often: client and server, or a link as well."""


def estimate_capacities(found: Mapping) -> dict:
    """Return `turns`, `capacity`, `ratios`, `best` and `best_share` of a workload of capacity.json.

    They follow from its `arms`, `probes` and `slo_ms`, and are as `result` describes them. An arm without a turn has no
    capacity, and a turn that was cut short is left out.
    """
    probes = {arm: [each for each in found["probes"] if each["arm"] == arm] for arm in found["arms"]}
    in_turns = {arm: [each for each in of_arm if each["turn"] is not None] for arm, of_arm in probes.items()}
    probed = [arm for arm, of_arm in in_turns.items() if of_arm]
    turns = min((len(in_turns[arm]) for arm in probed), default=0)
    estimates: dict[str, Estimate | None] = {}
    ratios, best, best_share = [], None, None
    if turns > 1:
        rows = [read_turn(row) for row in zip(*(in_turns[arm][:turns] for arm in probed), strict=True)]
        compared = compare_capacities(rows, found["slo_ms"])
        # Of two arms `ratios` says it.
        best = find_best(probed, rows, compared, found["slo_ms"]) if len(probed) > 2 else None
        best_share = compare_shares(found, probed, rows)
        estimates = dict(zip(probed, compared.capacities, strict=True))
        # Ratios are to the baseline, unless that carries nothing.
        for arm, ratio in zip(probed[1:], compared.ratios, strict=True):
            interval = describe_estimate(ratio, compared.confidence)
            figures = {"ratio": interval.pop("value"), **interval, "confidence": compared.confidence}
            ratios.append({"baseline": probed[0], "candidate": arm, **figures})
    capacity = [describe_arm(arm, probes[arm], estimates.get(arm)) for arm in found["arms"] if probes[arm]]
    return {"turns": turns, "capacity": capacity, "ratios": ratios, "best": best, "best_share": best_share}


def compare_shares(found: Mapping, arms: Sequence[str], turns: Sequence[CapacityTurn]) -> dict | None:
    """Return `find_best` of the shares that mixed:best stood for; None where it was not asked for."""
    if not found.get("shares"):
        return None
    places = [i for i, arm in enumerate(arms) if arm.split()[1] in found["shares"]["arms"]]
    own = [CapacityTurn(*(tuple(each[i] for i in places) for each in (t.rates, t.percentiles_ms))) for t in turns]
    if len(places) < 2:
        return None
    return find_best([arms[i] for i in places], own, compare_capacities(own, found["slo_ms"]), found["slo_ms"])


def find_best_share(found: Mapping) -> str | None:
    """Return the arm that carries most of those that mixed:best stood for, whatever its interval; None without any."""
    tried = (found.get("shares") or {"arms": ()})["arms"]
    known = [each for each in found["capacity"] if each["arm"].split()[1] in tried and each["rate"]]
    return max(known, key=lambda each: each["rate"])["arm"] if known else None


def find_best(
    arms: Sequence[str], turns: Sequence[CapacityTurn], compared: CapacityComparison, slo_ms: float
) -> dict | None:
    """Return the arm that carries most, and how many times what the `next` one does, of two arms or more.

    The interval holds that ratio whichever two they truly are: it reaches from the lowest of the lower ends of its
    ratios to all others to the lowest of their upper ends. All pairs of arms together have CONFIDENCE (Bonferroni).
    None where an arm has no capacity.
    """
    known = [each.value for each in compared.capacities if each is not None]
    if len(known) < len(arms):
        return None
    first, second, *_ = order = sorted(range(len(arms)), key=lambda i: -known[i])
    reordered = [CapacityTurn(*(tuple(each[i] for i in order) for each in (t.rates, t.percentiles_ms))) for t in turns]
    found = [each for each in compare_capacities(reordered, slo_ms).ratios if each is not None]
    confidence = 1 - (1 - CONFIDENCE) / (len(arms) * (len(arms) - 1) / 2)
    each_over = [describe_estimate(replace(ratio, value=-ratio.value), confidence) for ratio in found]
    lows, highs = ([each[end] for each in each_over if each[end] is not None] for end in ("low", "high"))
    whole = len(lows) == len(each_over)
    low, high = (min(lows), min(highs)) if whole else (None, None)
    ratio = {"ratio": each_over[0]["value"], "low": low, "high": high, "confidence": confidence}
    return {"arm": arms[first], "next": arms[second], **ratio}


def read_turn(probes: Sequence[Mapping]) -> CapacityTurn:
    """Make a turn of one probe of each arm."""
    values = tuple(FAR_OVER if each["ms"] is None else each["ms"] for each in probes)
    return CapacityTurn(tuple(each["rate"] for each in probes), values)


def describe_estimate(estimate: Estimate | None, confidence: float) -> dict:
    """Return a logarithm's estimate as `value`, `low` and `high` of what it is the logarithm of.

    All three are None if there is no estimate, `low` and `high` where the data bear no interval.
    """
    if estimate is None:
        return {"value": None, "low": None, "high": None}
    ends = estimate.ratios(confidence) if isfinite(estimate.error) else (None, None)
    return {"value": estimate.ratio, "low": ends[0], "high": ends[1]}


def describe_arm(arm: str, probes: Sequence[Mapping], estimate: Estimate | None) -> dict:
    """Return an arm's entry under `capacity`, from all of its probes, those before the turns included."""
    interval = describe_estimate(estimate, CONFIDENCE)
    over = [each for each in probes if each["over"]]
    return {
        "arm": arm,
        "rate": interval.pop("value"),
        **interval,
        "confidence": CONFIDENCE,
        "probes": len(probes),
        "over": len(over),
        "limited_by": find_limit([each["slow"] for each in over]),
        "client_fell_behind": sum(bool(each["client_rules"]) for each in probes),
        "lowest_over": min((each["rate"] for each in over), default=None),
        "highest_within": max((each["rate"] for each in probes if not each["over"]), default=None),
    }


def find_limit(slow: Sequence[str]) -> str | None:
    """Return which side was slow in MOSTLY of an arm's probes over the SLO, else BOTH or SEVERAL; None without any."""
    if not slow:
        return None
    [(side, times)] = Counter(slow).most_common(1)
    if times >= MOSTLY * len(slow):
        return side
    return SEVERAL if SLOW_LINK in slow else BOTH
