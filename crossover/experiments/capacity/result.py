"""The result of a capacity search: capacity.json, a sentence for each workload, its section.

capacity.json has, for each workload:

- `subject` and `placements`, as in run.json; `arms`, the baseline first; `percentile`, `slo_ms` (what it is held to),
  `requests` of each probe in the turns, `planned_turns`; `link_mbit`, the rate of --link, null without.
- `probes`, all of them in their order: `crossover.experiments.capacity.search.Probe`, times in ms.
- `turns`, how many were measured of all arms.
- `capacity`, a list with an entry per arm: `rate`, at which the percentile reaches the SLO (requests per second), `low`
  and `high` of its interval at `confidence`, null where the data bear none; how many `probes` it had and how many were
  `over` the SLO; `limited_by`, what was slow in those (`server`, `client`, or `both` where neither was in two thirds;
  with --link also `link`, or `several` in place of `both`);
  in how many probes the `client_fell_behind`; `lowest_over` and `highest_within`, rates of probes.
- `ratios`, a list with an entry per arm behind the first: `ratio` of the capacities `candidate` / `baseline`, with
  `low`, `high` and `confidence`; all together hold the truth with 95 % confidence.
- `best`, of three arms or more: `arm`, which carries most, and `ratio` to the `next` one with `low`, `high` and
  `confidence`; null where an arm has no capacity.
- `shares`, where mixed:best was asked for: the `balance` of CPU, and the `arms` that it stood for; else null. Then
  `best_share` is as `best`, of these arms alone; null where one of them has no capacity.
- `burstiness`, a list with a row per arm, load and shape: `load` as a share of the arm's capacity, `arrivals` (the
  shape), `cv` of its gaps, `p50`, `p99` in ms of so many `requests`, `valid`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from common import plain_file
from crossover.analysis.loaded_pairs import BUSY
from crossover.experiments.burst_shapes import bursts
from crossover.experiments.capacity import plots, wording
from crossover.experiments.capacity.estimates import estimate_capacities
from crossover.experiments.capacity.tables import count_turns, text
from crossover.measurement.trial import Trial
from crossover.report.format import P99_NEEDS, label_arms
from crossover.report.html import Section, render
from crossover.report.kind import BROKEN, GOOD, Banners, Kind, warn_of_noise
from loadgen.samples.sample import FAILED


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> dict:
    """Estimate the capacities anew from the probes that capacity.json lists.

    The list cannot be made from the trials alone: which came next depended on the one before. Raises OSError, and
    ValueError for the file of an earlier version, whose search had no turns.
    """
    result = plain_file.read_json(directory / KIND.file)
    if any("probes" not in found for found in result.values()):
        raise ValueError(f"{directory / KIND.file} is of an earlier version, whose search had no turns: measure again")
    return {name: {**found, **estimate_capacities(found)} for name, found in result.items()}


def sentences(result: Mapping) -> dict[str, list[str]]:
    """Return workload -> the sentence that sums it up."""
    return {name: [wording.write_sentence(found)] for name, found in result.items() if found["capacity"]}


def sections(run: dict, result: dict, trials: Sequence[Trial]) -> list[Section]:
    """Return the sections of each workload: latency against load, and what bursts do."""
    workloads = [show(name, found) for name, found in result.items()]
    body = render(Path(__file__).with_name("section.html.j2"), workloads=workloads)
    return [Section(body, KIND.title, sentences(result))]


def show(name: str, found: dict) -> dict:
    """Return a workload for the template: its part of capacity.json, with its plots, and its bursts as rows of a table.

    `load` and `plot` are empty where there is nothing to draw.
    """
    rows, placements, link = found["burstiness"], list(found["placements"]), wording.describe_link(found)
    # A plot without a point would have no scale.
    known = any(row["p99"] for row in rows)
    probed = any(probe["ms"] for probe in found["probes"])
    return {
        **found,
        "name": name,
        "load": plots.load(found, f"{name}{link}: latency against offered load") if probed else "",
        "link": link,
        "hollow": any(probe["ms"] and not probe["valid"] for probe in found["probes"]),
        "measured": count_turns(found),
        "labels": label_arms(found["arms"]),
        "limits": {each["arm"]: wording.describe_limit(each) for each in found["capacity"]},
        "compared": wording.list_comparisons(found),
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


def list_banners(result: Mapping, trials: Sequence[Trial]) -> Banners:
    """List the workloads that were measured beside other programs: these may be what was slow."""
    loud = []
    for name in result:
        measured = [trial for trial in trials if trial.workload == name]
        sides = ([trial.others for trial in measured], [trial.client_others for trial in measured])
        known = [[share for share in side if share is not None] for side in sides]
        if any(side and sum(side) / len(side) > BUSY for side in known):
            loud.append(name)
    return warn_of_noise(loud, "Other programs may be what was slow: stop them and measure again.")


KIND = Kind(
    name="capacity",
    title="Latency against load",
    question="How much can each arm carry, and how does it take bursts?",
    file="capacity.json",
    leaves="samples, capacity.json and report.html",
    fold=fold,
    text=text,
    verdicts=lambda result: [each for found in sentences(result).values() for each in found],
    sections=sections,
    exit_code=exit_code,
    banners=list_banners,
    note=lambda trials: Markup(
        "Its folder says what was measured. A probe is given up, and so interrupted, once it is far over the limit."
    ),
)
