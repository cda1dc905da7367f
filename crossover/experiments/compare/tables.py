"""The tables that the comparison prints, and what their columns mean.

They take arms and comparisons as `workloads.*` of summary.json has them (docs/summary.md).
"""

from collections.abc import Mapping, Sequence

from common import figures
from crossover.analysis import comparison
from crossover.analysis.latency_breakdown import list_computing_steps
from crossover.analysis.recommendation import MARGIN
from crossover.analysis.verdict import BASELINE, CANDIDATE, Comparison
from crossover.report.format import BRACKETS, P95_NEEDS, P99_NEEDS, bracketed, kb, label_arms, ms, stage_time
from crossover.report.terminal import LEGIBLE, Column, colour, draw_table
from loadgen.samples.sample import CLIENT

GPU = (
    ("GPU energy, J per request", "gpu_joules", 1),
    ("GPU in use, %", "gpu_utilisation", 100),
    ("GPU memory, GB", "gpu_memory_mb", 0.001),
)

AVERAGED = "The ratio of cost is averaged over rounds, so it differs a little from the quotient of its columns."
DIVISORS = "answered/s counts time until the last answer, goodput until the schedule's end, so answered/s may be lower."
LEGEND = f"Times are ms from the due time, [ ]: 95 % interval,\n{BRACKETS}; --explain says more."
EXPLANATION = f"""\
at this load: ratio of each arrival to its twin (same due time, same payload), mean over rounds, adjusted for the
            machine's speed where that is known; geometric means in ms. Alone: the same for one request at a time
[ ]         interval of the ratio: in 95 % of comparisons it and those of earlier looks at the data all hold the truth
verdict     the first of these that holds: one is quicker by more than {MARGIN * 100:g} %; one is cheaper, and slower
            by at most so much; both differ by at most so much. If none is shown, it is undecided
answered/s  answered requests per second, until the last answer of each trial, of those offered
p50,p95,p99 latency in ms from the due time to the answer: waiting for the client counts. (p99): of fewer than
            {P99_NEEDS} requests, (p95): of fewer than {P95_NEEDS}, too few to vouch for it
service     median ms from when a client worker took the request up to the answer
goodput     answers per second of the schedule within the latency objective: --slo, or 5 times what the slower placement
            takes for one request at a time; the same for both. answered/s counts the time of the last answers, too
errors      arrivals without a good answer: failed, refused, timed out, dropped or unfinished
CPU         ms per request spent by the client process, and by the server with its backends
KB up, down bytes of the request's and of the answer's body, mean
by client   arrivals that the client prepared, of all, where a placement splits them
mean latency, taken apart: the client's stages from its samples, the server's from its statistics. Client waiting: for a
            worker; client sending: from prepared until the first byte is sent, so waiting for a connection's thread;
            queue: waiting for a step's instance; compute: in that step, for the batch it was part of, up to the next
            step's taking over; rest of the server: what it reports beyond that
-           not measured, as the server does not tell it; no part of that arm; or two clocks counted the same time
mean batch  requests that a step computed together, on average
GPU         where one is used: joules per request; its use at the end of each trial, mean;
            most memory in use, anyone's"""

ARM_COLUMNS = (
    Column("arm", left=True),
    Column("answered/s"),
    Column("p50"),
    Column("p95"),
    Column("p99"),
    Column("errors"),
    Column("client CPU"),
    Column("server CPU"),
    Column("KB up", rank=1),
    Column("KB down", rank=2),
    Column("service", rank=3),
)
SPLIT = Column("by client")
"""Of tables with a placement that splits its arrivals."""


def arms_table(name: str, workload: Mapping) -> str:
    """Return a line per arm: rates per second, latency in ms, errors, CPU ms per request, and kilobytes."""
    labels = label_arms(arm["arm"] for arm in workload["arms"])
    columns, rows = list(ARM_COLUMNS), [arm_row(arm, labels[arm["arm"]]) for arm in workload["arms"]]
    if any(arm["shares"] for arm in workload["arms"]):
        columns.append(SPLIT)
        rows = [(*row, write_share(arm)) for row, arm in zip(rows, workload["arms"], strict=True)]
    table = draw_table(columns, rows)
    return f"{name}: {workload['arrivals']}, the same schedules for every arm\n{table}"


def arm_row(arm: Mapping, label: str) -> tuple[str, ...]:
    """Return the cells of an arm, in the order of ARM_COLUMNS."""
    latency = arm["latency"]
    return (
        label,
        f"{arm['achieved']:.2f} of {arm['offered']:.2f}",
        ms(latency["p50"]),
        bracketed(latency["p95"], arm["books"]["completed"], needs=P95_NEEDS),
        bracketed(latency["p99"], arm["books"]["completed"]),
        str(arm["errors"]),
        ms(arm["client_cpu_ms"]),
        ms(arm["server_cpu_ms"]),
        kb(arm["bytes_up"]),
        kb(arm["bytes_down"]),
        ms(arm["service"]["p50"]),
    )


def write_share(arm: Mapping) -> str:
    """Write how many of an arm's arrivals the client prepared, of all; a dash where none is split."""
    return f"{arm['shares'][CLIENT]['books']['scheduled']}/{arm['books']['scheduled']}" if arm["shares"] else "-"


def validity(arms: Sequence[Mapping], left_out: Sequence[Mapping]) -> str:
    """Return the arms whose figures are not to be trusted, with the rules that they break, and the rounds not compared.

    `left_out` is that of summary.json. One line says so if every arm is VALID.
    """
    labels = label_arms(arm["arm"] for arm in arms)
    lines = [f"INVALID {labels[arm['arm']]}{fault(found)}" for arm in arms for found in arm["findings"]]
    several = len({arm["mode"] for arm in arms}) > 1
    for mode in dict.fromkeys(each["mode"] for each in left_out):
        rounds = ", ".join(str(each["round"]) for each in left_out if each["mode"] == mode)
        lines.append(f"not compared, as an arm's data are wrong: {f'{mode}, ' * several}round {rounds}")
    return "\n".join(lines) or "every arm VALID"


def fault(found: Mapping) -> str:
    """Write what is wrong with one round; or with all rounds together, and what to change."""
    if found["round"] is None:
        return f": {found['rule']}: {found['measured']} ({found['limit']}); {found['change']}"
    return f" round {found['round']}: {found['rule']}: {found['measured']}"


def breakdown_table(arms: Sequence[Mapping]) -> str:
    """Return where the mean latency goes, in ms: a line per stage, a column per arm.

    Below stand the mean batch of each step and what a GPU spent, as far as they are known.
    """
    # Arms have different stages: a line has an empty cell where an arm lacks one.
    names = list(dict.fromkeys(name for arm in arms for name in arm["stages"]))
    rows = [(name, *(ms(stage_time(arm["stages"].get(name))) for arm in arms)) for name in names]
    rows.append(("in all", *(ms(arm["latency"]["mean"]) for arm in arms)))
    for step in list_computing_steps(names):
        batches = [arm["steps"].get(step, {}).get("mean_batch") for arm in arms]
        rows.append((f"{step} mean batch", *map(ms, batches)))
    for title, key, scale in GPU:
        values = [None if arm[key] is None else arm[key] * scale for arm in arms]
        # A machine without a GPU has no such row.
        if any(value is not None for value in values):
            rows.append((title, *map(ms, values)))
    labels = label_arms(arm["arm"] for arm in arms)
    # From the third arm on, those furthest to the right go first where the terminal is too narrow.
    columns = [Column(label, rank=max(0, i - 1)) for i, label in enumerate(labels.values())]
    return draw_table([Column("mean latency, ms", left=True), *columns], rows)


def comparison_table(comparisons: Sequence[Mapping | Comparison]) -> str:
    """Return a line per metric; metrics that are not decided share a line below the table."""
    rows = [comparison.as_mapping(each) for each in comparisons]
    if not rows:
        return "nothing to compare"
    first, second = rows[0]["names"]
    columns = (
        Column("", left=True, wraps=True),
        Column(first, rank=1),
        Column(second, rank=1),
        Column(f"{second}/{first}", left=True),
        Column("verdict", left=True, wraps=True),
    )
    cells = [
        (
            # The unit of goodput alone begins with a noun: without it the row stays a line.
            f"{row['metric']}, {row['unit'].removeprefix('answers')}",
            *(figures.significant(row[arm]) for arm in (BASELINE, CANDIDATE)),
            write_ratio(row),
            shorten_verdict(row),
        )
        for row in rows
        if not comparison.folds(row)
    ]
    adjusted = [
        f"{row['metric']}: the ratio is adjusted for the machine's speed, {figures.significant(value)} unadjusted"
        for row in rows
        if (value := row.get("unadjusted"))
    ]
    averaged = [AVERAGED] if any(row["metric"] == "cost" for row in rows) else []
    return "\n".join(filter(None, [draw_table(columns, cells), comparison.name_folded(rows), *adjusted, *averaged]))


def explain_goodput(workload: Mapping) -> list[str]:
    """Return a line that says why goodput stands above the rate of an arm, where it does."""
    rates = [arm["achieved"] for arm in workload["arms"]]
    found = [row[arm] for row in workload["comparisons"] for arm in (BASELINE, CANDIDATE) if row["metric"] == "goodput"]
    return [DIVISORS] if rates and max((each or 0 for each in found), default=0) > min(rates) else []


def shorten_verdict(row: Mapping) -> str:
    """Return the verdict of a row for the terminal, where a long one would cost other columns their place.

    How far apart equivalent arms may be stands in the sentence and in the page, as does why a row is undecided.
    """
    verdict = row["verdict"]
    if row["kind"] == "equivalent":
        return "equivalent"
    return verdict if len(verdict) <= LEGIBLE else verdict.partition(":")[0]


def write_ratio(row: Mapping) -> str:
    """Write the ratio of a row of `comparisons` with its interval."""
    return figures.ratio(row["ratio"], row["low"], row["high"])


def text(result: Mapping, explain: bool = False) -> str:
    """Write everything that is printed at the end, from the content of summary.json.

    `explain` adds what every column means; else a line says where that is found.
    """
    parts = []
    for name, workload in result["workloads"].items():
        measured = workload["arms"]
        parts += [arms_table(name, workload), validity(measured, workload["left_out"]), breakdown_table(measured)]
        if workload["comparisons"]:
            parts.append("\n".join([comparison_table(workload["comparisons"]), *explain_goodput(workload)]))
        parts.append("\n".join([workload["sentence"], *workload["remarks"]]))
    return colour("\n\n".join([*parts, EXPLANATION if explain else LEGEND]))
