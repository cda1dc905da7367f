"""One sentence per size: who should decode, held to intervals."""

from collections.abc import Sequence

from benchmarks.gpu.arms import RATIOS
from benchmarks.gpu.reading import Entry, Left
from common.figures import ratio, significant


def advise(left: Left, stage: str, size: str, arms: Sequence[str]) -> str:
    """Return the sentence: who carries most, and who answers soonest, where intervals are apart."""
    return f"**{size}**: {advise_capacity(left, stage, size, arms)}; {advise_latency(left, stage, size, arms)}."


def advise_capacity(left: Left, stage: str, size: str, arms: Sequence[str]) -> str:
    """Return the clause on the highest rates: one arm's range lies above all others', or none does.

    A single search says how closely it looked, and not how well it would be repeated, so it decides nothing.
    """
    names = left.arm_names()
    found = {arm: entry for arm in arms if (entry := left.last(stage, size, arm, "capacity"))}
    if len(found) < 2:
        return "too few capacities were measured to compare"
    best, *others = sorted(found, key=lambda arm: -found[arm]["value"])
    if min(entry["turns"] for entry in found.values()) < 2:
        each = ", ".join(f"{names[arm]} {describe(found[arm])}" for arm in (best, *others))
        return f"of one search each, which decides nothing: {each}"
    carries = f"{names[best]} carries {describe(found[best])}"
    apart = [arm for arm in others if found[best]["low"] > found[arm]["high"]]
    rest = [arm for arm in others if arm not in apart]
    quotients = " and ".join(
        f"{significant(found[best]['value'] / found[arm]['value'])} times {names[arm]}" for arm in apart
    )
    if not rest:
        return f"for the highest rate, {carries}, {quotients}"
    undecided = f"{carries}, not clear of {' and '.join(names[arm] for arm in rest)}"
    return f"{undecided}, but {quotients}" if apart else undecided


def describe(entry: Entry) -> str:
    """Write a rate with its range."""
    return f"{ratio(entry['value'], entry['low'], entry['high'])}/s"


def advise_latency(left: Left, stage: str, size: str, arms: Sequence[str]) -> str:
    """Return the clause on unloaded latency: every pair of arms, quicker, slower, or not told apart."""
    names, clauses = left.arm_names(), []
    for candidate, baseline in [pair for pair in RATIOS if set(pair) <= set(arms)]:
        entry = left.last(stage, size, candidate, f"unloaded ratio to {baseline}")
        if entry is None or entry["low"] is None:
            continue
        clear = entry["low"] > 1 or entry["high"] < 1
        value = ratio(entry["value"], entry["low"], entry["high"])
        verdict = "" if clear else ", which decides nothing"
        clauses.append(f"{names[candidate]} takes {value} times as long as {names[baseline]}{verdict}")
    return "unloaded, " + "; ".join(clauses) if clauses else "unloaded latencies were not compared"
