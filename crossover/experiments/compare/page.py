"""The sections of a comparison: its answer with the forest plot, latency and where it goes, and what it costs."""

from collections.abc import Sequence
from pathlib import Path

from crossover.analysis import comparison
from crossover.analysis.bootstrap import minimum_rounds
from crossover.analysis.latency_breakdown import list_computing_steps
from crossover.analysis.verdict import BASELINE, CANDIDATE
from crossover.experiments.compare import plots
from crossover.experiments.compare.undecided import advise_on_page
from crossover.measurement.pooled_rules import list_own_findings, list_pooled_rules
from crossover.measurement.trial import Trial
from crossover.report.format import label_arms
from crossover.report.html import Section, render
from crossover.report.plots import limits

HERE = Path(__file__).parent


def sections(run: dict, summary: dict, trials: Sequence[Trial]) -> list[Section]:
    """Return two sections: the answer with its reasons, and what it costs.

    `summary` is the content of summary.json. The sections of other experiments stand between the two.
    """
    found = summary["workloads"]
    workloads = {name: show_workload(name, summary, trials) for name in found}
    arms = [arm for each in found.values() for arm in each["arms"]]
    values = {"workloads": workloads, "labels": label_arms((arm["arm"] for arm in arms), workload=True)}
    gpu = any(arm["gpu_joules"] is not None for arm in arms)
    return [
        Section(render(HERE / "section.html.j2", **values)),
        Section(render(HERE / "costs.html.j2", **values, gpu=gpu), "What it costs"),
    ]


def show_workload(name: str, summary: dict, trials: Sequence[Trial]) -> dict:
    """Return a workload for the template: its part of summary.json with its plots, and what would decide it.

    Stages stand in the order of the arm that has the most of them; an arm without an answer has none.
    """
    found, advice = summary["workloads"][name], advise_on_page(summary, name)
    of_workload = [trial for trial in trials if trial.workload == name]
    answered = any(trial.completed for trial in of_workload)
    arms, placements = [arm for arm in found["arms"] if arm["stages"]], list(found["placements"])
    longest_first = sorted(arms, key=lambda arm: -len(arm["stages"]))
    stages = list(dict.fromkeys(stage for arm in longest_first for stage in arm["stages"]))
    pooled = list_pooled_rules(of_workload)
    return {
        **found,
        "advice": advice,
        "compared": forest(name, found["comparisons"]),
        "others": {mode: forest(f"{name} {mode}", each) for mode, each in found.get("other_modes", {}).items()},
        "invalid": sum(bool(list_own_findings(trial, pooled)) for trial in of_workload),
        "latency": plots.latency(of_workload, placements, f"{name}: latency of each arm") if answered else "",
        "paints": plots.choose_paints(stages),
        "steps": list_computing_steps(stages),
        "columns": label_arms(arm["arm"] for arm in found["arms"]),
        "bars": plots.stages(arms, stages, f"{name}: mean latency of each arm by stage") if arms else "",
    }


def forest(about: str, comparisons: Sequence[dict]) -> dict:
    """Return a forest plot in rows: an interval per metric, on one scale for the service and one for its costs.

    `about` names the comparison in the descriptions of the plots; `comparisons` are those of summary.json.
    """
    first, second = comparisons[0]["names"] if comparisons else (BASELINE, CANDIDATE)
    quotient = f"{second} ÷ {first}"
    # What counts per request is a cost; the service has rates and times.
    shown = [row for row in comparisons if not comparison.folds(row)]
    costs = [row for row in shown if row["unit"].endswith(("/request", "requests"))]
    groups = []
    for rows in ([row for row in shown if row not in costs], costs):
        if rows:
            ends = limits(rows)
            scale = plots.scale(ends, f"{about}: scale of {quotient} for {rows[0]['metric']}")
            groups.append({"rows": [forest_row(about, row, ends, quotient) for row in rows], "scale": scale})
    folded = comparison.name_folded(comparisons)
    return {"groups": groups, "names": (first, second), "quotient": quotient, "folded": folded}


def forest_row(about: str, row: dict, ends: tuple[float, float], quotient: str) -> dict:
    """Make a row: a metric of summary.json with the plot of its interval between `ends`, or why there is none."""
    too_few = row.get("rounds", 0) < minimum_rounds(row.get("confidence", 0.95))
    return {
        **row,
        "tone": row["kind"] if row["kind"] in (BASELINE, CANDIDATE) else "neither",
        "interval": plots.interval(row, ends, f"{about}, {row['metric']}: {quotient}") if row["ratio"] else "",
        "without": "too few rounds" if too_few else "no interval",
    }


def list_uneven_rounds(trials: Sequence[Trial]) -> list[str]:
    """List the rounds in which not every arm was offered the same schedule: `image round 3`."""
    offered: dict[tuple, set] = {}
    for trial in trials:
        offered.setdefault((trial.workload, trial.round), set()).add(trial.schedule)
    return [f"{name} round {number}" for (name, number), schedules in offered.items() if len(schedules) > 1]
