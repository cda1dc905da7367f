"""What a comparison comes to in sentences: the verdict with its ratios, then what one must know beside it.

A verdict is a word, the ratios with their intervals, and one template. What placements are called comes from their
workload, by way of run.json (`Workload.describe`); arms that are no placements (before, after, a control) go by their
names.
"""

import re
from collections.abc import Mapping, Sequence
from math import isfinite

from common.figures import significant
from crossover.analysis.answer import Answer
from crossover.analysis.estimate import Estimate
from crossover.analysis.loaded_pairs import LoadedPairs
from crossover.analysis.recommendation import BETTER, CHEAPER, EQUIVALENT, Recommendation
from crossover.analysis.verdict import BASELINE, CANDIDATE

TOO_WIDE = "too wide to decide"
WIDE = 4
"""Factor between the limits of an interval that holds 1, above which a ratio is called TOO_WIDE."""

DRAWN = 0.03
"""Share of the rate asked for, by which the one that was drawn may differ before both are named."""

Placements = Mapping[str, Mapping[str, str]]
"""Name -> `words`, what a sentence calls the placement."""


def write_sentence(answer: Answer, names: tuple[str, str], words: Mapping[str, str], about: str) -> str:
    """Write the verdict, with the ratio of latency at the load offered and the one alone.

    `names` are the arms', the baseline's first; `words` is what sentences call each; `about` names what was offered.
    """
    head = f"For {about} on this machine, "
    called = {BASELINE: words[names[0]], CANDIDATE: words[names[1]]}
    loaded = answer.loaded
    if loaded and loaded.overloaded:
        return head + describe_overload(loaded, called)
    if answer.recommendation is None or loaded is None:
        alone = describe_alone(answer, f"; latency {names[1]}/{names[0]} is ")
        return f"{head}undecided: nothing that can be compared was measured at this load{alone}."
    verdict = name_verdict(answer.recommendation, called)
    subject = f"latency {names[1]}/{names[0]}"
    ratio = f"{subject} is {describe_ratio(loaded.ratio, answer.confidence)}"
    ratio += f", adjusted ({significant(loaded.plain.ratio)} unadjusted)," if loaded.adjusted else ""
    ratio = f"{ratio} at this load{describe_bound(answer.recommendation)}"
    return f"{head}{verdict}: {ratio}{describe_alone(answer, ', and ')}."


def name_verdict(found: Recommendation, called: Mapping[str, str]) -> str:
    """Return the verdict's words, which follow the rule of crossover.analysis.recommendation."""
    margin = f"{found.margin * 100:g} %"
    if found.kind == BETTER:
        return f"take {called[found.choice]}, which is quicker by more than {margin}"
    if found.kind == CHEAPER:
        slower = "quicker" if found.quicker == found.choice else f"at most {margin} slower"
        return f"take {called[found.choice]}, which is cheaper and {slower}"
    if found.kind == EQUIVALENT:
        return f"take either, as they differ by at most {margin}"
    quicker = (
        f" whether {called[found.quicker]}, which is quicker, is so by more than {margin}" if found.quicker else ""
    )
    return f"undecided{quicker}"


def describe_bound(found: Recommendation) -> str:
    """Return the one-sided bound that decided, in words, where the two-sided interval alone would not have.

    Empty where both come to the same.
    """
    limit = 1 + found.margin
    upper, lower = f"at most {found.at_most:.3g}", f"at least {found.at_least:.3g}"
    bounds = {
        (BETTER, BASELINE): (found.low <= limit, lower),
        (BETTER, CANDIDATE): (found.high >= 1 / limit, upper),
        (CHEAPER, BASELINE): (found.low < 1 / limit, lower),
        (CHEAPER, CANDIDATE): (found.high > limit, upper),
        (EQUIVALENT, ""): (found.low < 1 / limit or found.high > limit, f"{lower} and {upper}"),
    }
    differs, text = bounds.get((found.kind, found.choice), (False, ""))
    return f" ({text} with 95 % confidence)" if differs else ""


def describe_overload(loaded: LoadedPairs, called: Mapping[str, str]) -> str:
    """Write which arms do not carry the load: their latency would be the survivors'."""
    lost = dict(zip((BASELINE, CANDIDATE), loaded.losses, strict=True))
    named = {arm: f"{called[arm]} ({lost[arm].share * 100:.3g} % of the requests have no good answer)" for arm in lost}
    over = [named[arm] for arm in loaded.overloaded]
    verb = "does" if len(over) == 1 else "do"
    take = doubt = ""
    for arm in called.keys() - loaded.overloaded:
        if lost[arm].are_in_every_trial:
            doubt = f", and {named[arm]} has lost some in every trial, too"
        else:
            take = f"take {called[arm]}: "
    return f"{take}{join(over)} {verb} not carry this load{doubt}; latencies are not compared."


def describe_alone(answer: Answer, before: str) -> str:
    """Return the ratio of unloaded requests in words, after `before`; empty without any."""
    if not answer.unloaded:
        return ""
    ratio, confidence = answer.unloaded.ratio, answer.unloaded_confidence
    return f"{before}{describe_ratio(ratio, confidence)} for one request at a time"


def is_too_wide(estimate: Estimate, confidence: float) -> bool:
    """Return whether the interval spans more than WIDE and holds 1: then the ratio's digits alone would mislead."""
    low, high = estimate.ratios(confidence)
    return isfinite(estimate.error) and low < 1 < high and high > WIDE * low


def describe_ratio(estimate: Estimate, confidence: float) -> str:
    """Return the ratio with its interval; without one, that there are too few data; and of a wide one, that it is."""
    low, high = estimate.ratios(confidence)
    if not isfinite(estimate.error):
        return f"{estimate.ratio:.3g} (too few data for an interval)"
    wide = f" ({TOO_WIDE})" if is_too_wide(estimate, confidence) else ""
    return f"{estimate.ratio:.3g} [{low:.3g}, {high:.3g}]{wide}"


def describe_subject(subject: str, arrivals: str, offered: float) -> str:
    """Return what was offered in words: the rate of a Poisson process, else the specification and the rate.

    `offered` are the requests per second that came: a short Poisson run has other than were asked for, and where they
    differ by more than DRAWN both are named.
    """
    what, rate = subject or "these requests", f"{significant(offered)} requests/s"
    if not (poisson := re.fullmatch(r"poisson:rate=([\d.e+-]+)", arrivals)):
        return f"{what} under {arrivals} ({rate})"
    asked = float(poisson[1])
    return f"{what} at {rate}" + (f" (drawn from {arrivals})" if abs(offered - asked) > DRAWN * asked else "")


def name_arms(names: tuple[str, str], placements: Placements) -> dict[str, str]:
    """Return both arms' names in a sentence: "the client", but "'after'" where they are no two placements."""
    placed = all(name in placements for name in names)
    return {name: placements[name]["words"] if placed else repr(name) for name in names}


def count(n: int, noun: str) -> str:
    """Return "1 round", "2 rounds"."""
    return f"{n} {noun}{'s' * (n != 1)}"


def join(parts: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
