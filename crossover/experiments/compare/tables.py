"""The tables that the comparison prints, and what their columns mean.

They take arms as `workloads.*.arms` of summary.json has them (docs/summary.md).
"""

from collections.abc import Iterable, Sequence

from crossover.analysis import comparison
from crossover.analysis.latency_breakdown import list_computing_steps
from crossover.analysis.recommendation import MARGIN
from crossover.report.format import bracketed, kb, ms

GPU = ("GPU energy, J per request", "gpu_joules", 1), ("GPU in use, %", "gpu_utilisation", 100)

LEGEND = f"""\
at this load: ratio of each arrival to its twin (same due time, same payload), mean over rounds, adjusted for the
            machine's speed where that is known; geometric means in ms. Alone: the same for one request at a time
verdict     the quicker placement, if it is so by more than {MARGIN * 100:g} %; else the cheaper one, if it is slower
            by at most so much; else either, if they differ by at most so much; else undecided
rate        answered requests per second, of those offered
p50 .. p99  latency in ms from the due time to the answer: waiting for the client counts. (p99): of fewer than 459
            requests, too few to vouch for it
service     median ms from when a client worker took the request up to the answer
goodput     answers per second within the latency objective: --slo, or 5 times what the slower placement takes for one
            request at a time; the same for both
err         arrivals without a good answer: failed, refused, timed out, dropped or unfinished
cpu cl|srv  CPU ms per request spent by the client process, and by the server with its backends
KB up|down  bytes of the request's and of the answer's body, mean
mean latency, taken apart: the client's stages from its samples, the server's from its statistics. Queue: waiting for a
            step's instance; compute: in that step, for the batch it was part of, up to the next step's taking over;
            unexplained: the rest in the server
mean batch  requests that a step computed together, on average
GPU         where Triton reports one: joules per request, and its use at the end of each trial, mean"""


def arms_table(name: str, workload: dict) -> str:
    """Return a line per arm: rates per second, latency in ms, errors, CPU ms per request, and kilobytes."""
    wide = max([20, *(len(name_arm(arm)) for arm in workload["arms"])])
    head = (
        f"{name}: {workload['arrivals']}, the same schedules for every arm",
        f"{'arm':<{wide}} {'rate':>13} {'p50':>7} {'p95':>7} {'p99':>9} {'service':>8} {'err':>4}"
        f" {'cpu cl':>7} {'srv':>7} {'KB up':>7} {'down':>6}",
    )
    return "\n".join([*head, *(arm_row(arm, wide) for arm in workload["arms"])])


def validity(arms: Sequence[dict], left_out: Sequence[dict]) -> str:
    """Return the arms whose figures are not to be trusted, with the rules that they break, and the rounds not compared.

    `left_out` is that of summary.json. One line says so if every arm is VALID.
    """
    lines = [f"INVALID {arm['placement']} {arm['mode']}{fault(found)}" for arm in arms for found in arm["findings"]]
    for mode in dict.fromkeys(each["mode"] for each in left_out):
        rounds = ", ".join(str(each["round"]) for each in left_out if each["mode"] == mode)
        lines.append(f"not compared, as an arm's data are wrong: {mode}, round {rounds}")
    return "\n".join(lines) or "every arm VALID"


def fault(found: dict) -> str:
    """Write what is wrong with one round; or with all rounds together, and what to change."""
    if found["round"] is None:
        return f": {found['rule']}: {found['measured']} ({found['limit']}); {found['change']}"
    return f" round {found['round']}: {found['rule']}: {found['measured']}"


def breakdown_table(arms: Sequence[dict]) -> str:
    """Return where the mean latency goes, in ms: a line per stage, a column per arm.

    Below stand the mean batch of each step and what a GPU spent, as far as they are known.
    """
    # Arms have different stages: a line has an empty cell where an arm lacks one.
    names = list(dict.fromkeys(name for arm in arms for name in arm["stages"]))
    titles = [name_arm(arm) for arm in arms]
    steps = [f"{step} mean batch" for step in list_computing_steps(names)]
    first = max([28, *(len(each) + 1 for each in (*names, *steps))])
    wide = [max(20, len(title) + 2) for title in titles]

    def row(title: str, cells: Iterable[str]) -> str:
        return f"{title:<{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, wide, strict=True))

    lines = [row("mean latency, ms", titles)]
    for name in names:
        lines.append(row(name, (ms(arm["stages"].get(name)) for arm in arms)))
    lines.append(row("in all", (ms(arm["latency"]["mean"]) for arm in arms)))
    for step in list_computing_steps(names):
        batches = [arm["steps"].get(step, {}).get("mean_batch") for arm in arms]
        lines.append(row(f"{step} mean batch", map(ms, batches)))
    for title, key, scale in GPU:
        values = [None if arm[key] is None else arm[key] * scale for arm in arms]
        # A machine without a GPU has no such row.
        if any(value is not None for value in values):
            lines.append(row(title, map(ms, values)))
    return "\n".join(lines)


def text(result: dict) -> str:
    """Write everything that is printed at the end, from the content of summary.json."""
    parts = []
    for name, workload in result["workloads"].items():
        measured = workload["arms"]
        parts += [arms_table(name, workload), validity(measured, workload["left_out"]), breakdown_table(measured)]
        if workload["comparisons"]:
            parts.append(comparison.format_table(workload["comparisons"]))
        parts.append("\n".join([workload["sentence"], *workload["remarks"]]))
    return "\n\n".join([*parts, LEGEND])


def name_arm(arm: dict) -> str:
    """Return an arm's name in the tables: its placement and its mode."""
    return f"{arm['placement']} {arm['mode']}"


def arm_row(arm: dict, wide: int) -> str:
    """Write the line of an arm in the table; `wide` characters are its name's."""
    latency = arm["latency"]
    p99 = bracketed(latency["p99"], arm["books"]["completed"])
    return (
        f"{name_arm(arm):<{wide}} {arm['achieved']:>5.2f} of {arm['offered']:<4.2f}"
        f" {ms(latency['p50']):>7} {ms(latency['p95']):>7} {p99:>9} {ms(arm['service']['p50']):>8} {arm['errors']:>4}"
        f" {ms(arm['client_cpu_ms']):>7} {ms(arm['server_cpu_ms']):>7}"
        f" {kb(arm['bytes_up']):>7} {kb(arm['bytes_down']):>6}"
    )
