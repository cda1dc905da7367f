"""The result of an ensemble beside its steps: the bound that they set, how much of it is reached, table and section.

efficiency.json has, for each workload, its `subject`; `losses`, what the arm loses by its declaration, by its name;
`fed`, the steps that are fed, alone, with what a placement prepares at a loss, each with that `placement` and what is
`lossy`; `ensemble` (its model), `ensemble_rate` (answers per second), `ensemble_cpu_seconds_per_request`, `busy` and
`others` (shares of the server's cores, 0 to 1), `waiting` (how many requests are in the server's queues, on average);
`steps`, by model, with the same of each step alone and its `mean_batch`; `mean_batch` of each step in the ensemble;
`bound` per second, `bound_by` (`cpu` or a step), `efficiency` (ensemble_rate / bound), its `range` over the
repetitions, and `carrying`. Of a server whose CPU cannot be measured the figures of CPU are null, with `busy`, `others`
and `carrying`, and the bound is the slowest step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from common import plain_file
from common.figures import significant
from crossover.analysis.wording import join
from crossover.measurement.trial import Trial
from crossover.report.format import ms, percent
from crossover.report.html import Section, render
from crossover.report.kind import Kind
from crossover.report.terminal import Column, draw_table

LEGEND = "Rates are answers to 8 clients that never pause; --explain says more."
EXPLANATION = """\
rate       answers per second to 8 clients that never pause
cpu        CPU ms per request of the server with its backends, HTTP included
busy       share of the server's cores that this CPU time is
others     share of them that went elsewhere meanwhile: to other programs, and to the kernel's own work for this server,
           as for its packets, which no process is charged with. Above 10 % no efficiency is told
waiting    requests in the server's queues, on average: at 1 or more, or with busy and others at 90 % or more, the
           clients asked for all that it can do. Else they may have been the limit, and no efficiency is told
batch      mean batch of the step alone -> in the ensemble
bound      min(slowest step's rate, cores / sum of the steps' cpu); efficiency is the ensemble's rate as a share of it,
           from medians; after it the range of the repetitions, which is no confidence interval
carrying   sum of the steps' cpu divided by the ensemble's: above 1 where HTTP between steps would cost more than it.
           It equals the efficiency only where CPU is the bound and busy and others make up 100 %: then nothing waits
-          not measured: cpu, busy and others of a server that `crossover up` did not start. The bound is then the
           slowest step's rate, which an ensemble may miss for want of CPU"""


OTHERS = 0.1
"""The share of the server's cores that may go elsewhere."""
ABOVE = 0.05
"""So much of its bound may an ensemble exceed, as chance has it: beyond, the bound cannot be one."""
WIDE = 1.25
"""Quotient of the best and the worst repetition, from which on the efficiency is rough."""
UNKNOWN = "not measured"
SATURATED, WAITING = 0.9, 1.0
"""A stage is saturated if so large a share of the cores is in use, or so many requests wait in its queues."""


@dataclass(frozen=True)
class StageFigures:
    """The figures of an ensemble, or of a step alone, from one repetition or as the median of all."""

    rate: float
    """Answers per second."""
    cpu: float | None
    """CPU seconds of the server per request. None where they are not known, as then the shares are."""
    busy: float | None
    """Share of the server's cores that this is, 0 to 1."""
    others: float | None
    """Share of them that went to other programs and to the kernel."""
    batches: dict[str, float]
    """Step -> its mean batch."""
    waiting: float
    """Requests in the server's queues, on average."""


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

    The bound is min(slowest step's rate, cores / sum of the steps' CPU seconds per request), or the former where the
    latter is not known.
    """
    (_, ensemble), *steps = stages.items()
    slowest, alone = min(steps, key=lambda step: step[1].rate)
    # No pipeline is faster than its slowest step, or needs less CPU than its steps together.
    bounds, carrying = [(alone.rate, slowest)], None
    if ensemble.cpu is not None:
        cpu = sum(step.cpu or 0 for _, step in steps)
        bounds, carrying = [*bounds, (cores / cpu, "cpu")], cpu / ensemble.cpu
    bound, by = min(bounds)
    return {
        "ensemble_rate": ensemble.rate,
        "ensemble_cpu_seconds_per_request": ensemble.cpu,
        "busy": ensemble.busy,
        "others": ensemble.others,
        "waiting": ensemble.waiting,
        "steps": {
            name: {
                "rate": step.rate,
                "cpu_seconds_per_request": step.cpu,
                "busy": step.busy,
                "others": step.others,
                "waiting": step.waiting,
                "mean_batch": step.batches[name],
            }
            for name, step in steps
        },
        "bound": bound,
        "bound_by": by,
        "efficiency": ensemble.rate / bound,
        "carrying": carrying,
    }


def take_median(repetitions: Sequence[StageFigures]) -> StageFigures:
    """Take the median of each figure over the repetitions."""
    batches = {step: median(each.batches[step] for each in repetitions) for step in repetitions[0].batches}
    rate, waiting = (median(getattr(each, name) for each in repetitions) for name in ("rate", "waiting"))
    if any(each.cpu is None for each in repetitions):
        return StageFigures(rate, None, None, None, batches, waiting)
    cpu, busy, others = (median(getattr(each, name) for each in repetitions) for name in ("cpu", "busy", "others"))
    return StageFigures(rate, cpu, busy, others, batches, waiting)


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> dict:
    """Read efficiency.json as it was measured: what it comes from are no trials."""
    return plain_file.read_json(directory / "efficiency.json")


def text(result: dict, explain: bool = False) -> str:
    """Write the table of each ensemble, for the terminal.

    `explain` adds what its columns mean; else a line says where that is found.
    """
    if not result:
        return "nothing was measured"
    tables = ["\n".join([workload_table(found), *list_lossy_inputs(found)]) for found in result.values()]
    return "\n\n".join([*tables, EXPLANATION if explain else LEGEND])


def list_lossy_inputs(found: dict) -> list[str]:
    """Return a sentence for each step that is fed, alone, with what a placement prepares at a loss."""
    return [
        f"{step} alone is fed with what {each['placement']} prepares, which loses something: {each['lossy']}."
        for step, each in found.get("fed", {}).items()
    ]


def sentences(result: dict) -> dict[str, list[str]]:
    """Return workload -> the sentence that sums it up, and those on lossy inputs."""
    return {name: [sentence(found), *list_lossy_inputs(found)] for name, found in result.items()}


def sentence(found: dict) -> str:
    """Return one sentence: the ensemble's rate as a share of what its steps would allow, and what sets that bound.

    Where the figures do not bear that out, it says why. `found` is the workload's part of efficiency.json.
    """
    if doubts := find_doubts(found):
        return f"For {found['subject']} this run does not show how efficient the ensemble is: {join(doubts)}."
    rate, reached = significant(found["ensemble_rate"]), describe_efficiency(found)
    limit = "the CPU" if found["bound_by"] == "cpu" else f"{found['bound_by']} alone"
    allowed = f"{significant(found['bound'])} that its steps would allow, bound by {limit}"
    if found["carrying"] is None:
        allowed = (
            f"{significant(found['bound'])} of its slowest step, {limit}; what the server's CPU allows is {UNKNOWN}"
        )
    low, high = found["range"]
    rough = "; its repetitions differ so much that this is a rough figure" if high > WIDE * low else ""
    return f"For {found['subject']} the ensemble answers {rate} requests/s, {reached} of the {allowed}{rough}."


def describe_efficiency(found: dict) -> str:
    """Write the efficiency as a share, with the range of the repetitions: `97 % (96 to 98 % in single repetitions)`."""
    low, high = found["range"]
    # A little above its bound is all of it.
    reached = "all" if found["efficiency"] > 1 else percent(found["efficiency"])
    return f"{reached} ({low * 100:.0f} to {percent(high)} in single repetitions)"


def find_doubts(found: dict) -> list[str]:
    """Return why the efficiency of a workload says nothing, each a clause; empty if it may be told.

    The rate of a step is a bound, and that of the ensemble a result, only if the server could do no more.
    """
    steps = found["steps"]
    most = max(each["others"] or 0 for each in (found, *steps.values()))
    taken = f"other programs took {percent(most)} of the server's cores ({percent(OTHERS)} are allowed)"
    doubts = [taken] if most > OTHERS else []
    limits = {"the ensemble": found} | {f"{name} alone": steps[name] for name in steps if name == found["bound_by"]}
    idle = [name for name, each in limits.items() if not is_saturated(each)]
    doubts += [f"{join(idle)} could have done more than the clients asked for"] if idle else []
    if found["efficiency"] > 1 + ABOVE:
        doubts.append("it was quicker than its steps allow, so the machine's speed changed between their measurements")
    return doubts


def is_saturated(stage: dict) -> bool:
    """Return whether the clients asked a stage for all that it can do; files of old runs do not say what waited."""
    used = 0.0 if stage["busy"] is None else stage["busy"] + stage["others"]
    return used >= SATURATED or stage.get("waiting", 0.0) >= WAITING


COLUMNS = (
    Column("model", left=True),
    Column("rate/s"),
    Column("cpu ms"),
    Column("busy"),
    Column("others"),
    Column("waiting", rank=1),
    Column("batch", rank=2),
)


def workload_table(found: dict) -> str:
    """Write a line for the ensemble and for each step alone, and the bound, for the terminal."""

    def row(name: str, rate: float, cpu: float | None, stage: dict, batch: str = "-") -> tuple[str, ...]:
        shares = ["-" if stage[share] is None else percent(stage[share]) for share in ("busy", "others")]
        cost = ms(None if cpu is None else cpu * 1e3)
        return name, significant(rate), cost, *shares, significant(stage.get("waiting", 0.0)), batch

    ensemble = found["ensemble_rate"], found["ensemble_cpu_seconds_per_request"]
    rows = [row(f"{found['ensemble']} (ensemble)", *ensemble, found)]
    for name, step in found["steps"].items():
        batch = f"{step['mean_batch']:.2f} -> {found['mean_batch'][name]:.2f}"
        rows.append(row(name, step["rate"], step["cpu_seconds_per_request"], step, batch))
    doubts = find_doubts(found)
    low, high = found["range"]
    rough = ", rough" if high > WIDE * low else ""
    reached = f"efficiency {percent(found['efficiency'])} ({low * 100:.0f} to {percent(high)}){rough}"
    if doubts:
        reached = f"no efficiency: {join(doubts)}"
    bound = f"bound {significant(found['bound'])}/s by {found['bound_by']}"
    carrying = (
        f"the server's CPU is {UNKNOWN}" if found["carrying"] is None else f"carrying {significant(found['carrying'])}"
    )
    return f"{draw_table(COLUMNS, rows)}\n{bound}; {reached}; {carrying}"


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
    verdicts=lambda result: [sentence(found) for found in result.values()],
    sections=sections,
    has_trials=False,
)
