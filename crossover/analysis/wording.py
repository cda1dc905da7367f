"""Words for a comparison: how much better one arm is, and the one sentence that a manager could read."""

import re
from collections.abc import Mapping, Sequence
from math import inf

from crossover.analysis.verdict import Comparison

SUBJECTS = {"image": "photographs", "audio": "speech"}
HEADLINE = "p50"
SERVICE = ("mean", "p95", "p99", "goodput")
COSTS = {"client CPU": "less", "server CPU": "less", "bytes": "fewer"}


def sentence(
    comparisons: Sequence[Comparison], workload: str = "", arrivals: str = "", left_out: Sequence[Mapping] = ()
) -> str:
    """The recommendation follows the median, which was chosen before any figure was seen: the best of eight metrics
    looks good by chance far too often. What speaks against it is said, too, what it costs, and which rounds (as
    `report.left_out` gives them) it leaves out."""
    found = {each.metric: each for each in comparisons}
    begin = f"For {SUBJECTS.get(workload, workload) or 'these requests'}{load(arrivals)} on this machine"
    headline = found.get(HEADLINE)
    if headline is None:
        return f"{begin}, no recommendation: nothing {'sound ' * bool(left_out)}was measured{without(left_out, 0)}."
    say = {"client": better, "server": better, "equivalent": alike}.get(headline.kind, open_)
    return f"{begin}, {say(headline, found)}{without(left_out, headline.rounds)}."


def better(headline: Comparison, found: Mapping[str, Comparison]) -> str:
    winner, against = winning(headline), exceptions(found, headline.kind)
    place = f"on the {winner}" if placed(headline) else f"with {winner!r}"
    answer = f"the median answer comes {sooner(headline)}"
    if against:
        return f"it depends: {place} {answer}{costs(found, headline.kind)}; but {against}"
    advice = f"decode {place}" if placed(headline) else f"{winner!r} is better"
    return f"{advice}: {answer}{costs(found, headline.kind)}"


def alike(headline: Comparison, found: Mapping[str, Comparison]) -> str:
    first, second = headline.names
    told = "it does not matter for the median answer where to decode" if placed(headline) else "the median is the same"
    told += f": {second}/{first} is 1 within {percent(headline.margin)} "
    told += f"({sure(headline)} {headline.low:.3g} to {headline.high:.3g})"
    if against := exceptions(found):
        told += f"; but {against}"
    if spent := costs(found, "server"):
        told += f"; {who(headline, second)} does it{spent.removeprefix(',')}"
    return told


def open_(headline: Comparison, found: Mapping[str, Comparison]) -> str:
    first, second = (who(headline, name) for name in headline.names)
    if headline.low is None:
        told = f"no recommendation: {headline.rounds} rounds are not enough data"
    else:
        told = f"no recommendation: the median answer of {second} takes {headline.low:.3g} to {headline.high:.3g} "
        told += f"times as long as that of {first} ({sure(headline)})"
    if headline.more_rounds:
        told += f", and {rounds(headline.more_rounds)} would tell"
    if against := exceptions(found):
        told += f"; {against}"
    if spent := costs(found, "server"):
        told += f"; {second} does it{spent.removeprefix(',')}"
    return told


def without(left_out: Sequence[Mapping], kept: int) -> str:
    """; 2 of 10 rounds are left out, as an arm's data are wrong (errors)"""
    if not left_out:
        return ""
    n, rules = len(left_out), dict.fromkeys(rule for each in left_out for rule in each["rules"])
    are = "is" if n == 1 else "are"
    return f"; {n} of {n + kept} rounds {are} left out, as an arm's data are wrong ({', '.join(rules)})"


def load(arrivals: str) -> str:
    if poisson := re.fullmatch(r"poisson:rate=([\d.e+-]+)", arrivals):
        return f" at {float(poisson[1]):g} requests/s"
    return f" under {arrivals}" if arrivals else ""


def rounds(lacking: int) -> str:
    return f"about {lacking} more round{'s' if lacking > 1 else ''}"


def placed(comparison: Comparison) -> bool:
    return comparison.names == ("client", "server")


def who(comparison: Comparison, name: str) -> str:
    return f"the {name}" if placed(comparison) else repr(name)


def winning(comparison: Comparison) -> str:
    return comparison.names[comparison.kind == "server"]


def exceptions(found: Mapping[str, Comparison], kind: str = "") -> str:
    """The figures of the service by which the other arm is better, or any, if none is given."""
    others = [found[name] for name in SERVICE if name in found and found[name].kind in {"client", "server"} - {kind}]
    return " and ".join(f"by {each.metric} {who(each, winning(each))} is better {by(each)}" for each in others)


def costs(found: Mapping[str, Comparison], kind: str) -> str:
    """What the arm of that kind costs, compared to the other, as far as it is known to differ."""
    told = []
    for name, less in COSTS.items():
        each = found.get(name)
        if each and each.kind in ("client", "server") and each.ratio:
            factor = each.ratio if kind == "server" else 1 / each.ratio
            if factor >= 2:
                told.append(f"{factor:.2g} times the {name}" if factor < 99.5 else f"{factor:.0f} times the {name}")
            else:
                told.append(f"{percent(abs(factor - 1))} {'more' if factor > 1 else less} {name}")
    return f", at {listed(told)}" if told else ""


def listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def sooner(comparison: Comparison) -> str:
    factor, low, high = factors(comparison)
    if factor < 2:
        return by(comparison).removeprefix("by ").replace(" %", " % sooner", 1)
    return f"{factor:.2g} times as soon ({sure(comparison)} {low:.2g} to {high:.2g})"


def by(comparison: Comparison) -> str:
    """How much better the better one is: by a share of what the other takes (of what it achieves, where more is
    better), or by a factor from 2 on."""
    if comparison.low is None:
        return "where the other has none"
    factor, low, high = factors(comparison)
    if factor >= 2:
        return f"by a factor of {factor:.2g} ({sure(comparison)} {low:.2g} to {high:.2g})"
    share, least, most = (x - 1 if comparison.higher_is_better else 1 - 1 / x for x in (factor, low, high))
    return f"by {percent(share)} ({sure(comparison)} {percent(least)[:-2]} to {percent(most)})"


def factors(comparison: Comparison) -> tuple[float, float, float]:
    """Ratio and interval, turned so that more than 1 is in favour of the better."""
    ratio, low, high = comparison.ratio, comparison.low, comparison.high
    if (comparison.kind == "server") == comparison.higher_is_better:
        return ratio, low, high
    return tuple(1 / x if x else inf for x in (ratio, high, low))


def percent(share: float) -> str:
    return f"{share * 100:.2g} %" if share < 0.995 else f"{share * 100:.4g} %"


def sure(comparison: Comparison) -> str:
    return f"{comparison.confidence * 100:g} % CI"
