"""The result of a capacity search: capacity.json, its tables, a sentence for each workload, its section.

capacity.json has, for each workload:

- `subject` and `placements`, as in run.json.
- `capacity`, a list with an entry per arm: `rate`, the highest that passed (requests per second, null if none did), its
  `p50`, `p99` and `bound_ms` (what the `percentile` is not above, with 99 % confidence), all in ms, of so many
  `requests`; `slo_ms`; `not`, the lowest rate that did not pass, with `limited_by` (`server` or `client`) and `why`;
  `probes`, all of them in their order.
- `curve`, a list with a point per probe that ran to its end: `arm`, `rate`, `p50`, `p99` in ms, `valid`.
- `burstiness`, a list with a row per arm, load and shape: `load` as a share of the arm's capacity, `arrivals` (the
  shape), `cv` of its gaps, `p50`, `p99` in ms of so many `requests`, `valid`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from crossover.experiments.burst_shapes import bursts
from crossover.experiments.capacity import plots
from crossover.measurement.trial import Trial
from crossover.report.format import P99_NEEDS, bracketed, ms, significant
from crossover.report.html import Section, render
from crossover.report.kind import BROKEN, GOOD, Kind
from loadgen.samples.sample import FAILED

APART = 1.1  # a search ends with its limits 5 % apart, and finds a few per cent more or less when it is run again

LEGEND = """\
rate         the highest that passed, requests per second; not: the lowest that did not
limited by   what was slow at the lowest rate that did not pass: the server, or the client before it sent anything (of a
             request over the SLO, most of the time was spent waiting for a client worker, or the probe was INVALID)
p50, p99     ms from the due time, at the highest rate that passed; (p99): of fewer than 459 requests, too few for it
cv           of the gaps: 0 evenly spaced, 1 Poisson, above 1 bursts; video: 16 cameras, all at the same instant
!            the trial is INVALID; its findings are in its file"""


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> dict:
    """Read capacity.json as the search left it, whatever the trials are.

    It cannot be made from them alone: which probe came next depended on the outcome of the one before. Raises OSError.
    """
    return json.loads((directory / "capacity.json").read_text())


def text(result: dict) -> str:
    """Write the tables of each workload, and what their columns mean, for the terminal."""
    return "\n\n".join([*(workload_table(name, found) for name, found in result.items()), LEGEND])


def sentences(result: dict) -> dict[str, list[str]]:
    """Return workload -> the sentence that sums it up."""
    return {name: [sentence(found)] for name, found in result.items() if found["capacity"]}


def sentence(found: dict) -> str:
    """Return one sentence: how much each placement carries within the limit, and what limits it above that.

    `found` is a workload of capacity.json. Rates less than APART apart are called too close: a search that is run again
    finds a few per cent more or less.
    """
    capacities = found["capacity"]
    words = {name: each["words"] for name, each in found["placements"].items()}
    # An arm is written "image client async:1": its placement is the second word.
    rates = {words[each["arm"].split()[1]]: each["rate"] for each in capacities}
    limit = f"p{capacities[0]['percentile']:g} stays within {capacities[0]['slo_ms']:g} ms (99 % confidence)"
    most = {where: f"up to {rate:.3g} requests/s" if rate else "at no rate tried" for where, rate in rates.items()}
    capacity = " and ".join(f"{text} preprocessed by {where}" for where, text in most.items())
    text = f"For {found['subject']}, {limit} {capacity}"
    if len(rates) == 2 and all(rates.values()):
        more, less = sorted(rates, key=rates.__getitem__, reverse=True)
        factor = rates[more] / rates[less]
        text += f": {factor:.2g} times as many by {more}" if factor >= APART else ": too close to tell them apart"
    ends = [each["limited_by"] for each in capacities if each["limited_by"]]
    if len(ends) == 2 and ends[0] != ends[1]:
        return f"{text}. Above that, the limit is the {ends[0]} in the first case, the {ends[1]} in the second."
    cases = {1: "", 2: " in both cases"}.get(len(ends), " in every case")
    limit = f" Above that, the limit is the {ends[0]}{cases}." if len(set(ends)) == 1 else ""
    return f"{text}.{limit}"


def workload_table(name: str, found: dict) -> str:
    """Return the tables of a workload for the terminal.

    One line per arm with its capacity, one with why it is not more, and one per arm and load with p99 in ms under
    bursts.
    """
    lines = [f"{'arm':<24} {'rate':>7} {'not':>7}  {'limited by':<10} {'p50':>7} {'p99':>9}"]
    for each in found["capacity"]:
        p99 = bracketed(each["p99"], each["requests"])
        lines.append(
            f"{each['arm']:<24} {significant(each['rate']):>7} {significant(each['not']):>7}"
            f"  {each['limited_by'] or '-':<10} {ms(each['p50']):>7} {p99:>9}"
        )
        # Both are the same for every arm.
        slo, percentile = each["slo_ms"], each["percentile"]
    failed = [each for each in found["capacity"] if each["not"]]
    lines += [f"{each['arm']}: at {significant(each['not'])}/s: {each['why']}" for each in failed]
    title = f"{name}: p{percentile:g} at most {slo:g} ms with 99 % confidence, Poisson arrivals" if lines[1:] else name
    names = list(bursts())
    if rows := found["burstiness"]:
        lines += ["", f"{'p99, ms, at a share of':<24} {'load':>5} " + "".join(f"{each:>11}" for each in names)]
    for arm, load in dict.fromkeys((row["arm"], row["load"]) for row in rows):
        by_shape = {row["arrivals"]: row for row in rows if (row["arm"], row["load"]) == (arm, load)}
        cells = [bracketed(r["p99"], r["requests"], r["valid"]) if (r := by_shape.get(each)) else "-" for each in names]
        lines.append(f"{arm:<24} {load:>5g} " + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join([title, *lines])


def sections(run: dict, result: dict, trials: Sequence[Trial]) -> list[Section]:
    """Return the sections of each workload: latency against load, and what bursts do."""
    workloads = [show(name, found) for name, found in result.items()]
    body = render(Path(__file__).with_name("section.html.j2"), workloads=workloads)
    return [Section(body, KIND.title, sentences(result))]


def show(name: str, found: dict) -> dict:
    """Return a workload for the template: its part of capacity.json, with its plots, and its bursts as rows of a table.

    `load` and `plot` are empty where there is nothing to draw.
    """
    rows, placements = found["burstiness"], list(found["placements"])
    # A plot without a point would have no scale.
    known = any(row["p99"] for row in rows)
    return {
        **found,
        "name": name,
        "load": plots.load(found, f"{name}: latency against offered load") if found["curve"] else "",
        "plot": plots.burstiness(rows, placements, f"{name}: p99 in every shape of the arrivals") if known else "",
        "shapes": list(bursts()),
        "bursts": shapes(rows),
    }


def shapes(rows: Sequence[dict]) -> list[dict]:
    """Return a row per arm and load: the trial of each shape, and whether it has too few requests for a p99."""
    table: dict[tuple, dict] = {}
    for row in rows:
        cells = table.setdefault((row["arm"], row["load"]), {})
        cells[row["arrivals"]] = {**row, "few": row["requests"] < P99_NEEDS}
    return [{"arm": arm, "load": load, "cells": cells} for (arm, load), cells in table.items()]


def exit_code(result: dict, trials: Sequence[Trial]) -> int:
    """Return BROKEN if requests failed, which no load explains.

    INVALID probes are results: they say what limits the arm.
    """
    return BROKEN if any(trial.summary["books"][FAILED] for trial in trials) else GOOD


KIND = Kind(
    name="capacity",
    title="Latency against load",
    question="How much can each arm carry, and how does it take bursts?",
    file="capacity.json",
    leaves="samples, capacity.json and report.html",
    fold=fold,
    text=text,
    sections=sections,
    exit_code=exit_code,
    banners=lambda result, trials: [],
    note=lambda trials: Markup(
        "Its folder says what was measured. A probe is given up, and so interrupted, once it cannot pass any more."
    ),
)
