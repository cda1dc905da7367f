"""What the study comes to: percentiles of every condition, contrasts between them, and what they let one conclude."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import atomic_write
from crossover.analysis import bootstrap
from crossover.analysis.wording import SUBJECTS
from crossover.experiments.burst_shapes import CAMERAS
from crossover.experiments.client_modes.conditions import clients, conditions, law, reference
from crossover.experiments.compare.tables import ms
from crossover.measurement.trial import Block
from crossover.report import curves
from loadgen.arm import PLACEMENTS
from loadgen.samples.early_stopping import required_requests

TAILS = (99, 95, 90)  # the highest is reported for which the requests of a condition suffice
CONFIDENCE = 0.95
SMALL = 0.05  # a ratio closer to 1 counts as no difference: of so many intervals some miss 1 by chance

LEGEND = """\
client       sequential: one request at a time; threads:N: N at a time; async:N: N preprocess, any number is in flight
arrivals     uniform: gaps from 0.5 to 1.5 of the mean; random phase, synchronised: 16 cameras; all of one mean rate
p50, tail    ms from the due time, of all rounds together; in brackets 95 % intervals, by bootstrap over rounds
times        first / second, paired by rounds; no difference found: the 95 % interval holds 1, or it is under 5 % off
err          arrivals without a good answer
!            so many of the condition's blocks are INVALID (they are counted in: a naive client may fall behind)"""


def interval(first: Sequence[np.ndarray] | None, second: Sequence[np.ndarray], q: float) -> dict:
    """A percentile of `second` over that of `first` (over 1, if it is None), of all rounds together; its interval."""

    def pooled(latencies: Sequence[np.ndarray]) -> float:
        return float(np.percentile(np.concatenate(latencies), q))

    rounds, value = len(second), pooled(second) / (pooled(first) if first else 1)
    low = high = float("nan")
    if rounds >= bootstrap.minimum_rounds(CONFIDENCE):
        other = (
            bootstrap.PooledSamples(first).percentile(q) if first else lambda weights: np.ones(len(weights))
        )
        low, high = bootstrap.ratio_interval(
            other, bootstrap.PooledSamples(second).percentile(q), rounds, CONFIDENCE, seed=1
        )
    return {"value": value, "low": low if np.isfinite(low) else None, "high": high if np.isfinite(high) else None}


def contrasts(cores: int) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """Question -> what is compared with what: (client, arrivals) each, within a placement."""
    best, modes = str(reference(cores)), [str(mode) for mode in clients(cores)]
    threads, most, one = [mode for mode in modes if mode.startswith("threads")][-1], modes[-1], "async:1"
    return {
        f"sequential / {best}": (("sequential", "Poisson"), (best, "Poisson")),
        f"{threads} / {best}": ((threads, "Poisson"), (best, "Poisson")),
        f"{most} / {one}": ((most, "Poisson"), (one, "Poisson")),
        f"Poisson / uniform, {best}": ((best, "Poisson"), (best, "uniform")),
        "Poisson / uniform, sequential": (("sequential", "Poisson"), ("sequential", "uniform")),
        f"random phase / Poisson, {best}": ((best, "random phase"), (best, "Poisson")),
        f"synchronised / Poisson, {best}": ((best, "synchronised"), (best, "Poisson")),
    }


def evaluate(run: dict, measured: Sequence[Block]) -> dict:
    """The content of study.json."""
    result = {"workloads": {}}
    for name, described in run["workloads"].items():
        found = conditions([block for block in measured if block.workload == name])
        found = {key: each for key, each in found.items() if any(block.completed for block in each.values())}
        if not found:
            continue
        fewest = min(sum(block.completed for block in each.values()) for each in found.values())
        tail = next((q for q in TAILS if fewest >= required_requests(q)), TAILS[-1])
        rows = []
        for (placement, client, arrivals), each in found.items():
            latencies = [block.latency for block in each.values()]
            rows.append(
                {
                    "placement": placement,
                    "client": client,
                    "arrivals": arrivals,
                    "p50": interval(None, latencies, 50),
                    "tail": interval(None, latencies, tail),
                    "requests": sum(map(len, latencies)),
                    "rounds": len(each),
                    "errors": sum(block.scheduled - block.completed for block in each.values()),
                    "invalid": sum(not block.valid for block in each.values()),
                }
            )
        compared = []
        for question, (first, second) in contrasts(len(run["cores"]["client"])).items():
            for placement in PLACEMENTS:
                one, other = found.get((placement, *first), {}), found.get((placement, *second), {})
                if both := sorted(set(one) & set(other)):
                    pair = [other[turn].latency for turn in both], [one[turn].latency for turn in both]
                    ratios = {"p50": interval(*pair, 50), "tail": interval(*pair, tail)}
                    compared.append({"question": question, "placement": placement, **ratios})
        result["workloads"][name] = {"rate": described["rate"], "tail": tail, "conditions": rows, "contrasts": compared}
    result["conclusion"] = conclusion(result["workloads"])
    return result


def running(run: dict, measured: Sequence[Block]) -> str:
    """The first contrast so far, for the line of progress."""
    of = next(iter(contrasts(len(run["cores"]["client"])).values()))
    few = [block for block in measured if block.placement == PLACEMENTS[0] and (block.mode, law(block)) in of]
    told = [each for found in evaluate(run, few)["workloads"].values() for each in found["contrasts"]]
    return "; ".join(f"p50 {each['question']} {times(each['p50'])}" for each in told)


def verdict(ratio: dict) -> str:
    """`more` or `less`, if the interval says so and it is worth speaking of."""
    if ratio["low"] is None:
        return "too few rounds"
    if abs(ratio["value"] - 1) < SMALL or ratio["low"] <= 1 <= ratio["high"]:
        return "no difference found"
    return "more" if ratio["value"] > 1 else "less"


def verdicts(contrast: dict, tail: str) -> str:
    """Of both figures."""
    p50, other = (verdict(contrast[key]) for key in ("p50", "tail"))
    return p50 if p50 == other else f"p50: {p50}; {tail}: {other}"


def conclusion(workloads: dict) -> list[str]:
    """At most five sentences, of the placement of the original project: the client's."""
    subjects = (
        ("sequential /", "Sending one request at a time, instead of asynchronously,"),
        ("threads:", "Threads that wait for their answers ({}), instead of asynchronous sending,"),
        ("async:", "More workers that preprocess ({} instead of {})"),
        ("Poisson / uniform, async", "Poisson arrivals, instead of uniform ones of the same mean rate,"),
    )
    sentences = []
    for begins, subject in subjects:
        if told := within(workloads, begins):
            question = next(iter(told.values()))[1]["question"]
            sentences.append(f"{subject.format(*question.split(' / '))} {effect(told)}.")
    cameras, together = within(workloads, "random phase"), within(workloads, "synchronised")
    if cameras and together:
        sentences.append(
            f"Video of {CAMERAS} cameras of random phase, instead of Poisson arrivals, {effect(cameras)}, and "
            f"of synchronised ones {effect(together)}."
        )
    return sentences


def within(workloads: dict, begins: str) -> dict[str, tuple[int, dict]]:
    """Workload -> (its tail, the client's contrast whose question begins so)."""
    return {
        name: (found["tail"], contrast)
        for name, found in workloads.items()
        for contrast in found["contrasts"]
        if contrast["question"].startswith(begins) and contrast["placement"] == "client"
    }


def effect(told: dict[str, tuple[int, dict]]) -> str:
    found, none = [], []
    for name, (tail, contrast) in told.items():
        found_of = {metric: verdict(contrast[metric]) for metric in ("p50", "tail")}
        if "too few rounds" in found_of.values():
            return "cannot be judged from so few rounds"
        apart = [metric for metric, said in found_of.items() if said != "no difference found"]
        for metric in apart:
            found.append(f"the {metric.replace('tail', f'p{tail}')} of {SUBJECTS[name]} {times(contrast[metric])}")
        none += [] if apart else [SUBJECTS[name]]
    if not found:
        return f"made no difference that was found for {' or '.join(none)}"
    return f"made {', '.join(found)}" + (f", and no difference that was found for {' or '.join(none)}" if none else "")


def times(ratio: dict) -> str:
    """1.32 x (1.1 to 1.5)"""
    if ratio["low"] is None:
        return f"{ratio['value']:.2f} ×"
    return f"{ratio['value']:.2f} × ({ratio['low']:.2f} to {ratio['high']:.2f})"


def fold(directory: Path, run: dict, measured: Sequence[Block]) -> dict:
    """study.json and study.png from the blocks."""
    result = evaluate(run, measured)
    atomic_write.write_json(directory / "study.json", result)
    if result["workloads"]:
        curves.study(result, directory / "study.png")
    return result


def text(result: dict) -> str:
    """As printed: the tables of each workload, what their columns mean, and the conclusion."""
    tables = [of_workload(name, found) for name, found in result["workloads"].items()]
    return "\n\n".join([*tables, LEGEND, "\n".join(result["conclusion"])])


def sentences(result: dict) -> dict[str, list[str]]:
    """What it comes to, by headings."""
    return {"with preprocessing in the client": result["conclusion"]} if result["conclusion"] else {}


def of_workload(name: str, found: dict) -> str:
    tail = f"p{found['tail']}"
    lines = [
        f"{name}: {found['rate']:g}/s in all conditions",
        f"{'placement':<10} {'client':<12} {'arrivals':<14} {'p50':>7} {'':<17} {tail:>7} {'':<17} {'err':>4}",
    ]
    for row in found["conditions"]:
        cells = " ".join(f"{ms(row[key]['value']):>7} {ends(row[key]):<17}" for key in ("p50", "tail"))
        bad = f" {row['invalid']}!" if row["invalid"] else ""
        lines.append(
            f"{row['placement']:<10} {row['client']:<12} {row['arrivals']:<14} {cells} {row['errors']:>4}{bad}"
        )
    lines += ["", f"{'times':<34} {'placement':<10} {'p50':<23} {tail:<23}"]
    for each in found["contrasts"]:
        cells = "  ".join(f"{times(each[key]):<21}" for key in ("p50", "tail"))
        lines.append(f"{each['question']:<34} {each['placement']:<10} {cells}  {verdicts(each, tail)}")
    return "\n".join(lines)


def ends(figure: dict) -> str:
    return "" if figure["low"] is None else f"({ms(figure['low'])} to {ms(figure['high'])})"
