"""The tables of `benchmarks.loadgen`: medians over the turns, and ratios turn by turn."""

from collections.abc import Callable
from statistics import median

from benchmarks.perf_analyzer import PERCENTILES

LEGEND = """\
pa      perf_analyzer: --sync has a thread for each request in flight, --async has callbacks
h2load  nghttp2's client, in C, with one connection; where it is installed
rate    answered requests per second
cpu     CPU ms per request of the client process, user and system; with perf_analyzer's start, without ours (imports)
busy    percent of its core that the client needs at that rate, srv: the server with its backend; who is near 100 limits
oth     percent of a core that other processes took meanwhile, in the worst turn: above 5 do not trust the line
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
"""By client; perf_analyzer's begin with `pa`."""


def head(part: str, title: str) -> None:
    print(f"\n{part}: {title}\n{COLUMNS[part]}", flush=True)


def maxima(load: str, runs: Runs) -> str:
    lines = []
    for client, own in runs.items():
        compared = ""
        if not client.startswith("pa "):
            rate, cpu = ratios(own, rivals(runs), max, "rate"), ratios(own, rivals(runs), min, "cpu_ms")
            compared = f"  rate {spread(rate, '.2f')}, cpu {spread(cpu, '.2f')}"
        cpu_ms = median(pick(own, "cpu_ms"))
        lines.append(
            f"{load:<7} {client:<10} {spread(pick(own, 'rate'), '.0f'):>18} {cpu_ms:>7.3f} {busy(own)}{compared}"
        )
    return "\n".join(lines)


def latencies(load: str, runs: Runs) -> str:
    lines = []
    for client, own in runs.items():
        line = f"{load:<7} {client:<10} {median(pick(own, 'rate')):>7.0f} {median(pick(own, 'cpu_ms')):>7.3f}"
        line = f"{line} {others(own):>4.0f} {percentiles(own, 'latency')}"
        if not own[0].get("due"):  # not one of ours
            lines.append(line)
            continue
        each = (spread(ratios(own, rivals(runs), min, "latency", name), ".2f") for name in PERCENTILES)
        lines += [f"{line}       {percentiles(own, 'due')}", f"{'':<7} {'  ratio':<10} {'  '.join(each)}"]
    return "\n".join(lines)


def point(load: str, offered: float, run: Run) -> str:
    cost = f"{run['rate']:>7.0f} {run['cpu_ms']:>7.3f} {busy([run])} {run['rss_mb']:>6.0f}"
    return f"{load:<7} {offered:>8.0f} {cost} {run['latency']['p50']:>7.3f}"


def busy(runs: list[Run]) -> str:
    client, server = (median(pick(runs, "busy", side)) for side in ("client", "server"))
    return f"{client:>5.0f} {server:>4.0f} {others(runs):>4.0f}"


def others(runs: list[Run]) -> float:
    return max(pick(runs, "busy", "others"))


def percentiles(runs: list[Run], kind: str) -> str:
    return " ".join(f"{median(pick(runs, kind, name)):>7.3f}" for name in PERCENTILES)


def spread(values: list[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def pick(runs: list[Run], *path: str) -> list[float]:
    for key in path:
        runs = [run[key] for run in runs]
    return runs


def rivals(runs: Runs) -> list[list[Run]]:
    return [own for client, own in runs.items() if client.startswith("pa ")]


def ratios(ours: list[Run], theirs: list[list[Run]], best: Callable, *path: str) -> list[float]:
    turns = zip(*(pick(runs, *path) for runs in theirs), strict=True)
    return [own / best(turn) for own, turn in zip(pick(ours, *path), turns, strict=True)]
