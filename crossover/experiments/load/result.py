"""The table of load against throughput, latency and CPU, from the trials on the disk; as text, JSON and HTML."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from common.figures import significant
from common.messages import one_line
from crossover.measurement.trial import Trial
from crossover.report.format import BRACKETS, ms
from crossover.report.html import Section, render
from crossover.report.kind import BROKEN, GOOD, MEASUREMENT, Banners, Kind
from crossover.report.terminal import Column, colour, draw_table
from loadgen.samples.early_stopping import required_requests
from loadgen.samples.sample import COMPLETED, FAILED, STATUSES

PERCENTILES = ("p50", "p95", "p99")
NEEDS = {name: required_requests(float(name[1:])) for name in PERCENTILES}
"""Percentile -> the answers below which it is shown in brackets: too few to bound it with 99 % confidence."""
OVERLOAD = {"backlog", "latency rises", "in-flight cap", "too few samples", "offered rate"}
"""Rules of the verdict that a load beyond an arm's capacity breaks, or a short trial: a result, and no fault."""
REASONS = 3  # of each load, the most frequent ones
CARRIED = 0.95  # of the offered rate that must be answered for an arm to keep up
LEGEND = f"Times are ms from the due time,\n{BRACKETS}; --explain says more."
EXPLANATION = f"""\
rate/s    requests per second that were offered; answered: those with a good answer, per second, until the last one
p50, ...  ms from the due time; (p99): of fewer than {NEEDS["p99"]} answers (p95: {NEEDS["p95"]}), too few to vouch for
errors    arrivals without a good answer: failed, refused, timed out, dropped or unfinished
CPU       ms per request, of the client's process, and of the server with its backends
!         the trial broke a rule of the measurement: load.json says which"""
COLUMNS = (
    Column("arm", left=True),
    Column("rate/s"),
    Column("answered"),
    *map(Column, PERCENTILES),
    Column("errors"),
    Column("client CPU"),
    Column("server CPU"),
)


def fold(directory: Path, run: Mapping, trials: Sequence[Trial]) -> dict:
    """Return the content of load.json, from run.json and the trials.

    It is the `workloads` of run.json, each with `rows`: one per trial, in their order.
    """
    workloads = {
        name: {**described, "rows": [make_row(trial) for trial in trials if trial.workload == name]}
        for name, described in run["workloads"].items()
    }
    return {"workloads": workloads}


def make_row(trial: Trial) -> dict:
    """Return the figures of one load.

    Rates are per second, latencies in ms from the due time, CPU in ms per arrival; the server's is None where it is not
    known. `outcomes` has how many arrivals ended how without a good answer, `reasons` the most frequent texts that say
    why, with how often. `findings` lack the rules of OVERLOAD: what they say, the row shows.
    """
    latency, scheduled = trial.summary["latency"], max(1, trial.scheduled)
    return {
        "arm": trial.arm,
        "placement": trial.placement,
        "offered": trial.summary["offered"],
        "answered": trial.summary["achieved"],
        **{name: latency[name] for name in PERCENTILES},
        "answers": trial.completed,
        "errors": trial.summary["errors"],
        "outcomes": {status: trial.summary["books"][status] for status in STATUSES if status != COMPLETED},
        "reasons": trial.summary["reasons"],
        "client_cpu_ms": trial.client_cpu / scheduled * 1e3,
        "server_cpu_ms": None if trial.server_cpu is None else trial.server_cpu / scheduled * 1e3,
        "complete": trial.facts["complete"],
        "findings": [finding for finding in trial.findings if finding["rule"] not in OVERLOAD],
    }


def text(result: Mapping, explain: bool = False) -> str:
    """Write a table for each workload, a sentence for each arm, and what the columns mean if `explain`."""
    tables = [
        "\n".join([name, workload_table(each), *list_reasons(each)]) for name, each in result["workloads"].items()
    ]
    sentences = "\n".join(KIND.verdicts(result))
    return colour("\n\n".join([*tables, sentences, EXPLANATION if explain else LEGEND]))


def workload_table(found: Mapping) -> str:
    """Write a line for each arm and rate."""
    return draw_table(COLUMNS, [list_cells(row) for row in found["rows"]])


def list_reasons(found: Mapping) -> list[str]:
    """Return a line for each arm and rate of which arrivals have no good answer: how they ended, and why."""
    lines = []
    for row in found["rows"]:
        ends = ", ".join(f"{count} {status}" for status, count in row["outcomes"].items() if count)
        texts = [f"{one_line(text)} ({count})" for text, count in list(row["reasons"].items())[:REASONS]]
        if ends:
            why = f": {'; '.join(texts)}" if texts else ""
            lines.append(f"{row['placement']} at {row['offered']:.3g}/s: {ends}{why}")
    return lines


def list_cells(row: Mapping) -> tuple[str, ...]:
    """Return the cells of one arm and rate, in the order of COLUMNS."""
    return (
        row["placement"],
        significant(row["offered"]) + "!" * bool(row["findings"] and not row["errors"]),
        significant(row["answered"]),
        *(bracket(row, name) for name in PERCENTILES),
        str(row["errors"]),
        ms(row["client_cpu_ms"]),
        ms(row["server_cpu_ms"]),
    )


def bracket(row: Mapping, name: str) -> str:
    """Write a percentile in ms, in brackets if it is of too few answers to be vouched for."""
    return ms(row[name]) if row["answers"] >= NEEDS[name] else f"({ms(row[name])})"


def list_sentences(result: Mapping) -> dict[str, list[str]]:
    """Return workload -> a sentence for each arm: the highest rate that it kept up with, and the latency there."""
    found: dict[str, list[str]] = {}
    for name, each in result["workloads"].items():
        for placement in dict.fromkeys(row["placement"] for row in each["rows"]):
            rows = [row for row in each["rows"] if row["placement"] == placement and row["complete"]]
            found.setdefault(name, []).append(describe_arm(f"{name} {placement}", rows))
    return found


def describe_arm(arm: str, rows: Sequence[Mapping]) -> str:
    """Return a sentence about one arm's rows, in which rates ascend. It promises nothing of other rates.

    An arm keeps up with a rate if every arrival has a good answer, and CARRIED of the rate is answered.
    """
    kept = [row for row in rows if not row["errors"] and row["answered"] >= CARRIED * row["offered"]]
    lost = [row for row in rows if row not in kept]
    if not kept:
        return f"{arm} kept up with none of these rates."
    best = kept[-1]
    figures = ", ".join(f"{name} {bracket(best, name)}" for name in PERCENTILES)
    rules = ", ".join(dict.fromkeys(finding["rule"] for finding in best["findings"]))
    broken = f" in a trial that broke a rule ({rules})" if rules else ""
    says = f"{arm} kept up with {significant(best['offered'])}/s{broken}: {figures} ms of {best['answers']} requests"
    if lost:
        return f"{says}; not with {significant(lost[0]['offered'])}/s."
    return f"{says}; that is the highest rate of this run, and its limit lies above (`crossover capacity` finds it)."


def sections(run: Mapping, result: Mapping, trials: Sequence[Trial]) -> list[Section]:
    """Return one section with a table for each workload."""
    template = Path(__file__).with_name("section.html.j2")
    reasons = {name: list_reasons(each) for name, each in result["workloads"].items()}
    body = render(template, workloads=result["workloads"], reasons=reasons, needs=NEEDS, percentiles=PERCENTILES)
    return [Section(body, KIND.title, list_sentences(result))]


def exit_code(result: Mapping, trials: Sequence[Trial]) -> int:
    """Return BROKEN if an arm kept up with no rate or a request failed, which no load explains.

    MEASUREMENT if the client broke a rule by its own doing: one that is broken where arrivals have no good answer is
    put down to the load.
    """
    rows = [row for each in result["workloads"].values() for row in each["rows"]]
    if any(row["outcomes"][FAILED] for row in rows):
        return BROKEN
    if any("none of these rates" in each for says in list_sentences(result).values() for each in says):
        return BROKEN
    faults = {finding["rule"] for row in rows for finding in row["findings"] if not row["errors"]}
    return MEASUREMENT if faults else GOOD


def list_banners(result: Mapping, trials: Sequence[Trial]) -> Banners:
    """Return one banner for trials in which something else than the load was wrong."""
    rows = [
        row for each in result["workloads"].values() for row in each["rows"] if row["findings"] and not row["errors"]
    ]
    rules = ", ".join(dict.fromkeys(finding["rule"] for row in rows for finding in row["findings"]))
    what = f"{len(rows)} of {len(trials)} trials broke a rule of the measurement ({rules})."
    return [(what, "Their figures stand in the table and are not to be relied on.")] if rows else []


KIND = Kind(
    name="load",
    has_loads=True,
    title="Load against latency",
    question="How fast is it at which load?",
    file="load.json",
    leaves="samples, load.json and report.html",
    fold=fold,
    text=text,
    verdicts=lambda result: [each for says in list_sentences(result).values() for each in says],
    sections=sections,
    exit_code=exit_code,
    banners=list_banners,
    note=lambda trials: Markup(
        "Each trial is one rate; a rate beyond what an arm can carry makes it INVALID by design."
    ),
)
