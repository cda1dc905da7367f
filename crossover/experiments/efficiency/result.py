"""What an ensemble comes to beside its steps: the bound that they set, how much of it is reached, the table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from crossover.analysis.wording import SUBJECTS
from crossover.measurement.trial import Block

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
class Turn:
    """One stage, measured once."""

    rate: float
    cpu: float  # seconds of the server per request
    busy: float
    others: float
    batches: dict[str, float]  # mean batch of each of the stage's steps


def result(turns: dict[str, list[Turn]], cores: int) -> dict:
    """What the turns of the ensemble (the first) and of its steps come to."""
    (name, whole), *steps = turns.items()
    rounds = [dict(zip(turns, each, strict=True)) for each in zip(*turns.values(), strict=True)]
    single = [compare(each, cores)["efficiency"] for each in rounds]
    return {
        "ensemble": name,
        **compare({stage: middle(each) for stage, each in turns.items()}, cores),
        "range": [min(single), max(single)],
        "mean_batch": {step: middle(whole).batches[step] for step, _ in steps},
    }


def compare(turns: dict[str, Turn], cores: int) -> dict:
    (_, whole), *steps = turns.items()
    slowest, alone = min(steps, key=lambda step: step[1].rate)
    cpu = sum(step.cpu for _, step in steps)
    bound, by = min((alone.rate, slowest), (cores / cpu, "cpu"))
    return {
        "ensemble_rate": whole.rate,
        "ensemble_cpu_seconds_per_request": whole.cpu,
        "busy": whole.busy,
        "others": whole.others,
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
        "efficiency": whole.rate / bound,
        "carrying": cpu / whole.cpu,
    }


def middle(turns: Sequence[Turn]) -> Turn:
    """The median of each figure."""
    batches = {model: median(each.batches[model] for each in turns) for model in turns[0].batches}
    figures = {name: median(getattr(each, name) for each in turns) for name in ("rate", "cpu", "busy", "others")}
    return Turn(**figures, batches=batches)


def fold(directory: Path, run: dict, measured: Sequence[Block]) -> dict:
    """efficiency.json, as it was measured: its turns are no blocks."""
    return json.loads((directory / "efficiency.json").read_text())


def text(result: dict) -> str:
    """As printed: the table of each ensemble, and what its columns mean."""
    return "\n\n".join([*map(of_workload, result.values()), LEGEND]) if result else "nothing was measured"


def sentences(result: dict) -> dict[str, list[str]]:
    """What it comes to, by headings."""
    return {name: [sentence(name, found)] for name, found in result.items()}


def sentence(name: str, found: dict) -> str:
    rate, (low, high) = found["ensemble_rate"], found["range"]
    reached = f"{found['efficiency'] * 100:.0f} % ({low * 100:.0f} to {high * 100:.0f})"
    limit = "the CPU" if found["bound_by"] == "cpu" else f"{found['bound_by']} alone"
    allowed = f"{found['bound']:.3g} that its steps would allow, bound by {limit}"
    return f"For {SUBJECTS[name]} the ensemble answers {rate:.3g} requests/s, {reached} of the {allowed}."


def of_workload(found: dict) -> str:
    lines = [f"{'':<20} {'rate/s':>8} {'cpu ms':>8} {'busy':>6} {'others':>6} {'batch':>14}"]

    def row(name: str, rate: float, cpu: float, busy: float, others: float, batch: str = "") -> None:
        lines.append(f"{name:<20} {rate:>8.4g} {cpu * 1e3:>8.2f} {busy:>6.0%} {others:>6.0%} {batch:>14}".rstrip())

    whole = found["ensemble_rate"], found["ensemble_cpu_seconds_per_request"], found["busy"], found["others"]
    row(f"{found['ensemble']} (ensemble)", *whole)
    for name, step in found["steps"].items():
        batch = f"{step['mean_batch']:.2f} -> {found['mean_batch'][name]:.2f}"
        row(name, step["rate"], step["cpu_seconds_per_request"], step["busy"], step["others"], batch)
    low, high = found["range"]
    lines.append(
        f"bound {found['bound']:.4g}/s by {found['bound_by']}; efficiency {found['efficiency']:.2f}"
        f" ({low:.2f} to {high:.2f}); carrying {found['carrying']:.2f}"
    )
    return "\n".join(lines)
