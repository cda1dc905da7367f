"""Limits of `--fail-if`, such as 'p95>300' or 'image.server.p99>200': what they mean, and which a comparison breaks."""

import operator
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from crossover.cli.options import print_error
from crossover.report.kind import GOOD, WORSE
from loadgen.samples.early_stopping import required_requests

LATENCY = ("mean", "p50", "p90", "p95", "p99", "max")
OTHERS = {"errors": "errors", "rate": "achieved", "client_cpu": "client_cpu_ms", "server_cpu": "server_cpu_ms"}
"""Name in a limit -> in an arm of summary.json. A rate is in answers per second, CPU in ms per request."""
RATIO = "ratio"
"""Candidate / baseline of the latency at this load."""
METRICS = (*LATENCY, *OTHERS, RATIO)
COMPARE = {">": operator.gt, "<": operator.lt}
EXAMPLE = "e.g. 'p95>300' (ms), 'server.p99>200', 'image.errors>0' or 'ratio>1.10'"


@dataclass(frozen=True)
class Limit:
    """A limit that fails a run: of all arms, or of those that `of` names by workload or placement."""

    text: str
    """As it was given."""
    of: tuple[str, ...]
    metric: str
    sign: str
    value: float

    def applies(self, *names: str) -> bool:
        """Return whether it is about what has these names."""
        return set(self.of) <= set(names)

    def describe(self, what: str, value: float | None) -> str:
        """Return why it fails a run, in one line; empty if it does not. An unknown value fails it, too."""
        if value is None:
            return f"{what}: {self.metric} is not known, so --fail-if '{self.text}' fails"
        broken = COMPARE[self.sign](value, self.value)
        return f"{what}: {self.metric} is {value:.4g}, so --fail-if '{self.text}' fails" if broken else ""


def parse(text: str) -> Limit:
    """Read a limit, `[NAME.]METRIC>VALUE` or with `<`. Raises ValueError with one line and an example."""
    match = re.fullmatch(r"\s*((?:[^<>]+\.)?)(\w+)\s*([<>])\s*(\S+)\s*", text)
    if not match:
        raise ValueError(f"--fail-if {text!r} is no limit; {EXAMPLE}")
    of, metric, sign, number = match.groups()
    if metric not in METRICS:
        raise ValueError(f"--fail-if {text!r}: unknown metric {metric!r}; try one of {', '.join(METRICS)}")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not isfinite(value):  # one that no figure reaches would never fail
        raise ValueError(f"--fail-if {text!r}: {number!r} is no number; {EXAMPLE}")
    return Limit(text, tuple(filter(None, of.split("."))), metric, sign, value)


def check(limits: Sequence[Limit], options: Namespace) -> None:
    """Check that every limit is about something that is measured. Raises ValueError with one line."""
    names = {*options.workloads, *(placement for arms in options.arms.values() for placement in arms)}
    for limit in limits:
        if unknown := [name for name in limit.of if name not in names]:
            good = ", ".join(sorted(names))
            raise ValueError(f"--fail-if {limit.text!r}: {unknown[0]!r} is not measured; try one of {good}")


def judge(limits: Sequence[Limit], document: Mapping) -> int:
    """Print a line on standard error for each limit that a comparison breaks. Returns WORSE if there is one.

    `document` has the content of summary.json as `result`, which is None where nothing was measured.
    """
    workloads = (document.get("result") or {}).get("workloads", {})
    broken = [why for limit in limits for why in list_broken(limit, workloads)]
    for why in broken:
        print_error(why)
    return WORSE if broken else GOOD


def list_broken(limit: Limit, workloads: Mapping[str, Mapping]) -> Iterator[str]:
    """Yield a line for each arm, or each workload where it is about the ratio, that breaks a limit."""
    for name, workload in workloads.items():
        if limit.metric == RATIO:
            if limit.applies(name) and (why := limit.describe(name, find_ratio(workload))):
                yield why
            continue
        for arm in workload["arms"]:
            if not limit.applies(name, arm["placement"]):
                continue
            value = arm["latency"][limit.metric] if limit.metric in LATENCY else arm[OTHERS[limit.metric]]
            if why := limit.describe(arm["arm"], value):
                yield why + doubt(limit.metric, arm["books"]["completed"])


def find_ratio(workload: Mapping) -> float | None:
    """Return candidate / baseline of the latency at this load; None if no rounds could be compared."""
    rows = workload["comparisons"]
    return next((row["ratio"] for row in rows if row["metric"].startswith("latency at this load")), None)


def doubt(metric: str, answered: int) -> str:
    """Return a remark where a percentile is of too few requests to be vouched for; else an empty text."""
    needed = required_requests(float(metric[1:])) if re.fullmatch(r"p\d+", metric) else 0
    return f"; of {answered} requests, too few to vouch for it ({needed})" if answered < needed else ""
