"""The rules that find a server which is offered more than it answers: in one run, and in the rounds of an arm together.

A queue that grows is found by `steady_state`; here stand the limits, and what they cost in false alarms.
"""

from collections.abc import Mapping, Sequence

from loadgen.samples.steady_state import Run, pool_backlogs
from loadgen.samples.verdict import Facts, Finding, Violation

MAX_GROWTH, MAX_SHARE = 12, 0.05
"""By how many requests the queue may grow at Poisson arrivals, and latency by how many seconds per second of the
schedule; a run breaks the rule if it is above both."""


def check_backlog(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find a server that is offered more than it can answer, by `steady_state.estimate_backlog`.

    The source is Little's law (1961). The rule also judges runs that are too short for the trend's windows. A busy
    queue grows by chance, too, in proportion to (ca² + cs²) / 2 of its arrivals and services (Kingman, 1961): the limit
    is for services that vary as exponential times, and the false alarms of simulated queues are counted in
    tests/samples/test_backlog_rules.py. A closed loop is never offered too much; a ramp is meant to, if it leads there.
    """
    growth = summary["backlog"]
    if facts.closed or not facts.steady or not growth:
        return None
    limit = MAX_GROWTH * (1 + max(1, growth["variability"])) / 2
    if growth["requests"] > limit and growth["share"] > MAX_SHARE and growth["errors"] > 3:
        measured = f"grew by {growth['requests']:.0f} requests from the first half to the second, so that answers"
        measured += f" fell behind by {growth['share'] * 1e3:.0f} ms each second"
        change = "lower the rate: more is offered than answered"
        return measured, f"at most {limit:.0f}, or {MAX_SHARE * 1e3:.0f} ms", change
    return None


MAX_GROWTH_TOGETHER, MAX_SHARE_TOGETHER = 4, 0.1
"""The same for the rounds of an arm together: requests at a variability of 1, over the root of the number of rounds."""


def check_backlog_of_rounds(runs: Sequence[Run]) -> Finding | None:
    """Judge whether an arm is offered more than it can answer, by the growth of latency averaged over its rounds.

    `steady_state.pool_backlogs` estimates it. The rounds show together what no single one can: chance becomes smaller
    with the root of their number. Return None if the arm keeps the rule or has too few answers.

    How many of 100 simulated arms are INVALID, with n arrivals expected in each of k rounds (M/M/1: Poisson arrivals,
    exponential services; E4: services that vary half as much; D: constant).
    tests/samples/test_backlog_rules.py counts some again.

        n, k      load   M/M/1   0.7   0.8   0.9   1.2   1.5   M/E4/1   0.7   0.9   1.2   1.5   D/D/1   0.9   1.2
        10, 4              0.2   0.5   2.5    18    45            0.1   4.9    39    74           0.0   100
        10, 20             0.0   0.1   2.4    55    95            0.0   2.7    87   100           0.0   100
        30, 2              0.2   1.8   5.5    40    74            0.1   8.5    63    92           0.0   100
        30, 4              0.1   1.2   6.1    59    92            0.0   5.8    81    99           0.0   100
        30, 20             0.0   0.0   5.8    99   100            0.0   0.0    99   100           0.0   100
        100, 4             0.0   0.1   2.4    89   100            0.0   0.0    93   100           0.0   100
        300, 4             0.0   0.0   0.0    97   100            0.0   0.0    98   100           0.0   100

    A pause of a tenth of one block's schedule is never taken for an overload, nor is an overload below 1.1 found. Of
    bursts as long as a sixth of a block (on-off arrivals) 2 to 4 of 100 healthy arms of two rounds are INVALID at 0.7,
    below 1 from four rounds on.
    """
    growth = pool_backlogs(runs)
    if not growth:
        return None
    limit = MAX_GROWTH_TOGETHER * growth["variability"] / growth["runs"] ** 0.5
    if growth["requests"] <= limit or growth["share"] <= MAX_SHARE_TOGETHER:
        return None
    measured = f"over {growth['runs']} rounds latency grew by {growth['share'] * 1e3:.0f} ms each second, or by"
    measured += f" {growth['requests']:.1f} requests from the first half to the second, beyond what arrivals explain"
    change = "lower the rate: more is offered than answered"
    return Finding("backlog", measured, f"at most {MAX_SHARE_TOGETHER * 1e3:.0f} ms, or {limit:.1f} requests", change)
