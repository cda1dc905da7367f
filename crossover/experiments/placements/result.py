"""The table of all arms, from the trials and pairs on the disk; as text, JSON and HTML."""

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from pathlib import Path

from markupsafe import Markup

from common import figures
from crossover.analysis.answer import compare_pairs, compare_rounds, pair_trials
from crossover.analysis.estimate import Estimate
from crossover.analysis.wording import describe_subject, join
from crossover.measurement.pairs import read_pairs
from crossover.measurement.pooled_rules import find_faults, list_pooled_rules
from crossover.measurement.shares import pool_shares
from crossover.measurement.trial import Trial, pool_records
from crossover.parity.wording import describe_output
from crossover.report.format import P95_NEEDS, bracketed, kb, ms
from crossover.report.html import Section, render
from crossover.report.kind import BROKEN, GOOD, MEASUREMENT, Banners, Kind, warn_of_arms, warn_of_invalid, warn_of_noise
from crossover.report.terminal import Column, colour, draw_table
from loadgen.samples.sample import CLIENT
from loadgen.samples.summary import compute_rates, summarise

MARGIN = 1.05
"""A ratio beyond it, or below 1 / it, with its whole interval, is a difference worth a sentence."""
NAMED = 5
"""So many arms of a group a sentence names at most."""
SAID = {
    "quicker": ("is quicker than", "are quicker than"),
    "slower": ("is slower than", "are slower than"),
    "equivalent": ("is within 5 % of", "are within 5 % of"),
    "undecided": ("cannot be told apart from", "cannot be told apart from"),
}
"""What a sentence says of one arm, and of several, by how their latency is to the first one's."""
LEGEND = (
    "Ratios are of latencies to the first arm's, [ ]: 95 % interval, each by itself,\n"
    f"( ): a p95 of fewer than {P95_NEEDS} answers; --explain says more."
)
EXPLANATION = f"""\
at this load  latency ÷ the first arm's: of each arrival to its twin (same due time, same payload), mean over
              rounds; geometric mean. Alone: the same for one request at a time, in turns with the first arm
[ ]           interval that holds the true ratio in 95 % of runs. Of twenty such intervals one is expected to miss it
p50, p95      latency in ms from the due time to the answer; (p95): of fewer than {P95_NEEDS}, too few to vouch for it
errors        arrivals without a good answer
CPU           ms per request of the client's process, and of the server with its backends
KB up, down   bytes of the request's and of the answer's body, mean
by client     arrivals that the client prepared, of all, where a placement splits them"""
COLUMNS = (
    Column("arm", left=True),
    Column("ratio at this load", left=True),
    Column("ratio alone", left=True),
    Column("p50"),
    Column("p95"),
    Column("errors"),
    Column("client CPU"),
    Column("server CPU"),
    Column("KB up"),
    Column("KB down", rank=1),
)
SPLIT = Column("by client")
"""Of tables with a placement that splits its arrivals."""


def fold(directory: Path, run: Mapping, trials: Sequence[Trial]) -> dict:
    """Return the content of placements.json, from run.json, the trials and the pairs.

    It is the `workloads` of run.json, each with `rows`: one per arm, as `make_rows` returns them.
    """
    shared = bool(set(run["cores"]["client"] or ()) & set(run["cores"]["server"] or ()))
    return {
        "workloads": {
            name: {**described, "rows": make_rows(directory, name, described, trials, shared)}
            for name, described in run["workloads"].items()
        }
    }


def make_rows(directory: Path, name: str, described: Mapping, trials: Sequence[Trial], shared: bool) -> list[dict]:
    """Return the figures of each arm of a workload that has trials, the first one first.

    `loaded` and `unloaded` are ratios to the first arm's latency, as `describe_ratio` returns them, or None where
    nothing tells; `overloaded` says that the arm did not carry the load, `quiet` that no other program disturbed the
    rounds. `shared` says whether client and server have cores in common.
    """
    own = [trial for trial in trials if trial.workload == name]
    first, rows = next(iter(described["placements"])), []
    for placement in described["placements"]:
        if not (measured := [trial for trial in own if trial.placement == placement]):
            continue
        row = summarise_arm(placement, measured)
        if placement != first:
            both = [trial for trial in own if trial.placement in (first, placement)]
            found = compare_rounds(pair_trials(both, measured[0].mode, first), described["steps"])
            row["loaded"] = describe_ratio(found.ratio) if found and not found.overloaded else None
            row["quiet"] = found is None or found.quiet
            row["overloaded"] = bool(found and "candidate" in found.overloaded)
            pairs = read_pairs(directory, f"{name}/{described['slugs'][placement]}")
            alone = compare_pairs(pairs, shared)
            row["unloaded"] = alone and describe_ratio(alone.ratio)
        rows.append(row)
    return rows


def summarise_arm(placement: str, trials: Sequence[Trial]) -> dict:
    """Return an arm's figures over all its trials; ratios to the first arm are added by `make_rows`.

    Rates are per second, latencies in ms from the due time, CPU in ms per arrival, bytes per request. The server's CPU
    is None unless every trial has it, the gateway's where there is no gateway.
    """
    records, reasons = pool_records(trials)
    found = summarise(records, sum(trial.seconds for trial in trials), reasons)
    found |= compute_rates([(trial.records, trial.seconds) for trial in trials])
    scheduled, findings = max(1, len(records)), find_faults(trials, found)
    server = [trial.server_cpu for trial in trials if trial.server_cpu is not None]
    gateway = [trial.gateway_cpu for trial in trials if trial.gateway_cpu is not None]
    return {
        "arm": placement,
        "offered": found["offered"],
        "answered": found["achieved"],
        "p50": found["latency"]["p50"],
        "p95": found["latency"]["p95"],
        "answers": found["books"]["completed"],
        "errors": found["errors"],
        "client_cpu_ms": sum(trial.client_cpu for trial in trials) / scheduled * 1e3,
        "server_cpu_ms": None if len(server) < len(trials) else sum(server) / scheduled * 1e3,
        "gateway_cpu_ms": sum(gateway) / scheduled * 1e3 if gateway else None,
        "bytes_up": found["bytes_up"],
        "bytes_down": found["bytes_down"],
        "shares": pool_shares(trials),
        "scheduled": len(records),
        "trials": len(trials),
        "valid": not findings,
        "findings": findings,
        "loaded": None,
        "unloaded": None,
        "overloaded": False,
        "quiet": True,
    }


def describe_ratio(estimate: Estimate) -> dict:
    """Return a ratio with its 95 % interval as JSON holds it; None for limits that too few data give."""
    low, high = estimate.ratios() if isfinite(estimate.error) else (None, None)
    return {"ratio": estimate.ratio, "low": low or None, "high": high if high and isfinite(high) else None}


def write_ratio(found: Mapping | None) -> str:
    """Write a ratio with its interval; a dash where there is none."""
    return figures.ratio(found["ratio"], found["low"], found["high"]) if found else "-"


def list_cells(row: Mapping, first: bool) -> tuple[str, ...]:
    """Return the cells of an arm, in the order of COLUMNS; the first arm's ratios are 1."""
    loaded = "overloaded" if row["overloaded"] else write_ratio(row["loaded"])
    return (
        row["arm"],
        "1" if first else loaded,
        "1" if first else write_ratio(row["unloaded"]),
        ms(row["p50"]),
        bracketed(row["p95"], row["answers"], needs=P95_NEEDS),
        str(row["errors"]),
        ms(row["client_cpu_ms"]),
        ms(row["server_cpu_ms"]),
        kb(row["bytes_up"]),
        kb(row["bytes_down"]),
    )


def make_table(rows: Sequence[Mapping]) -> tuple[list[Column], list[tuple[str, ...]]]:
    """Return the columns and the cells of a workload's table; SPLIT is the last column where an arm needs it."""
    cells = [list_cells(row, not i) for i, row in enumerate(rows)]
    if not any(row["shares"] for row in rows):
        return list(COLUMNS), cells
    return [*COLUMNS, SPLIT], [(*each, write_share(row)) for each, row in zip(cells, rows, strict=True)]


def write_share(row: Mapping) -> str:
    """Write how many of an arm's arrivals the client prepared, of all; a dash where none is split."""
    return f"{row['shares'][CLIENT]['books']['scheduled']}/{row['scheduled']}" if row["shares"] else "-"


def text(result: Mapping, explain: bool = False) -> str:
    """Write a table, a sentence and the declared losses for each workload, and what columns mean if `explain`."""
    parts = []
    for name, each in result["workloads"].items():
        table = draw_table(*make_table(each["rows"]))
        about = f"{each['arrivals']}, the same schedules for every arm"
        ratio = f"ratio: latency ÷ {each['rows'][0]['arm']}'s" if each["rows"] else ""
        parts += ["\n".join(filter(None, (f"{name}: {about}", ratio, table)))]
        parts += ["\n".join([describe_workload(each), *list_notes(each)])]
    return colour("\n\n".join([*parts, EXPLANATION if explain else LEGEND]))


def list_notes(described: Mapping) -> list[str]:
    """Return a line for each arm with a gateway, and for each that loses something."""
    shares = [
        f"{row['arm']}: {ms(row['gateway_cpu_ms'])} of {ms(row['server_cpu_ms'])} ms of server CPU are the gateway's."
        for row in described["rows"]
        if row["gateway_cpu_ms"] is not None
    ]
    return [*shares, *list_losses(described)]


def list_losses(described: Mapping) -> list[str]:
    """Return a line for each arm that declares a loss, with how far its answers, and its tensors, are from another's.

    The other is the first arm; of the first arm itself it is the first one without a loss.
    """
    apart = {pair["names"][1]: pair for pair in described["parity"]}
    exact = next((arm for arm in apart if arm not in described["losses"]), "")
    lines = []
    for arm, loss in described["losses"].items():
        pair = apart.get(arm) or apart.get(exact, {})
        found = "; ".join(map(describe_output, (*pair.get("outputs", ()), *pair.get("tensors", ()))))
        other = pair["names"][0] if arm in apart else exact
        lines.append(f"{arm} loses something: {loss}" + (f" (beside {other}: {found})" if found else "") + ".")
    return lines


def describe_workload(described: Mapping) -> str:
    """Return a sentence that sorts the arms by their ratio at this load to the first one's latency."""
    rows, subject = described["rows"], described["subject"]
    if not rows:
        return f"For {subject} nothing was measured."
    groups: dict[str, list[Mapping]] = {kind: [] for kind in SAID}
    for row in rows[1:]:
        groups[classify(row)].append(row)
    parts = [describe_group(kind, found, rows[0]["arm"]) for kind, found in groups.items() if found]
    about = describe_subject(subject, described["arrivals"], rows[0]["offered"])
    return f"For {about}: {'; '.join(parts) or 'nothing to compare'}."


def describe_group(kind: str, rows: Sequence[Mapping], first: str) -> str:
    """Write a clause on arms of one group of SAID, each with the ratio of its latency to the first arm's.

    Of more than NAMED arms the quickest and the slowest stand for all: the table has them.
    """
    verb = SAID[kind][len(rows) > 1]
    ordered = sorted(rows, key=find_ratio)
    if len(rows) > NAMED:
        return f"{len(rows)} {verb} {first}, from {name_ratio(ordered[0])} to {name_ratio(ordered[-1])}"
    return f"{join(list(map(name_ratio, ordered)))} {verb} {first}"


def find_ratio(row: Mapping) -> float:
    """Return an arm's ratio to the first one's latency; infinite where it is overloaded, or nothing is known."""
    return row["loaded"]["ratio"] if row["loaded"] and not row["overloaded"] else inf


def name_ratio(row: Mapping) -> str:
    """Write an arm with its ratio: `server (1.2 [1.1, 1.3])`."""
    return f"{row['arm']} ({'overloaded' if row['overloaded'] else write_ratio(row['loaded'])})"


def classify(row: Mapping) -> str:
    """Return which group of SAID an arm belongs to, by the whole interval of its ratio.

    An overloaded arm is slower, whatever the answers took that it gave; one without both limits is undecided.
    """
    if row["overloaded"]:
        return "slower"
    found = row["loaded"]
    if not found or found["low"] is None or found["high"] is None:
        return "undecided"
    if found["high"] < 1 / MARGIN:
        return "quicker"
    if found["low"] > MARGIN:
        return "slower"
    inside = found["low"] >= 1 / MARGIN and found["high"] <= MARGIN
    return "equivalent" if inside else "undecided"


def sections(run: Mapping, result: Mapping, trials: Sequence[Trial]) -> list[Section]:
    """Return one section with a table for each workload."""
    tables = {name: make_table(each["rows"]) for name, each in result["workloads"].items()}
    sentences = {name: [describe_workload(each), *list_notes(each)] for name, each in result["workloads"].items()}
    template = Path(__file__).with_name("section.html.j2")
    body = render(template, tables=tables)
    return [Section(body, KIND.title, sentences)]


def exit_code(result: Mapping, trials: Sequence[Trial]) -> int:
    """Return BROKEN if arrivals are unanswered, MEASUREMENT if an arm is INVALID or has no interval.

    A single arm, with nothing to compare it to, is MEASUREMENT as well; an overloaded one needs no interval.
    """
    rows = [row for each in result["workloads"].values() for row in each["rows"]]
    if any(row["errors"] for row in rows):
        return BROKEN
    others = [row for each in result["workloads"].values() for row in each["rows"][1:]]
    known = all(row["overloaded"] or (row["loaded"] and row["loaded"]["low"]) for row in others)
    return GOOD if others and known and all(row["valid"] for row in rows) else MEASUREMENT


def list_banners(result: Mapping, trials: Sequence[Trial]) -> Banners:
    """List what INVALID trials mean, which arms are INVALID over all their rounds, and if it was not quiet."""
    loud = [name for name, each in result["workloads"].items() if not all(row["quiet"] for row in each["rows"])]
    rows = {(name, row["arm"]): row for name, each in result["workloads"].items() for row in each["rows"]}
    found = {trial.arm: rows[trial.workload, trial.placement]["findings"] for trial in trials}
    invalid = warn_of_invalid(trials, pooled=list_pooled_rules(trials))
    return invalid + warn_of_arms(list(found.items())) + warn_of_noise(loud)


KIND = Kind(
    name="placements",
    title="Placements side by side",
    question="Which of all placements?",
    file="placements.json",
    leaves="samples, placements.json and report.html",
    fold=fold,
    text=text,
    verdicts=lambda result: [describe_workload(each) for each in result["workloads"].values()],
    sections=sections,
    exit_code=exit_code,
    banners=list_banners,
    judges_arms=True,
    note=lambda trials: Markup(
        "What a short trial breaks by itself, and its arm over all rounds does not, stands in grey. "
        "In every round all arms were offered the same schedule."
    ),
)
