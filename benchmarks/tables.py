"""The tables of `benchmarks.loadgen`: medians over the turns, and ratios turn by turn.

A run is the dict of figures that `client_process` makes; a figure inside it is named by its path of keys.
"""

from collections.abc import Callable
from statistics import median

from benchmarks.perf_analyzer import PERCENTILES

LEGEND = """\
pa      perf_analyzer: --sync has a thread for each request in flight, --async has callbacks
h2load  nghttp2's client, in C, with one connection; where it is installed
rate    answered requests per second
cpu     CPU ms per request of the client process, user and system; with perf_analyzer's start, without ours (imports)
busy    percent of its core that the client needs at that rate; srv: the server; near 100 it is the bottleneck
oth     percent of a core that other processes took in the worst turn: above 5 do not trust the line
p50 ..  ms from sending to receiving, as perf_analyzer counts it; due: from the due time
ratio   ours over perf_analyzer's better figure, turn by turn: median (lowest-highest)
rss     MB of the client process"""

COLUMNS = {
    "max": f"{'payload':<7} {'client':<10} {'rate':>18} {'cpu':>7} {'busy':>5} {'srv':>4} {'oth':>4}  ratio",
    "latency": " ".join(
        [
            f"{'payload':<7} {'client':<10} {'rate':>7} {'cpu':>7} {'oth':>4}",
            *(f"{name:>7}" for name in PERCENTILES),
            "  due:",
        ]
        + [f"{name:>7}" for name in PERCENTILES]
    ),
    "curve": f"{'payload':<7} {'offered':>8} {'rate':>7} {'cpu':>7} {'busy':>5} {'srv':>4} {'oth':>4}"
    f" {'rss':>6} {'p50':>7}",
    "memory": f"{'minutes':>7} {'requests':>9} {'cpu':>7} {'rss':>6}",
}

Run = dict
Runs = dict[str, list[Run]]
"""Client -> its runs, one per turn; the names of perf_analyzer's begin with `pa`."""


def head(part: str, title: str) -> None:
    """Print the title and the column names of one part's table."""
    print(f"\n{part}: {title}\n{COLUMNS[part]}", flush=True)


def maxima(load: str, runs: Runs) -> str:
    """Return the rows of one payload's maximum rates; ours with the ratios to perf_analyzer's better mode."""
    lines = []
    for client, turns in runs.items():
        compared = ""
        if not client.startswith("pa "):
            rate, cpu = ratios(turns, rivals(runs), max, "rate"), ratios(turns, rivals(runs), min, "cpu_ms")
            compared = f"  rate {spread(rate, '.2f')}, cpu {spread(cpu, '.2f')}"
        cpu_ms = median(pick(turns, "cpu_ms"))
        lines.append(
            f"{load:<7} {client:<10} {spread(pick(turns, 'rate'), '.0f'):>18} {cpu_ms:>7.3f} {busy(turns)}{compared}"
        )
    return "\n".join(lines)


def latencies(load: str, runs: Runs) -> str:
    """Return the rows of one payload's latencies; ours also from the due time, with a row of ratios below."""
    lines = []
    for client, turns in runs.items():
        line = f"{load:<7} {client:<10} {median(pick(turns, 'rate')):>7.0f} {median(pick(turns, 'cpu_ms')):>7.3f}"
        line = f"{line} {others(turns):>4.0f} {percentiles(turns, 'latency')}"
        if not turns[0].get("due"):  # not one of ours
            lines.append(line)
            continue
        each = (spread(ratios(turns, rivals(runs), min, "latency", name), ".2f") for name in PERCENTILES)
        lines += [f"{line}       {percentiles(turns, 'due')}", f"{'':<7} {'  ratio':<10} {'  '.join(each)}"]
    return "\n".join(lines)


def point(load: str, offered: float, run: Run) -> str:
    """Return the row of one point of the curve: rates in requests/s, CPU in ms per request, memory in MB, p50 in ms."""
    cost = f"{run['rate']:>7.0f} {run['cpu_ms']:>7.3f} {busy([run])} {run['rss_mb']:>6.0f}"
    return f"{load:<7} {offered:>8.0f} {cost} {run['latency']['p50']:>7.3f}"


def busy(runs: list[Run]) -> str:
    """Return the columns busy, srv and oth: median percent of a core, the last the worst."""
    client, server = (median(pick(runs, "busy", side)) for side in ("client", "server"))
    return f"{client:>5.0f} {server:>4.0f} {others(runs):>4.0f}"


def others(runs: list[Run]) -> float:
    """Return the percent of a core that other processes took in the worst turn.

    Above 5 the figures of a row are not to be trusted.
    """
    return max(pick(runs, "busy", "others"))


def percentiles(runs: list[Run], kind: str) -> str:
    """Return the median of each percentile in ms; `kind` is "latency" or "due"."""
    return " ".join(f"{median(pick(runs, kind, name)):>7.3f}" for name in PERCENTILES)


def spread(values: list[float], form: str) -> str:
    """Return `median (lowest-highest)`, each number in this format."""
    return f"{median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def pick(runs: list[Run], *path: str) -> list[float]:
    """Return one figure of every run, e.g. `pick(runs, "latency", "p50")`."""
    figures: list = runs
    for key in path:
        figures = [figure[key] for figure in figures]
    return figures


def rivals(runs: Runs) -> list[list[Run]]:
    """Return the runs of perf_analyzer's modes, a list of turns for each mode."""
    return [each for client, each in runs.items() if client.startswith("pa ")]


def ratios(ours: list[Run], theirs: list[list[Run]], best: Callable, *path: str) -> list[float]:
    """Return, turn by turn, our figure over the better one of the others; `best` is min or max, whichever is better."""
    turns = zip(*(pick(runs, *path) for runs in theirs), strict=True)
    return [figure / best(turn) for figure, turn in zip(pick(ours, *path), turns, strict=True)]
