"""The tables of a capacity search for the terminal, with a legend that explains the columns that are there.

image: p90 at most 460 ms, Poisson arrivals, 20 turns of 81 requests
arm                         rate  95 % interval        over  slow
image client async:1         5.9  5.4 to 6.5           9/22  server
image server async:1         5.2  4.7 to 5.7          10/22  server
ratio the server / the client: 0.88 (95 %: 0.79 to 0.98)
"""

from collections.abc import Mapping

from crossover.experiments.burst_shapes import bursts
from crossover.experiments.capacity.wording import describe_ends, describe_interval, describe_limit, name_arm
from crossover.report.format import P99_NEEDS, bracketed, significant

RATE = """\
rate         requests per second at which the percentile reaches its limit, in probes that begin with an empty queue
over         probes over the limit, of all
slow         what was slow in those: the server, or the client before it sent anything (of a request over the limit,
             most of the time was spent waiting for a client worker, or the client's cores were used up)"""
BEHIND = (
    "fell behind  probes in which the client broke a rule of the verdict, as by sending late; they count as they are"
)
RATIO = "ratio        of the rates: undecided if its interval holds 1"
CV = "cv           of the gaps: 0 evenly spaced, 1 Poisson, above 1 bursts; video: 16 cameras, all at the same instant"
FEW = f"(p99)        of fewer than {P99_NEEDS} requests, too few for it"
INVALID = "!            the trial is INVALID; its findings are in its file"


def text(result: Mapping) -> str:
    """Write the tables of each workload, and what their columns mean."""
    return "\n\n".join([*(workload_table(name, found) for name, found in result.items()), write_legend(result)])


def write_legend(result: Mapping) -> str:
    """Explain the columns and marks that are in the tables of these workloads, a line or more each; no others."""
    workloads = list(result.values())
    rows = [row for found in workloads for row in found["burstiness"]]
    entries = {
        RATE: any(found["capacity"] for found in workloads),
        BEHIND: any(each["client_fell_behind"] for found in workloads for each in found["capacity"]),
        RATIO: any(found["ratios"] for found in workloads),
        CV: bool(rows),
        FEW: any(row["requests"] < P99_NEEDS for row in rows),
        INVALID: not all(row["valid"] for row in rows),
    }
    return "\n".join(entry for entry, shown in entries.items() if shown)


def workload_table(name: str, found: Mapping) -> str:
    """Write a line per arm with its capacity, one per ratio, and one per arm and load with p99 in ms under bursts.

    `found` is a workload of capacity.json, `name` its name. A column that says nothing of any arm is left out.
    """
    if not found["capacity"]:
        return f"{name}: nothing was measured"
    behind = any(each["client_fell_behind"] for each in found["capacity"])
    lines = [
        f"{name}: p{found['percentile']:g} at most {found['slo_ms']:g} ms, Poisson arrivals, {count_turns(found)}",
        f"{'arm':<24} {'rate':>7}  {'95 % interval':<16} {'over':>8}  slow  " + "  fell behind" * behind,
    ]
    for each in found["capacity"]:
        over = f"{each['over']}/{each['probes']}"
        cells = f"{significant(each['rate']):>7}  {describe_ends(each) or '-':<16} {over:>8}"
        lines.append(
            f"{each['arm']:<24} {cells}  {describe_limit(each):<6}" + f"{each['client_fell_behind'] or '':>13}" * behind
        )
    for each in found["ratios"]:
        second, first = (name_arm(each[key], found) for key in ("candidate", "baseline"))
        interval = f" ({describe_interval(each) or 'too few turns for an interval'})" if each["ratio"] else ""
        lines.append(f"ratio {second} / {first}: {significant(each['ratio'])}{interval}")
    return "\n".join([*(line.rstrip() for line in lines), *list_bursts(found)])


def count_turns(found: Mapping) -> str:
    """Write how many turns were measured, and of how many requests: `20 turns of 81 requests`."""
    if not found["turns"]:
        return "no turn"
    planned = f" of {found['planned_turns']}" if found["turns"] < found["planned_turns"] else ""
    return f"{found['turns']}{planned} turn{'s' * (found['turns'] > 1)} of {found['requests']} requests"


def list_bursts(found: Mapping) -> list[str]:
    """Write a line per arm and load, with the p99 in ms in every shape; none without bursts."""
    names, rows = list(bursts()), found["burstiness"]
    lines = []
    if rows:
        lines = ["", f"{'p99, ms, at a share of':<24} {'load':>5} " + "".join(f"{each:>11}" for each in names)]
    for arm, load in dict.fromkeys((row["arm"], row["load"]) for row in rows):
        by_shape = {row["arrivals"]: row for row in rows if (row["arm"], row["load"]) == (arm, load)}
        cells = [bracketed(r["p99"], r["requests"], r["valid"]) if (r := by_shape.get(each)) else "-" for each in names]
        lines.append(f"{arm:<24} {load:>5g} " + "".join(f"{cell:>11}" for cell in cells))
    return lines
