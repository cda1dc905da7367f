"""One sentence for a comparison: the verdict, the ratio with its interval, the costs, and what speaks against it.

The verdict follows the median, which was chosen before any figure was seen: the best of eight metrics looks good by
chance far too often. What placements are called in it comes from their workload, by way of run.json
(`Workload.describe`); arms that are no placements (before, after, a control) go by their names.
"""

import re
from collections.abc import Mapping, Sequence

from crossover.analysis.verdict import BASELINE, CANDIDATE, Comparison

Placements = Mapping[str, Mapping[str, str]]
"""Name -> `words`, what a sentence calls the placement."""
HEADLINE = "p50"
SERVICE = ("mean", "p95", "p99", "goodput")
"""Metrics of the service that are named where they contradict the headline."""
COSTS = ("client CPU", "server CPU", "bytes")


def write_sentence(
    comparisons: Sequence[Comparison],
    subject: str = "",
    arrivals: str = "",
    left_out: Sequence[Mapping] = (),
    placements: Placements | None = None,
) -> str:
    """Write the recommendation that follows from one comparison of two arms.

    `subject` and `arrivals` (a specification such as `poisson:rate=20`) name what was offered; `left_out` holds a
    mapping with the rules broken (`rules`) for each round that the comparison excludes; `placements` are the
    workload's, as run.json describes them.
    """
    by_metric = {each.metric: each for each in comparisons}
    headline = by_metric.get(HEADLINE)
    about = f"For {subject or 'these requests'}{describe_load(arrivals)} on this machine"
    if headline is None:
        return f"{about}, undecided: nothing {'valid ' * bool(left_out)}was measured{describe_excluded(left_out, 0)}."
    # The ratio is the second arm over the first, and is named in that order.
    second, first = reversed(headline.names)
    words = name_arms(headline.names, placements or {})
    return (
        f"{about}, {name_winner(headline, words)}: {HEADLINE} {second}/{first} is {describe_ratio(headline)}"
        f"{list_costs(by_metric, words)}{list_exceptions(by_metric, words)}"
        f"{describe_excluded(left_out, headline.rounds)}."
    )


def name_winner(headline: Comparison, words: Mapping[str, str]) -> str:
    """Return the verdict's word, with the better arm if there is one."""
    if headline.kind in (BASELINE, CANDIDATE):
        return f"{words[headline.better]} is better"
    return "both are equivalent" if headline.kind == "equivalent" else "undecided"


def describe_ratio(comparison: Comparison) -> str:
    """Return the ratio with its interval, and how many more rounds are needed where that is known."""
    ratio = "unknown" if comparison.ratio is None else f"{comparison.ratio:.3g}"
    if comparison.low is None or comparison.high is None:
        ratio += f" over {count(comparison.rounds, 'round')}, too few for an interval"
    else:
        ratio += f" [{comparison.low:.3g}, {comparison.high:.3g}] ({comparison.confidence * 100:g} % interval)"
    if comparison.more_rounds:
        ratio += f"; {count(comparison.more_rounds, 'more round')} may decide it"
    return ratio


def list_costs(by_metric: Mapping[str, Comparison], words: Mapping[str, str]) -> str:
    """Return what the better arm costs as multiples of the other's costs; the second arm's where neither is better."""
    headline = by_metric[HEADLINE]
    first_is_better = headline.kind == BASELINE
    # Only costs that differ beyond doubt are named.
    factors = [
        f"{1 / each.ratio if first_is_better else each.ratio:.2g} times the {name}"
        for name in COSTS
        if (each := by_metric.get(name)) and each.kind in (BASELINE, CANDIDATE) and each.ratio
    ]
    return f"; {words[headline.names[not first_is_better]]} takes {join(factors)}" if factors else ""


def list_exceptions(by_metric: Mapping[str, Comparison], words: Mapping[str, str]) -> str:
    """Return the metrics of the service by which another arm is better than by the headline, with their ratios."""
    headline = by_metric[HEADLINE]
    contrary = [by_metric[name] for name in SERVICE if name in by_metric]
    # A metric that is undecided or equivalent does not contradict the headline.
    contrary = [each for each in contrary if each.kind in {BASELINE, CANDIDATE} - {headline.kind}]
    return "".join(
        f"; but {words[each.better]} is better by {each.metric}, {describe_ratio(each)}" for each in contrary
    )


def describe_excluded(left_out: Sequence[Mapping], compared: int) -> str:
    """Return how many rounds are excluded and why; empty if none is. `compared` counts the others."""
    if not left_out:
        return ""
    rules = dict.fromkeys(rule for each in left_out for rule in each["rules"])
    total = len(left_out) + compared
    return f"; {len(left_out)} of {count(total, 'round')} excluded because of unanswered requests ({', '.join(rules)})"


def describe_load(arrivals: str) -> str:
    """Return the offered load in words: a rate for a Poisson process, else the specification."""
    if poisson := re.fullmatch(r"poisson:rate=([\d.e+-]+)", arrivals):
        return f" at {float(poisson[1]):g} requests/s"
    return f" under {arrivals}" if arrivals else ""


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
