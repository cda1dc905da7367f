"""The tables of a capacity search for the terminal, with a legend that explains the columns that are there.

image: p90 at most 460 ms, Poisson arrivals, 20 turns of 81 requests
arm     rate  95 % interval  over   slow
client   5.9  [5.4, 6.5]      9/22  server
server   5.2  [4.7, 5.7]     10/22  server
ratio server/client: 0.88 [0.79, 0.98]
"""

from collections.abc import Mapping

from common.figures import interval, significant
from crossover.experiments.burst_shapes import bursts
from crossover.experiments.capacity.wording import (
    describe_limit,
    describe_link,
    describe_shares,
    write_ratio,
    write_sentence,
)
from crossover.report.format import P99_NEEDS, bracketed, label_arms
from crossover.report.terminal import Column, colour, draw_table

LEGEND = "Rates are per second, [ ]: 95 % interval, (p99): too few; --explain says more."
RATE = """\
rate         requests per second at which the percentile reaches its limit, in probes that begin with an empty queue
over         probes over the limit, of all
slow         what was slow in those: the server, or the client before it sent anything (of a request over the limit,
             most of the time was spent waiting for a client worker, or the client's cores were used up)"""
LINK = "link         the slow one if most of that time was spent on the way; it has a rate, and adds no distance"
BEHIND = (
    "fell behind  probes in which the client broke a rule of the verdict, as by sending late; they count as they are"
)
RATIO = "ratio        of the rates: undecided if its interval holds 1"
CV = "cv           of the gaps: 0 evenly spaced, 1 Poisson, above 1 bursts; video: 16 cameras, all at the same instant"
FEW = f"(p99)        of fewer than {P99_NEEDS} requests, too few for it"
INVALID = "!            the trial is INVALID; its findings are in its file"

COLUMNS = (
    Column("arm", left=True),
    Column("rate"),
    Column("95 % interval", left=True),
    Column("over"),
    Column("slow", left=True, rank=1),
)
FELL_BEHIND = Column("fell behind", rank=2)


def text(result: Mapping, explain: bool = False) -> str:
    """Write the tables of each workload, then the sentence that sums it up.

    `explain` adds what the columns and marks mean; else a line says where that is found.
    """
    tables = [workload_table(name, found) for name, found in result.items()]
    sentences = [write_sentence(found) for found in result.values() if found["capacity"]]
    return colour("\n\n".join([*tables, *sentences, explain_columns(result) if explain else LEGEND]))


def explain_columns(result: Mapping) -> str:
    """Explain the columns and marks that are in the tables of these workloads, a line or more each; no others."""
    workloads = list(result.values())
    rows = [row for found in workloads for row in found["burstiness"]]
    entries = {
        RATE: any(found["capacity"] for found in workloads),
        LINK: any(found.get("link_mbit") for found in workloads),
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
    labels = label_arms(each["arm"] for each in found["capacity"])
    rows = [
        (
            labels[each["arm"]],
            significant(each["rate"]),
            interval(each["low"], each["high"]) or "-",
            f"{each['over']}/{each['probes']}",
            describe_limit(each),
            *([str(each["client_fell_behind"] or "")] if behind else []),
        )
        for each in found["capacity"]
    ]
    limit = f"p{found['percentile']:g} at most {significant(found['slo_ms'])} ms"
    lines = [
        f"{name}{describe_link(found)}: {limit}, Poisson arrivals, {count_turns(found)}",
        draw_table([*COLUMNS, *([FELL_BEHIND] if behind else [])], rows),
    ]
    for each in found["ratios"]:
        second, first = (each[key].split()[1] for key in ("candidate", "baseline"))
        few = " (too few turns for an interval)" if each["ratio"] and each["low"] is None else ""
        lines.append(f"ratio {second}/{first}: {write_ratio(each)}{few}")
    if best := found.get("best"):
        first, second = (best[key].split()[1] for key in ("arm", "next"))
        lines.append(f"best {first}/{second}, the next: {write_ratio(best)}")
    lines += describe_shares(found)
    return "\n".join([*lines, *list_bursts(found)])


def count_turns(found: Mapping) -> str:
    """Write how many turns were measured, and of how many requests: `20 turns of 81 requests`."""
    if not found["turns"]:
        return "no turn"
    planned = f" of {found['planned_turns']}" if found["turns"] < found["planned_turns"] else ""
    return f"{found['turns']}{planned} turn{'s' * (found['turns'] > 1)} of {found['requests']} requests"


def list_bursts(found: Mapping) -> list[str]:
    """Write a table with a line per arm and load, with the p99 in ms in every shape; none without bursts."""
    names, rows, cells = list(bursts()), found["burstiness"], []
    if not rows:
        return []
    labels = label_arms(row["arm"] for row in rows)
    for arm, load in dict.fromkeys((row["arm"], row["load"]) for row in rows):
        by_shape = {row["arrivals"]: row for row in rows if (row["arm"], row["load"]) == (arm, load)}
        p99 = [bracketed(r["p99"], r["requests"], r["valid"]) if (r := by_shape.get(each)) else "-" for each in names]
        cells.append((labels[arm], f"{load:g}", *p99))
    columns = [Column("p99, ms", left=True), Column("share of rate"), *map(Column, names)]
    return ["", draw_table(columns, cells)]
