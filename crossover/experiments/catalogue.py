"""What the page shows of the longer experiments: each a function of the content of its JSON file."""

from collections.abc import Callable, Sequence

from markupsafe import Markup

from crossover.experiments.burst_shapes import bursts
from crossover.experiments.capacity import result as capacity_result
from crossover.experiments.client_modes import result as client_modes_result
from crossover.experiments.efficiency import result as efficiency_result
from crossover.experiments.sweep import result as sweep_result
from crossover.report import curves
from crossover.report.plots import VARIABLES
from loadgen.arm import PLACEMENTS
from loadgen.samples.early_stopping import required_requests

SENTENCES: dict[str, Callable] = {
    "capacity": capacity_result.sentences,
    "crossover": sweep_result.sentences,
    "efficiency": efficiency_result.sentences,
    "study": client_modes_result.sentences,
}
TITLES = {
    "capacity": "Latency against load",
    "crossover": "Where it turns",
    "efficiency": "The ensemble and its steps",
    "study": "Clients and arrivals",
}
QUESTIONS = {
    "capacity": "How much can each arm carry, and how does it take bursts?",
    "crossover": "Where does the answer change?",
    "efficiency": "Does an ensemble answer as many requests as its steps allow?",
    "study": "Does it matter how the client works, and how the requests arrive?",
}


def capacity(measured: dict) -> list[dict]:
    """Workloads with their plots, and their tables of bursts."""
    return [
        {
            **found,
            "name": name,
            "load": svg(curves.load, found, f"{name}: latency against offered load") if found["curve"] else "",
            "plot": burstiness(name, found["burstiness"]),
            "shapes": list(bursts()),
            "bursts": shapes(found["burstiness"]),
        }
        for name, found in measured.items()
    ]


def burstiness(name: str, rows: Sequence[dict]) -> str:
    known = any(row["p99"] for row in rows)
    return svg(curves.burstiness, rows, f"{name}: p99 in every shape of the arrivals") if known else ""


def shapes(rows: Sequence[dict]) -> list[dict]:
    """A row per arm and load: the block of each shape, and whether it has too few requests to vouch for a p99."""
    found: dict[tuple, dict] = {}
    for row in rows:
        cells = found.setdefault((row["arm"], row["load"]), {})
        cells[row["arrivals"]] = {**row, "few": row["requests"] < required_requests(99)}
    return [{"arm": arm, "load": load, "cells": cells} for (arm, load), cells in found.items()]


def crossover(entries: Sequence[dict]) -> dict[str, list[dict]]:
    """Sweeps with their plots, by workload and network. Those without a point are left out."""
    groups: dict[str, list[dict]] = {}
    for entry in entries:
        if entry["points"]:
            said = f"{entry['workload']}, {entry['network']}: server ÷ client against {entry['sweep']}"
            outcome = sweep_result.capital(sweep_result.outcome(entry))
            shown = {"plot": svg(curves.crossover, entry, said), "told": outcome}
            groups.setdefault(sweep_result.group(entry), []).append({**entry, **shown})
    return groups


def study(result: dict) -> dict:
    """Workloads with a plot per placement, and the colour of each law of arrivals."""
    workloads = [
        {
            **found,
            "name": name,
            "plots": {
                placement: svg(curves.conditions, found, placement, f"{name}: latency of every client, {placement}")
                for placement in PLACEMENTS
                if any(row["placement"] == placement for row in found["conditions"])
            },
            "verdicts": [client_modes_result.verdicts(each, f"p{found['tail']}") for each in found["contrasts"]],
        }
        for name, found in result.get("workloads", {}).items()
    ]
    return {"workloads": workloads, "laws": {law: VARIABLES[colour] for law, colour in curves.COLOURS.items()}}


def svg(plot: Callable, *arguments) -> Markup:
    """Markup is matplotlib's, which escapes the texts in it."""
    return Markup(plot(*arguments))
