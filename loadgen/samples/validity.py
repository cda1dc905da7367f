"""VALID or INVALID: the rules by which a measurement is judged, each with its source.

A rule is a function of the summary (of `summary.summarise`), the facts, and the percentile that is to be reported. It
returns None if the measurement keeps it; otherwise what was measured, its limit, and what to change, in words.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from loadgen.samples.backlog_rules import check_backlog
from loadgen.samples.early_stopping import required_requests
from loadgen.samples.replica_rule import check_replicas
from loadgen.samples.sample import COMPLETED, DROPPED, STATUSES
from loadgen.samples.verdict import INTERRUPTED, Facts, Finding, Validity, Violation


def check_completeness(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find a run that was cut short: it measured less than its schedule asks for.

    MLPerf Inference rules, LoadGen operation: the generator waits for all queries and errors if any fails to complete.
    """
    if not facts.complete:
        measured = facts.cause or "the run was cut short or a process died"
        return measured, "must run to its end", "start it again and let it finish"
    return None


def check_accounting(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find samples that were lost or doubled: every arrival ends in exactly one status.

    MLPerf LoadGen accounts for each query that it issued, too.
    """
    if facts.due is not None and summary["books"]["scheduled"] != facts.due:
        measured = f"{summary['books']['scheduled']} samples for {facts.due} arrivals"
        return measured, "exactly one each", "keep the run's folder and report this: samples were lost or doubled"
    return None


def check_errors(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find requests that have no good answer, by the same rule of MLPerf as `check_completeness`.

    A failure is often quicker than an answer, so percentiles of the rest say nothing.
    """
    counts = {s: n for s, n in summary["books"].items() if s in STATUSES and s not in (COMPLETED, DROPPED) and n}
    if counts:
        failures = ", ".join(f"{n} {status}" for status, n in counts.items())
        first = next(iter(summary["reasons"]), "no reason given")
        measured = f"{failures} of {summary['books']['scheduled']}, most common reason {first!r}"
        return measured, "none allowed", f"mend the cause or lower the {'rate' if facts.steady else 'peak'}"
    return None


def check_in_flight_cap(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find arrivals that no worker was free to take, which k6 calls "Dropped iterations".

    Above the cap the load is a closed loop, which waits for the server and hides its delays (Schroeder et al., "Open
    Versus Closed: A Cautionary Tale", NSDI'06).
    """
    if dropped := summary["books"][DROPPED]:
        measured = f"{dropped} of {summary['books']['scheduled']} arrivals were never sent"
        return measured, "none allowed", "raise --in-flight-cap or lower the rate"
    return None


def check_offered_rate(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find a client that did not send at the rate of its schedule.

    A result holds for the load that was offered, not for the one asked for. perf_analyzer warns that it "was not able
    to keep up" once more than 1 % of its requests go out late (DELAY_PCT_THRESHOLD); Lancet (ATC'19) starts over when
    the throughput is 10 % off.
    """
    if facts.closed or not summary["offered"]:
        return None
    off = abs(summary["sent_rate"] / summary["offered"] - 1)
    if off > 0.01:
        measured = f"fired {summary['sent_rate']:.4g}/s of {summary['offered']:.4g}/s, {off * 100:.1f} % off"
        return measured, "at most 1 %", "use more client processes or cores, or lower the rate"
    return None


def check_dispatch_lag(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find a client that fires so late that its lag shows in the latencies.

    Treadmill (ISCA'16) names queueing in the client among the pitfalls of load testers: counted from the due time, as
    wrk2 and MLPerf count, the client's lag becomes the server's latency. The limits are ours: a client that is not
    busy fires well within 1 ms, and 2 % of the median is less than a comparison can tell apart.
    """
    lag, limit = summary["dispatch_lag"]["p99"], max(1, 0.02 * (summary["latency"]["p50"] or 0))
    if not facts.closed and lag is not None and lag > limit:
        change = "use more client processes or a core of the client's own, or lower the rate"
        return f"p99 {lag:.2f} ms", f"at most {limit:.2f} ms, the larger of 1 ms and 2 % of p50", change
    return None


def check_cpu(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find a client whose cores are used up.

    Above the same share Locust warns that "this may constrain your throughput and may even give inconsistent response
    time measurements" (CPU_WARNING_THRESHOLD = 90).
    """
    if facts.cpu_share is not None and facts.cpu_share > 0.9:
        return f"used {facts.cpu_share * 100:.0f} % of its cores", "at most 90 %", "give the client more cores"
    return None


def check_hub_stall(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find an event loop that stood still, which something kept from running.

    The pacer and the workers are threads of their own, so a blocked event loop delays no request by itself. One that
    stands still for five times what gevent's monitor reports (max_blocking_time = 0.1) has been kept from its core, or
    keeps others from the interpreter: whatever it was, it may have delayed requests, too. Outside Locust the thread
    that collects the samples takes the event loop's place.
    """
    if facts.hub_stall > 0.5:
        change = "keep work off the client's event loop and other programs off its cores"
        return f"the event loop stood still for {facts.hub_stall * 1e3:.0f} ms", "at most 500 ms", change
    return None


MAX_FOREIGN, MAX_FOREIGN_SHARE = 2, 0.05
"""Foreign requests, and their share of the run's own; a run breaks the rule above both."""


def check_foreign_requests(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find other clients' requests to the models that are measured: their load was not asked for.

    Triton's statistics extension counts the requests of everybody. The limits are ours: a health check asks once in a
    while, and a request that ends while the statistics are read is counted with those of the next run.
    """
    if facts.counted is None:
        return None
    foreign = facts.counted - facts.own
    if foreign > max(MAX_FOREIGN, MAX_FOREIGN_SHARE * facts.own):
        measured = f"the server counted {facts.counted} requests to {facts.model}, and this client sent {facts.own}"
        limit = f"at most {MAX_FOREIGN} more, or {MAX_FOREIGN_SHARE * 100:g} %"
        return measured, limit, "keep other clients from the server and measure again"
    return None


def check_sample_count(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find a run with too few answers for the percentile that is to be reported.

    MLPerf LoadGen's early stopping (early_stopping.cc): with fewer requests no latency limit can be shown to hold for
    the percentile with 99 % confidence, not even if none was over it.
    """
    n, enough = summary["books"][COMPLETED], required_requests(percentile)
    if n < enough:
        measured = f"p{percentile:g} of {n} completed requests"
        return measured, f"at least {enough}", "run longer or report a lower percentile"
    return None


def check_trend(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find latencies that rise: without a steady state there is no percentile.

    Lancet (ATC'19) tests latencies for stationarity, perf_analyzer wants its last windows within 10 %
    (--stability-percentage), here the growth that matters. The test is Mann and Kendall's (1945, 1948), at p < 0.001
    since windows of a busy queue are still somewhat alike: the false alarms of simulated steady queues are counted in
    tests/samples/test_validity.py. Where the rate is meant to change, there is no steady state to be had.
    """
    trend = summary["trend"]
    if facts.steady and trend and trend["p"] < 0.001 and trend["growth"] > 0.1:
        measured = f"by {trend['growth'] * 100:.0f} % of the median, tau {trend['tau']:.2f}, p {trend['p']:.1g}"
        change = "lower the rate: the queue grows; if it should not, warm up first or run longer"
        return measured, "at most 10 %, or p at least 0.001", change
    return None


RULES = {
    INTERRUPTED: check_completeness,
    "books": check_accounting,
    "errors": check_errors,
    "in-flight cap": check_in_flight_cap,
    "offered rate": check_offered_rate,
    "dispatch lag": check_dispatch_lag,
    "client CPU": check_cpu,
    "hub stall": check_hub_stall,
    "foreign requests": check_foreign_requests,
    "replicas": check_replicas,
    "too few samples": check_sample_count,
    "latency rises": check_trend,
    "backlog": check_backlog,
}


def judge(
    summary: Mapping, facts: Facts, percentile: float = 99, remedies: Mapping[str, str] = MappingProxyType({})
) -> Validity:
    """Apply every rule to one summary; `percentile` is the highest one that is to be reported.

    `remedies`, by rule, say what to change where that is not what users of Locust can do. A run that was cut short
    breaks one rule: what else it lacks follows from that.
    """
    rules = RULES.items() if facts.complete else [(INTERRUPTED, check_completeness)]
    violations = ((name, rule(summary, facts, percentile)) for name, rule in rules)
    found = (Finding(name, *violation) for name, violation in violations if violation)
    return Validity(tuple(replace(each, change=remedies.get(each.rule, each.change)) for each in found))
