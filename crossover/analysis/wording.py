"""What a comparison comes to in sentences: the verdict with its ratios, then what one must know beside it.

A verdict is a word, the ratios with their intervals, and one template. What placements are called comes from their
workload, by way of run.json (`Workload.describe`); arms that are no placements (before, after, a control) go by their
names.
"""

import re
from collections.abc import Mapping, Sequence
from math import isfinite

from crossover.analysis.answer import Answer
from crossover.analysis.costs import Costs
from crossover.analysis.estimate import Estimate
from crossover.analysis.loaded_pairs import LoadedPairs
from crossover.analysis.recommendation import BETTER, CHEAPER, EQUIVALENT, Recommendation
from crossover.analysis.verdict import BASELINE, CANDIDATE, Comparison

Placements = Mapping[str, Mapping[str, str]]
"""Name -> `words`, what a sentence calls the placement."""
COSTS = ("client CPU", "server CPU", "bytes")
BUSY = 0.7
"""Share of the slower placement's time: above it, short trials that begin with an empty queue show too little."""


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
        alone = f"; {describe_alone(answer, names)}" if answer.unloaded else ""
        return f"{head}undecided: nothing that can be compared was measured at this load{alone}."
    verdict = name_verdict(answer.recommendation, called)
    ratio = f"latency {names[1]}/{names[0]} is {describe_ratio(loaded.ratio, answer.confidence)} at this load"
    ratio += describe_bound(answer.recommendation)
    alone = f", and {describe_alone(answer, names)}" if answer.unloaded else ""
    return f"{head}{verdict}: {ratio}{alone}."


def name_verdict(found: Recommendation, called: Mapping[str, str]) -> str:
    """Return the verdict's words, which follow the rule of crossover.analysis.recommendation."""
    margin = f"{found.margin * 100:g} %"
    if found.kind == BETTER:
        return f"take {called[found.choice]}, which is quicker by more than {margin}"
    if found.kind == CHEAPER:
        return f"take {called[found.choice]}, which is cheaper and at most {margin} slower"
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
    parts = [
        f"{called[arm]} ({lost[arm].share * 100:.3g} % of the requests have no good answer)"
        for arm in loaded.overloaded
    ]
    verb = "does" if len(parts) == 1 else "do"
    better = [called[arm] for arm in called if arm not in loaded.overloaded]
    take = f"take {better[0]}: " if better else ""
    return f"{take}{join(parts)} {verb} not carry this load; latencies are not compared."


def describe_alone(answer: Answer, names: tuple[str, str]) -> str:
    """Return the ratio of unloaded requests, in words."""
    assert answer.unloaded, "there are no unloaded pairs"
    return f"{describe_ratio(answer.unloaded.ratio, answer.confidence)} for one request at a time"


def describe_ratio(estimate: Estimate, confidence: float) -> str:
    """Return the ratio with its interval; without one, that there are too few data."""
    low, high = estimate.ratios(confidence)
    if not isfinite(estimate.error):
        return f"{estimate.ratio:.3g} (too few data for an interval)"
    return f"{estimate.ratio:.3g} [{low:.3g}, {high:.3g}]"


def write_remarks(
    answer: Answer,
    comparisons: Sequence[Comparison],
    names: tuple[str, str],
    words: Mapping[str, str],
    use: float | None,
) -> list[str]:
    """Write what belongs to the verdict: the difference without the shared step, costs, and how far to trust it.

    `use` is the share of its time for which the slower placement is busy at this load, 0 to 1; None: not known.
    """
    return [
        line
        for line in (
            describe_shared_step(answer, words[names[1]]),
            describe_costs(answer.costs, {each.metric: each for each in comparisons}, words[names[1]]),
            describe_load_limit(use),
            describe_repeated(answer.loaded, [words[name] for name in names]),
            describe_trust(answer),
        )
        if line
    ]


def describe_shared_step(answer: Answer, candidate: str) -> str:
    """Write the difference without the shared step in ms and per cent of a whole request; empty without one."""
    left = answer.without_shared_step
    if left is None or not isfinite(left.milliseconds.error):
        return ""
    ms, confidence = left.milliseconds, answer.confidence
    # The whole request of the baseline: what is left and the shared step, whose means are over the same rounds.
    low, high = ms.interval(confidence)
    text = f"Without {join(answer.shared_steps)}, which both share, {candidate} takes {ms.value:+.3g} ms"
    text += f" [{low:+.3g}, {high:+.3g}]"
    if answer.baseline_ms:
        share, *limits = [f"{100 * value / answer.baseline_ms:+.1f}" for value in (ms.value, low, high)]
        text += f", {share} % [{', '.join(limits)}] of a request"
    return f"{text}; preparing on the network's cores also slows the network, which only the whole latency shows."


def describe_costs(costs: Costs | None, by_metric: Mapping[str, Comparison], candidate: str) -> str:
    """Write the candidate's costs as multiples of the baseline's, and what a million requests cost of both."""
    if costs is None:
        return ""
    known = [(name, by_metric[name]) for name in COSTS if name in by_metric and by_metric[name].ratio is not None]
    factors = [f"{each.ratio:.2g} times the {name}" for name, each in known]
    prices = costs.prices
    cpu = f"{prices.client:g} per core-hour"
    if prices.client != prices.server:
        cpu = f"{prices.client:g} (client) and {prices.server:g} (server) per core-hour"
    text = f"{candidate[0].upper()}{candidate[1:]} takes {join(factors)}" if factors else "Costs"
    if not costs.server_known:
        return f"{text}; the server's CPU time is not known, so neither is what a request costs."
    figures = f"{costs.candidate:.3g} instead of {costs.baseline:.3g}"
    return f"{text}: a million requests cost {figures} at {cpu} and {prices.gb:g} per GB (--prices)."


def describe_load_limit(use: float | None) -> str:
    """Write for which load the figures hold."""
    if use is None:
        return ""
    text = (
        f"The figures hold for this load, at which the slower placement is busy for about {use * 100:.0f} % of the time"
    )
    if use > BUSY:
        text += "; trials begin with an empty queue, so that a steady load like this makes the difference larger"
    return f"{text}."


def describe_repeated(loaded: LoadedPairs | None, called: Sequence[str]) -> str:
    """Write which arms lost requests in trials that were measured again; empty without any."""
    parts = [
        f"{each.repeated} of {each.arrivals} requests of {arm}"
        for arm, each in zip(called, loaded.losses if loaded else (), strict=False)
        if each.repeated
    ]
    return f"No good answer came to {join(parts)}, in trials that were then measured again." if parts else ""


def describe_trust(answer: Answer) -> str:
    """Write what limits the trust in the intervals: neighbours, excluded rounds, no adjustment, earlier looks."""
    parts, loaded = [], answer.loaded
    if loaded and not loaded.quiet:
        share = f"{(loaded.others or 0) * 100:.0f} %"
        parts.append(f"the machine was not quiet: other programs used {share} of the server's cores")
    if loaded and loaded.rounds and not loaded.adjusted:
        parts.append(f"the ratio is not adjusted for the machine's speed, as {loaded.why_plain}")
    if loaded and loaded.left_out:
        total = loaded.rounds + loaded.left_out
        parts.append(f"{loaded.left_out} of {count(total, 'round')} left out because of unanswered requests")
    if len(answer.looks) > 1:
        parts.append(f"this is look {len(answer.looks)} at the data, so its intervals are wider")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def describe_subject(subject: str, arrivals: str) -> str:
    """Return what was offered in words: a rate for a Poisson process, else the specification."""
    if poisson := re.fullmatch(r"poisson:rate=([\d.e+-]+)", arrivals):
        return f"{subject or 'these requests'} at {float(poisson[1]):g} requests/s"
    return f"{subject or 'these requests'} under {arrivals}"


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
