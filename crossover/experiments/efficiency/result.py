"""The result of an ensemble beside its steps: the bound that they set, how much of it is reached, table and section.

efficiency.json has, for each workload, its `subject`, `ensemble` (its model), `ensemble_rate` (answers per second),
`ensemble_cpu_seconds_per_request`, `busy` and `others` (shares of the server's cores, 0 to 1); `steps`, by model, with
the same of each step alone and its `mean_batch`; `mean_batch` of each step in the ensemble; `bound` per second,
`bound_by` (`cpu` or a step), `efficiency` (ensemble_rate / bound), its `range` over the repetitions, and `carrying`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from crossover.measurement.trial import Trial
from crossover.report.html import Section, render
from crossover.report.kind import Kind

LEGEND = """\
rate       answers per second to 8 clients that never pause
cpu        CPU ms per request of the server with its backends, HTTP included
busy       share of the server's cores that this CPU time is
others     share of them that went elsewhere meanwhile: to other programs, and to the kernel's own work for this server,
           as for its packets, which no process is charged with. Where it is not small, rate and efficiency mean little
batch      mean batch of the step alone -> in the ensemble
bound      min(slowest step's rate, cores / sum of the steps' cpu); efficiency is the ensemble's rate divided by it,
           from medians; in brackets the range of the repetitions
carrying   sum of the steps' cpu divided by the ensemble's: above 1 where HTTP between steps would cost more than it.
           It equals the efficiency only where CPU is the bound and busy and others make up 100 %: then nothing waits"""


@dataclass(frozen=True)
class StageFigures:
    """The figures of an ensemble, or of a step alone, from one repetition or as the median of all."""

    rate: float
    """Answers per second."""
    cpu: float
    """CPU seconds of the server per request."""
    busy: float
    """Share of the server's cores that this is, 0 to 1."""
    others: float
    """Share of them that went to other programs and to the kernel."""
    batches: dict[str, float]
    """Step -> its mean batch."""


def summarise(repetitions: dict[str, list[StageFigures]], cores: int) -> dict:
    """Return an ensemble's entry in efficiency.json: its efficiency from medians, and the range over repetitions.

    `repetitions` are of the ensemble, which comes first, and of each of its steps; `cores` is the server's number.
    """
    (name, ensemble), *steps = repetitions.items()
    # A repetition measures all stages one after the other: what else the machine does hits them alike.
    rounds = [dict(zip(repetitions, each, strict=True)) for each in zip(*repetitions.values(), strict=True)]
    single = [compare_with_bound(each, cores)["efficiency"] for each in rounds]
    return {
        "ensemble": name,
        **compare_with_bound({stage: take_median(each) for stage, each in repetitions.items()}, cores),
        "range": [min(single), max(single)],
        "mean_batch": {step: take_median(ensemble).batches[step] for step, _ in steps},
    }


def compare_with_bound(stages: dict[str, StageFigures], cores: int) -> dict:
    """Return the ensemble's rate (the first stage's), the bound that its steps set, and how much of it is reached.

    The bound is min(slowest step's rate, cores / sum of the steps' CPU seconds per request).
    """
    (_, ensemble), *steps = stages.items()
    slowest, alone = min(steps, key=lambda step: step[1].rate)
    cpu = sum(step.cpu for _, step in steps)
    # No pipeline is faster than its slowest step, or needs less CPU than its steps together.
    bound, by = min((alone.rate, slowest), (cores / cpu, "cpu"))
    return {
        "ensemble_rate": ensemble.rate,
        "ensemble_cpu_seconds_per_request": ensemble.cpu,
        "busy": ensemble.busy,
        "others": ensemble.others,
        "steps": {
            name: {
                "rate": step.rate,
                "cpu_seconds_per_request": step.cpu,
                "busy": step.busy,
                "others": step.others,
                "mean_batch": step.batches[name],
            }
            for name, step in steps
        },
        "bound": bound,
        "bound_by": by,
        "efficiency": ensemble.rate / bound,
        "carrying": cpu / ensemble.cpu,
    }


def take_median(repetitions: Sequence[StageFigures]) -> StageFigures:
    """Take the median of each figure over the repetitions."""
    batches = {step: median(each.batches[step] for each in repetitions) for step in repetitions[0].batches}
    figures = {name: median(getattr(each, name) for each in repetitions) for name in ("rate", "cpu", "busy", "others")}
    return StageFigures(**figures, batches=batches)


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> dict:
    """Read efficiency.json as it was measured: what it comes from are no trials."""
    return json.loads((directory / "efficiency.json").read_text())


def text(result: dict) -> str:
    """Write the table of each ensemble, and what its columns mean, for the terminal."""
    return "\n\n".join([*map(workload_table, result.values()), LEGEND]) if result else "nothing was measured"


def sentences(result: dict) -> dict[str, list[str]]:
    """Return workload -> the sentence that sums it up."""
    return {name: [sentence(found)] for name, found in result.items()}


def sentence(found: dict) -> str:
    """Return one sentence: the ensemble's rate as a share of what its steps would allow, and what sets that bound.

    `found` is the workload's part of efficiency.json.
    """
    rate, (low, high) = found["ensemble_rate"], found["range"]
    reached = f"{found['efficiency'] * 100:.0f} % ({low * 100:.0f} to {high * 100:.0f})"
    limit = "the CPU" if found["bound_by"] == "cpu" else f"{found['bound_by']} alone"
    allowed = f"{found['bound']:.3g} that its steps would allow, bound by {limit}"
    return f"For {found['subject']} the ensemble answers {rate:.3g} requests/s, {reached} of the {allowed}."


def workload_table(found: dict) -> str:
    """Write a line for the ensemble and for each step alone, and the bound, for the terminal."""
    lines = [f"{'':<20} {'rate/s':>8} {'cpu ms':>8} {'busy':>6} {'others':>6} {'batch':>14}"]

    def row(name: str, rate: float, cpu: float, busy: float, others: float, batch: str = "") -> None:
        lines.append(f"{name:<20} {rate:>8.4g} {cpu * 1e3:>8.2f} {busy:>6.0%} {others:>6.0%} {batch:>14}".rstrip())

    ensemble = found["ensemble_rate"], found["ensemble_cpu_seconds_per_request"], found["busy"], found["others"]
    row(f"{found['ensemble']} (ensemble)", *ensemble)
    for name, step in found["steps"].items():
        batch = f"{step['mean_batch']:.2f} -> {found['mean_batch'][name]:.2f}"
        row(name, step["rate"], step["cpu_seconds_per_request"], step["busy"], step["others"], batch)
    low, high = found["range"]
    lines.append(
        f"bound {found['bound']:.4g}/s by {found['bound_by']}; efficiency {found['efficiency']:.2f}"
        f" ({low:.2f} to {high:.2f}); carrying {found['carrying']:.2f}"
    )
    return "\n".join(lines)


def sections(run: dict, result: dict, trials: Sequence[Trial]) -> list[Section]:
    """Return the section with the table of every ensemble and its steps."""
    body = render(Path(__file__).with_name("section.html.j2"), ensembles=result)
    return [Section(body, KIND.title, sentences(result))]


KIND = Kind(
    name="efficiency",
    title="The ensemble and its steps",
    question="Does an ensemble answer as many requests as its steps allow?",
    file="efficiency.json",
    leaves="efficiency.json and report.html",
    fold=fold,
    text=text,
    sections=sections,
    has_trials=False,
)
