"""What an arm carries: the figures of capacity.json, their tables, and a sentence for each workload."""

import json
from collections.abc import Sequence
from pathlib import Path

from crossover.analysis.wording import SUBJECTS
from crossover.experiments.burst_shapes import bursts
from crossover.experiments.compare import tables
from crossover.measurement.trial import Block
from loadgen.samples.early_stopping import required_requests

APART = 1.1  # a search ends with its limits 5 % apart, and finds a few per cent more or less when it is run again

LEGEND = """\
rate         the highest that passed, requests per second; not: the lowest that did not
limited by   what was slow at the lowest rate that did not pass: the server, or the client before it sent anything (of a
             request over the SLO, most of the time was spent waiting for a client worker, or the probe was INVALID)
p50, p99     ms from the due time, at the highest rate that passed; (p99): of fewer than 459 requests, too few for it
cv           of the gaps: 0 evenly spaced, 1 Poisson, above 1 bursts; video: 16 cameras, all at the same instant
!            the block is INVALID; its findings are in its file"""


def fold(directory: Path, run: dict, measured: Sequence[Block]) -> dict:
    """capacity.json, as the search left it: which probe came next depended on what the one before came to."""
    return json.loads((directory / "capacity.json").read_text())


def text(result: dict) -> str:
    """As printed: the tables of each workload, and what their columns mean."""
    return "\n\n".join([*(of_workload(name, found) for name, found in result.items()), LEGEND])


def sentences(result: dict) -> dict[str, list[str]]:
    """What it comes to, by headings."""
    return {name: [sentence(name, found["capacity"])] for name, found in result.items() if found["capacity"]}


def sentence(name: str, capacities: Sequence[dict]) -> str:
    """Who carries how much within which limit, and what gives out beyond it."""
    first, rates = capacities[0], {}
    for each in capacities:
        rates[each["arm"].split()[1]] = each["rate"]
    limit = f"p{first['percentile']:g} stays within {first['slo_ms']:g} ms (99 % confidence)"
    most = {where: f"up to {rate:.3g} requests/s" if rate else "at no rate tried" for where, rate in rates.items()}
    carried = " and ".join(f"{said} with decoding on the {where}" for where, said in most.items())
    told = f"For {SUBJECTS[name]}, {limit} {carried}"
    if len(rates) == 2 and all(rates.values()):
        more, less = sorted(rates, key=rates.get, reverse=True)
        factor = rates[more] / rates[less]
        told += f": {factor:.2g} times as many on the {more}" if factor >= APART else ": too close to tell them apart"
    ends = [each["limited_by"] for each in capacities if each["limited_by"]]
    if len(ends) == 2 and ends[0] != ends[1]:
        return f"{told}. Beyond, the {ends[0]} gives out in the first case, the {ends[1]} in the second."
    return f"{told}." + (f" Beyond, the {ends[0]} gives out{' in both cases' * (len(ends) == 2)}." if ends else "")


def of_workload(name: str, found: dict) -> str:
    lines = [f"{'arm':<24} {'rate':>7} {'not':>7}  {'limited by':<10} {'p50':>7} {'p99':>9}"]
    for each in found["capacity"]:
        p99 = bracketed(each["p99"], each["requests"])
        lines.append(
            f"{each['arm']:<24} {number(each['rate']):>7} {number(each['not']):>7}  {each['limited_by'] or '-':<10}"
            f" {tables.ms(each['p50']):>7} {p99:>9}"
        )
        slo, percentile = each["slo_ms"], each["percentile"]
    lines += [f"{each['arm']}: at {number(each['not'])}/s: {each['why']}" for each in found["capacity"] if each["not"]]
    title = f"{name}: p{percentile:g} at most {slo:g} ms with 99 % confidence, Poisson arrivals" if lines[1:] else name
    names = list(bursts())
    if rows := found["burstiness"]:
        lines += ["", f"{'p99, ms, at a share of':<24} {'load':>5} " + "".join(f"{each:>11}" for each in names)]
    for arm, load in dict.fromkeys((row["arm"], row["load"]) for row in rows):
        own = {row["arrivals"]: row for row in rows if (row["arm"], row["load"]) == (arm, load)}
        cells = [bracketed(r["p99"], r["requests"], r["valid"]) if (r := own.get(each)) else "-" for each in names]
        lines.append(f"{arm:<24} {load:>5g} " + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join([title, *lines])


def bracketed(p99: float | None, requests: int, valid: bool = True) -> str:
    said = tables.ms(p99) if requests >= required_requests(99) else f"({tables.ms(p99)})"
    return said + ("" if valid else "!")


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
