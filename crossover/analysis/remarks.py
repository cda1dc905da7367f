"""What one must know beside a verdict, a sentence each: what is not shared, costs, the load, what limits the trust."""

from collections.abc import Mapping, Sequence
from math import isfinite

from common.figures import NOISE, significant
from crossover.analysis.answer import Answer
from crossover.analysis.costs import Costs
from crossover.analysis.loaded_pairs import BUSY as BUSY_CORES
from crossover.analysis.loaded_pairs import LoadedPairs
from crossover.analysis.recommendation import EQUIVALENT
from crossover.analysis.verdict import BASELINE, CANDIDATE, Comparison
from crossover.analysis.wording import count, join

COSTS = {"client CPU": "as much client CPU", "server CPU": "as much server CPU", "bytes": "as many bytes"}
"""Metric -> what is said after a factor, or after "about" where its row is equivalent."""
BUSY = 0.7
"""Share of the slower placement's time: above it, short trials that begin with an empty queue show too little."""


def write_remarks(
    answer: Answer,
    comparisons: Sequence[Comparison],
    names: tuple[str, str],
    words: Mapping[str, str],
    use: float | None,
) -> list[str]:
    """Write what belongs to the verdict: the difference without the shared step, costs, and how far to trust it.

    `use` is the share of its time for which the slower placement is busy at this load, if it answers one request at a
    time; None: not known.
    """
    compared = answer.recommendation or (answer.loaded and answer.loaded.overloaded)
    return [
        line
        for line in (
            describe_shared_step(answer, [words[name] for name in names]),
            describe_costs(answer.costs, {each.metric: each for each in comparisons}, [words[name] for name in names]),
            describe_load_limit(use) if compared else "",
            describe_repeated(answer.loaded, [words[name] for name in names]),
            describe_trust(answer),
        )
        if line
    ]


def describe_shared_step(answer: Answer, called: Sequence[str]) -> str:
    """Write the whole difference in ms, and what it is without the shared step; empty without one.

    `called` is what a sentence calls both arms.
    """
    left = answer.without_shared_step
    if left is None or not isfinite(left.milliseconds.error):
        return ""
    ms, confidence = left.milliseconds, answer.confidence
    low, high = ms.interval(confidence)
    steps, (baseline, candidate) = join(answer.shared_steps), called
    text = f"{ms.value:+.3g} ms [{low:+.3g}, {high:+.3g}] apart from {steps}, which both use"
    if answer.baseline_ms is not None and answer.candidate_ms is not None:
        text = f"{answer.candidate_ms - answer.baseline_ms:+.3g} ms, {text}"
    text = f"On average a request takes with {candidate}, compared with {baseline}, {text}"
    # One placement prepares on the server, and the other does not.
    if any(answer.own_steps) and not all(answer.own_steps):
        text += f". Preparing on the same cores also slows {steps}: only the whole latency includes that"
    return f"{text}."


def describe_costs(costs: Costs | None, by_metric: Mapping[str, Comparison], called: Sequence[str]) -> str:
    """Write the candidate's costs as multiples of the baseline's, and what a million requests cost of both.

    A metric that its row does not decide is left out, as it is named below the table. `called` is what a sentence calls
    both arms.
    """
    if costs is None:
        return ""
    factors = []
    for name, much in COSTS.items():
        if (row := by_metric.get(name)) and row.kind in (BASELINE, CANDIDATE) and row.ratio is not None:
            factors.append(f"{significant(row.ratio)} times {much}")
        elif row and row.kind == EQUIVALENT:
            factors.append(f"about {much}")
    text = f"With {called[1]} a request takes {join(factors)} as with {called[0]}" if factors else "Costs"
    if not costs.server_known:
        return f"{text}; the server's CPU time is not known, so neither is what a request costs."
    prices = costs.prices
    cpu = f"{prices.client:g} per core-hour"
    if prices.client != prices.server:
        cpu = f"{prices.client:g} (client) and {prices.server:g} (server) per core-hour"
    at = f"at {cpu} and {prices.gb:g} per GB (--prices)"
    if max(costs.candidate, costs.baseline) < NOISE:
        return f"{text}; it costs nothing {at}." if factors else ""
    if are_same(costs.candidate, costs.baseline) or ((row := by_metric.get("cost")) and row.kind == EQUIVALENT):
        return f"{text}." if factors else ""
    return f"{text}: a million requests cost {describe_money(costs)}, {at}.{describe_break_even(costs, called)}"


def describe_break_even(costs: Costs, called: Sequence[str]) -> str:
    """Write, after a space, from which price of a GB on the arm with fewer bytes is cheaper; "" if it is not known."""
    if costs.break_even_gb is None or are_same(costs.candidate_traffic, costs.baseline_traffic):
        return ""
    low, high = costs.break_even_gb.interval()
    fewer = called[costs.candidate_traffic < costs.baseline_traffic]
    if not isfinite(high):
        return ""
    if high <= 0:
        return f" At these prices of cores {fewer} costs less whatever a GB costs."
    below = f", and more below {significant(low, 2)}" if low > 0 else ""
    return f" At these prices of cores {fewer} costs less where a GB costs more than {significant(high, 2)}{below}."


def are_same(first: float, second: float) -> bool:
    """Return whether both figures are written the same."""
    return significant(first) == significant(second)


def describe_money(costs: Costs) -> str:
    """Write what both arms cost, and which part of that is traffic: often nearly all. Equal parts are left out."""
    traffic, total = (costs.candidate_traffic, costs.baseline_traffic), (costs.candidate, costs.baseline)
    cpu = [max(0.0, whole - part) for whole, part in zip(total, traffic, strict=True)]
    parts = {"": total, "for bytes": traffic, "for CPU": cpu}
    whole, *rest = (
        f"{significant(first)} instead of {significant(second)} {name}".rstrip()
        for name, (first, second) in parts.items()
        if not are_same(first, second)
    )
    return f"{whole} ({', '.join(rest)})" if rest else whole


def describe_load_limit(use: float | None) -> str:
    """Write for which load the figures hold."""
    if use is None:
        return ""
    busy = f"busy for about {use * 100:.0f} % of the time"
    # More than all of the time: several requests are answered at once, or the load is beyond what it can do.
    if use > 1:
        busy = f"asked for {significant(use, 2)} times what it answers one at a time"
    text = f"The figures hold for this load, at which the slower placement is {busy}"
    text += ", if it answers one request at a time" if use <= 1 else ""
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
    """Write what limits the trust in the intervals: neighbours, excluded rounds and pairs, no adjustment, looks."""
    parts, loaded = [], answer.loaded
    if loaded and not loaded.quiet:
        parts.append(f"the machine was not quiet: {describe_others(loaded.others, loaded.client_others)}")
    if loaded and loaded.rounds and not loaded.adjusted:
        parts.append(f"the ratio is not adjusted for the machine's speed, as {loaded.why_plain}")
    if loaded and loaded.left_out:
        total = loaded.rounds + loaded.left_out
        parts.append(f"{loaded.left_out} of {count(total, 'round')} left out because of unanswered requests")
    if answer.unloaded and answer.unloaded.unanswered:
        total = answer.unloaded.pairs + answer.unloaded.unanswered
        lost = f"{answer.unloaded.unanswered} of {count(total, 'pair')} of single requests"
        parts.append(f"{lost} left out, as not both had a good answer")
    if len(answer.looks) > 1:
        parts.append(f"this is look {len(answer.looks)} at the data, so its intervals are wider")
    elif len(answer.unloaded_looks) > 1:
        parts.append(f"this is look {len(answer.unloaded_looks)} at single requests, so their interval is wider")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def describe_others(server: float | None, client: float | None) -> str:
    """Write which shares of which side's cores other programs used, of those that disturb; None: not known."""
    shares = {"server's": server, "client's": client}
    busy = [f"{each * 100:.0f} % of the {side} cores" for side, each in shares.items() if each and each > BUSY_CORES]
    return f"other programs used {join(busy)}"
