"""The result of the client modes: percentiles of every condition, contrasts between them, conclusions, the section.

study.json has `workloads` and `conclusion`, a list of sentences. Each workload has:

- `subject` and `placements`, as in run.json.
- `rate`, requests per second in all conditions, and `tail`, the percentile (90, 95 or 99) that is reported beside p50.
- `conditions`, a list with a row per condition: `placement`, `mode` (of the client), `arrivals` (a name in LAWS),
  `p50` and `tail` in ms, `requests` answered, `rounds`, `errors` (arrivals without a good answer), `invalid` (so many
  of its trials are).
- `contrasts`, a list with an entry per question and placement: `p50` and `tail` as ratios, first / second.

Each figure has a `value` and its 95 % interval, `low` and `high`: null where there are too few rounds.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from crossover.analysis import bootstrap
from crossover.analysis.wording import join
from crossover.experiments.client_modes import plots
from crossover.experiments.client_modes.conclusion import conclude, times, verdicts
from crossover.experiments.client_modes.conditions import Key, clients, conditions, law, reference
from crossover.experiments.client_modes.tables import text
from crossover.measurement.trial import Trial
from crossover.report.html import Section, render
from crossover.report.kind import BROKEN, GOOD, Kind, warn_of_invalid
from crossover.report.plots import VARIABLES
from loadgen.samples.early_stopping import required_requests

TAILS = (99, 95, 90)  # the highest is reported for which the requests of a condition suffice
CONFIDENCE = 0.95


def interval(first: Sequence[np.ndarray] | None, second: Sequence[np.ndarray], q: float) -> dict:
    """Return the ratio of a percentile (0 to 100) of `second` to that of `first`, with its 95 % interval over rounds.

    Both are latencies by round, paired. Without `first` it is the percentile itself, in ms. Limits are None if there
    are too few rounds.
    """

    def pooled(latencies: Sequence[np.ndarray]) -> float:
        return float(np.percentile(np.concatenate(latencies), q))

    rounds, value = len(second), pooled(second) / (pooled(first) if first else 1)
    low = high = float("nan")
    if rounds >= bootstrap.minimum_rounds(CONFIDENCE):
        # Divided by 1, the interval of the ratio is that of the percentile itself.
        one = bootstrap.PooledSamples(first).percentile(q) if first else lambda weights: np.ones(len(weights))
        other = bootstrap.PooledSamples(second).percentile(q)
        # The seed is fixed: the same trials give the same interval whenever a report is made again.
        low, high = bootstrap.ratio_interval(one, other, rounds, CONFIDENCE, seed=1)
    return {"value": value, "low": low if np.isfinite(low) else None, "high": high if np.isfinite(high) else None}


def contrasts(cores: int) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """Return question -> the two conditions that it compares: (client, law) each, within a placement."""
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


def evaluate(run: dict, trials: Sequence[Trial]) -> dict:
    """Return the content of study.json, from that of run.json and the trials."""
    workloads = {}
    for name, described in run["workloads"].items():
        measured = conditions([trial for trial in trials if trial.workload == name])
        measured = {key: each for key, each in measured.items() if any(trial.completed for trial in each.values())}
        if measured:
            workloads[name] = evaluate_workload(described, measured, len(run["cores"]["client"]))
    return {"workloads": workloads, "conclusion": conclude(workloads)}


def evaluate_workload(described: dict, measured: dict[Key, dict[int, Trial]], cores: int) -> dict:
    """Return a workload of study.json: percentiles of every condition, and the contrasts.

    The tail is the highest of TAILS that the requests of the smallest condition bear out. `cores` is the number of the
    client's cores.
    """
    # One tail for all conditions, so that they can be compared.
    fewest = min(sum(trial.completed for trial in each.values()) for each in measured.values())
    tail = next((q for q in TAILS if fewest >= required_requests(q)), TAILS[-1])
    rows = [summarise_condition(key, each, tail) for key, each in measured.items()]
    compared = []
    for question, (first, second) in contrasts(cores).items():
        for placement in described["placements"]:
            one, other = measured.get((placement, *first), {}), measured.get((placement, *second), {})
            if rounds := sorted(set(one) & set(other)):
                pair = [other[number].latency for number in rounds], [one[number].latency for number in rounds]
                ratios = {"p50": interval(*pair, 50), "tail": interval(*pair, tail)}
                compared.append({"question": question, "placement": placement, **ratios})
    about = {key: described[key] for key in ("subject", "placements", "rate")}
    return {**about, "tail": tail, "conditions": rows, "contrasts": compared}


def summarise_condition(key: Key, rounds: dict[int, Trial], tail: float) -> dict:
    """Return a condition of study.json: percentiles in ms with their intervals, and counts over its rounds."""
    placement, mode, law = key
    latencies = [trial.latency for trial in rounds.values()]
    return {
        "placement": placement,
        "mode": mode,
        "arrivals": law,
        "p50": interval(None, latencies, 50),
        "tail": interval(None, latencies, tail),
        "requests": sum(map(len, latencies)),
        "rounds": len(rounds),
        "errors": sum(trial.scheduled - trial.completed for trial in rounds.values()),
        "invalid": sum(not trial.valid for trial in rounds.values()),
    }


def summarise_interim(run: dict, trials: Sequence[Trial]) -> str:
    """Write the first contrast so far, for the line of progress."""
    first = next(iter(contrasts(len(run["cores"]["client"])).values()))
    baselines = {name: next(iter(described["placements"])) for name, described in run["workloads"].items()}
    few = [
        trial for trial in trials if trial.placement == baselines[trial.workload] and (trial.mode, law(trial)) in first
    ]
    found = [each for workload in evaluate(run, few)["workloads"].values() for each in workload["contrasts"]]
    return "; ".join(f"p50 {each['question']} {times(each['p50'])}" for each in found)


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> dict:
    """Return the content of study.json, from run.json and the trials."""
    return evaluate(run, measured)


def draw(result: dict, into: Path) -> None:
    """Save the plot of all conditions as study.png."""
    if result["workloads"]:
        plots.save_conditions(result, into / "study.png")


def sentences(result: dict) -> dict[str, list[str]]:
    """Return the conclusion under its heading; none without a request that completed."""
    if not result["conclusion"]:
        return {}
    words = [each["words"] for found in result["workloads"].values() for each in found["placements"].values()]
    return {f"with preprocessing by {join(list(dict.fromkeys(words)))}": result["conclusion"]}


def sections(run: dict, result: dict, trials: Sequence[Trial]) -> list[Section]:
    """Return a section per workload with a plot per placement, its contrasts and its conditions."""
    workloads = [show(name, found) for name, found in result.get("workloads", {}).items()]
    laws = {law: VARIABLES[colour] for law, colour in plots.COLOURS.items()}
    body = render(Path(__file__).with_name("section.html.j2"), workloads=workloads, laws=laws) if workloads else ""
    return [Section(Markup(body), KIND.title, sentences(result))]


def show(name: str, found: dict) -> dict:
    """Return a workload of study.json, with a plot for each placement and a verdict for each contrast."""
    placements = [each for each in found["placements"] if any(row["placement"] == each for row in found["conditions"])]
    about = f"{name}: latency of every client"
    return {
        **found,
        "name": name,
        "plots": {placement: plots.conditions(found, placement, f"{about}, {placement}") for placement in placements},
        "verdicts": [verdicts(each, f"p{found['tail']}") for each in found["contrasts"]],
    }


def exit_code(result: dict, trials: Sequence[Trial]) -> int:
    """Return BROKEN if arrivals are unanswered.

    INVALID trials are counted in: a naive client may fall behind its load.
    """
    return BROKEN if any(trial.unanswered for trial in trials) else GOOD


COUNTED_IN = "They are counted in, and their conditions are marked: a naive client may fall behind what it is offered."

KIND = Kind(
    name="study",
    title="Clients and arrivals",
    question="Does it matter how the client works, and how the requests arrive?",
    file="study.json",
    leaves="samples, study.json, study.png and report.html",
    fold=fold,
    draw=draw,
    text=text,
    verdicts=lambda result: list(result["conclusion"]),
    sections=sections,
    exit_code=exit_code,
    banners=lambda result, trials: warn_of_invalid(trials, lambda invalid: COUNTED_IN),
)
