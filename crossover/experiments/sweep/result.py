"""The result of sweeps: the ratio at each point, where the arms are equally quick, the sentence, and the section.

crossover.json is a list with an entry per sweep, and per form that its baseline sends:

- `workload`, its `placements` as in run.json (baseline, candidate), `sweep` (the title), `unit` of x, `network` (with
  its weights), `regime` in words, `path` of its trials, and how many points were `planned`.
- `points`, by x, in which each has `x`, `label`, its load (`arrivals`, `seconds`, `kilobytes` of the encoded input),
  `ratio` candidate / baseline of p50 with its 95 % interval `low` to `high`, `baseline_p50` and `candidate_p50` in ms,
  the same ratio of `mean` and `client CPU`, `rounds`, of which `excluded` are not counted because a request has no good
  answer, `requests`, and how many trials are `invalid`, by which rules (`findings`). `fails` holds the share of its
  requests of each arm that fails more than 1 % of them: there is no ratio then. What is not known is null.
- `crossing`: null, or `by` which statistic (p50 or mean) it is, `x`, its 95 % interval `low` to `high`, and the `law`
  of latency between two points.
- `says`: the sentence.
"""

from collections.abc import Sequence
from pathlib import Path

from common.figures import ratio, significant
from crossover.experiments.sweep import plots
from crossover.experiments.sweep.figures import evaluate
from crossover.experiments.sweep.wording import outcome
from crossover.measurement.trial import Trial
from crossover.report.html import Section, render
from crossover.report.kind import Kind, warn_of_invalid
from crossover.report.terminal import Column, colour, draw_table

LEGEND = "Ratios are of the medians, [ ]: 95 % interval; --explain says more."
EXPLANATION = """\
p50          median ms from the due time to the answer; behind it the ratio of both arms' medians
by mean      ratio of the mean latencies; client CPU: of the client's CPU time per request
[ ]          95 % interval over rounds
KB file      mean size of the encoded files
rounds       so many were compared: those in which every request of both arms has a good answer
requests     of each arm in these rounds
INVALID      rules of the verdict that trials broke, and how many did; they are counted in unless answers are missing
crossing     the x at which both are equally quick, by the difference of their latencies; [ ] is its 95 % interval"""


def table(entry: dict) -> str:
    """Write the table of one sweep for the terminal, a line per point. Its sentence stands at the end."""
    first, second = entry["placements"]
    columns = (
        Column(entry["unit"]),
        Column("KB file", rank=5),
        Column(f"{first} p50", rank=1),
        Column(f"{second} p50", rank=1),
        Column(f"{second}/{first}", left=True),
        Column("by mean", left=True, rank=2),
        Column("client CPU", rank=3),
        Column("rounds", rank=4),
        Column("requests", rank=6),
        Column("INVALID", left=True, wraps=True),
    )
    rows = [
        (
            significant(point["x"], 4),
            significant(point["kilobytes"]),
            significant(point["baseline_p50"]),
            significant(point["candidate_p50"]),
            interval(point),
            interval(point["mean"]),
            significant(point["client CPU"]["ratio"]),
            str(point["rounds"]),
            str(point["requests"]),
            count_findings(point) or "-",
        )
        for point in entry["points"]
    ]
    title = f"\n{entry['workload']}: {entry['sweep']}, {entry['network']}"
    return "\n".join([title, colour(draw_table(columns, rows)) if rows else "nothing was measured"])


def count_findings(point: dict) -> str:
    """Write the rules that a point's trials broke, and how many did: `errors (1), dispatch lag (2)`."""
    return ", ".join(f"{rule} ({n})" for rule, n in point["findings"].items())


def interval(of: dict) -> str:
    """Write a ratio with its interval: `0.862 [0.83, 0.894]`."""
    few = " (too few rounds)" if of["ratio"] is not None and of["low"] is None else ""
    return ratio(of["ratio"], of["low"], of["high"]) + few


def fold(directory: Path, run: dict, measured: Sequence[Trial]) -> list[dict]:
    """Return the entries of crossover.json, from run.json and the trials."""
    return [entry for path, described in run["sweeps"].items() for entry in evaluate(directory, path, described)]


def draw(result: Sequence[dict], into: Path) -> None:
    """Save a plot of each entry that has a ratio, in the folder of its sweep."""
    for entry in filter(has_ratio, result):
        # "link rate, UINT8 tensor" is drawn as ratio-UINT8.png, beside those of the other forms.
        form = entry["sweep"].partition(", ")[2].partition(" ")[0]
        path = into / entry["path"] / f"{'-'.join(filter(None, ('ratio', form)))}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        plots.save_ratios(entry, path)


def text(result: Sequence[dict], explain: bool = False) -> str:
    """Write a sentence for each sweep; their tables are printed while it runs.

    `explain` adds what the columns of the tables mean; else a line says where that is found.
    """
    return "\n".join([*(entry["says"] for entry in result), "", EXPLANATION if explain else LEGEND])


def sentences(result: Sequence[dict]) -> dict[str, list[str]]:
    """Return workload and network -> a sentence for each of their sweeps."""
    found: dict[str, list[str]] = {}
    for entry in result:
        found.setdefault(group(entry), []).append(f"{capital(entry['sweep'])}: {outcome(entry)}")
    return found


def capital(text: str) -> str:
    """Return the text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def group(entry: dict) -> str:
    """Return the heading that a sweep stands under: its workload and its network."""
    return f"{entry['workload']}, {entry['regime']}"


def sections(run: dict, result: list[dict], trials: Sequence[Trial]) -> list[Section]:
    """Return the sections of all sweeps, each with its plot, by workload and network."""
    values = {"groups": groups(result), "left_out": run.get("left_out", [])}
    return [Section(render(Path(__file__).with_name("section.html.j2"), **values), KIND.title, sentences(result))]


def groups(result: Sequence[dict]) -> dict[str, list[dict]]:
    """Group sweeps with their plots by workload and network. Those without a point are left out."""
    found: dict[str, list[dict]] = {}
    for entry in result:
        if entry["points"]:
            first, second = entry["placements"]
            label = f"{entry['workload']}, {entry['network']}: {second} ÷ {first} against {entry['sweep']}"
            plot = plots.ratios(entry, label) if has_ratio(entry) else ""
            points = [{**point, "findings": count_findings(point)} for point in entry["points"]]
            shown = {**entry, "points": points, "plot": plot, "outcome": capital(outcome(entry))}
            found.setdefault(group(entry), []).append(shown)
    return found


def has_ratio(entry: dict) -> bool:
    """Return whether there is a ratio at any of the entry's points, and so something to draw."""
    return any(point["ratio"] is not None for point in entry["points"])


COUNTED_IN = (
    "Rounds with unanswered requests are excluded, others are counted in; the table of each sweep says at which points,"
    " that of trials what to change."
)

KIND = Kind(
    name="crossover",
    title="Where it turns",
    question="Where does the answer change?",
    file="crossover.json",
    leaves="samples, crossover.json, a plot of every sweep and report.html",
    fold=fold,
    draw=draw,
    text=text,
    verdicts=lambda result: [entry["says"] for entry in result],
    sections=sections,
    banners=lambda result, trials: warn_of_invalid(trials, lambda invalid: COUNTED_IN),
    wants_stand_ins=True,
)
