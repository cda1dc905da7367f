"""VALID or INVALID: the rules by which a measurement is judged, each with its source.

A rule is a function of the summary (of `summary.summarise`), the facts, and the percentile that is to be reported. It
returns None if the measurement keeps it; otherwise what was measured, its limit, and what to change, in words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

from loadgen.samples.early_stopping import required_requests
from loadgen.samples.sample import COMPLETED, DROPPED, STATUSES
from loadgen.samples.steady_state import Run, pool_backlogs


@dataclass(frozen=True)
class Facts:
    """What the judge has to know of a run beside its samples."""

    cpu_share: float | None  # CPU seconds of the client's processes / (wall seconds x its cores); None: not known
    hub_stall: float  # the longest time in seconds that the collection of the samples was late; see `client.loop`
    complete: bool  # False if the run was cut short
    cause: str = ""  # why, in words
    ended: float = 0.0  # seconds from the start of the schedule to the end of the run
    steady: bool = True  # False: the rate is meant to change, as in a ramp, so that latency may rise with it
    closed: bool = False  # no schedule: requests wait for answers, so there is no rate or due time to miss
    due: int | None = None  # arrivals in the schedule; None: not known, or no schedule
    cores: str = ""  # machine and cores of this process: those with the same share their cores
    model: str = ""  # a model that the requests pass, the one of which the next two differ most
    counted: int | None = None  # requests that it ended meanwhile, by the server's statistics; None: not known
    own: int = 0  # requests that it had from this run, those included that an earlier one gave up


@dataclass(frozen=True)
class Finding:
    """A rule that a measurement broke, in words."""

    rule: str
    measured: str
    limit: str
    change: str

    def __str__(self) -> str:
        return f"INVALID: {self.rule}: {self.measured} ({self.limit}); {self.change}"


@dataclass(frozen=True)
class Validity:
    """Whether a measurement is valid: it is if there are no findings."""

    findings: tuple[Finding, ...]

    @property
    def valid(self) -> bool:
        """Whether every rule is kept."""
        return not self.findings

    @property
    def exit_code(self) -> int:
        """A command's exit code: 1 if arrivals have no good answer (as Locust's for failures), 3 for another rule."""
        if any(finding.rule in UNANSWERED for finding in self.findings):
            return 1
        return 3 if self.findings else 0

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "VALID"

    def as_dict(self) -> dict:
        """Return `valid` and `findings` as summary.json holds them."""
        return {"valid": self.valid, "findings": [asdict(finding) for finding in self.findings]}


Violation = tuple[str, str, str] | None  # what was measured, its limit, what to change


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


MAX_GROWTH, MAX_SHARE = 12, 0.05
"""By how many requests the queue may grow at Poisson arrivals, and latency by how many seconds per second of the
schedule; a run breaks the rule if it is above both."""


def check_backlog(summary: Mapping, facts: Facts, percentile: float) -> Violation:
    """Find a server that is offered more than it can answer, by `steady_state.estimate_backlog`.

    The source is Little's law (1961). The rule also judges runs that are too short for the trend's windows. A busy
    queue grows by chance, too, in proportion to (ca² + cs²) / 2 of its arrivals and services (Kingman, 1961): the limit
    is for services that vary as exponential times, and the false alarms of simulated queues are counted in
    tests/samples/test_validity.py. A closed loop is never offered too much; a ramp is meant to, if it leads there.
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
    tests/samples/test_validity.py counts some again.

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


INTERRUPTED = "interrupted"
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
    "too few samples": check_sample_count,
    "latency rises": check_trend,
    "backlog": check_backlog,
}
UNANSWERED = {INTERRUPTED, "books", "errors", "in-flight cap"}
"""The rules that a run breaks if an arrival has no good answer."""


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
