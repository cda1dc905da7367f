"""The tables that `make bench` prints, and what their columns mean."""

from collections.abc import Iterable

from crossover.analysis import comparison
from loadgen.samples.early_stopping import required_requests

P99_NEEDS = required_requests(99)
GPU = ("GPU energy, J per request", "gpu_joules", 1), ("GPU in use, %", "gpu_utilisation", 100)

LEGEND = """\
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
GPU         where Triton tells of one: joules per request, and the mean of its use as told at the end of each block"""


def setting(report: dict) -> str:
    """Who had which cores, which server, which weights: loud where predictions mean nothing."""
    server, cores = report["server"], report["cores"]
    if not cores["server"]:
        apart = "not a server of this machine's launcher"
    elif set(cores["client"]) & set(cores["server"]):
        apart = "!! shared by both: a comparison on shared cores is not of equal budgets"
    else:
        apart = "pinned apart"
    lines = [
        f"server: Triton {server['version']} at {server['url']}, engine {report['engine'] or 'unknown'}",
        f"cores: client {listed(cores['client'])}, server {listed(cores['server'])}: {apart}",
    ]
    for model, facts in server["models"].items():
        weights = facts.get("provenance", {})
        if weights:
            lines.append(f"weights: {model}: {weights['weights']} ({weights['source']})")
            if weights["weights"] != "pretrained":
                lines.append(f"         !! {weights['note']}")
    return "\n".join(lines)


def listed(cores: list[int]) -> str:
    return ",".join(map(str, cores)) or "unknown"


def arms(name: str, workload: dict) -> str:
    head = (
        f"{name}: {workload['arrivals']}, the same schedules for every arm",
        f"{'arm':<20} {'rate':>13} {'p50':>7} {'p95':>7} {'p99':>9} {'service':>8} {'err':>4}"
        f" {'cpu cl':>7} {'srv':>7} {'KB up':>7} {'down':>6}",
    )
    return "\n".join([*head, *(row(arm) for arm in workload["arms"])])


def verdicts(measured: list[dict], left_out: list[dict]) -> str:
    """The arms whose figures are not to be trusted, what to change, and what the comparison leaves out."""
    lines = [
        f"INVALID {arm['placement']} {arm['mode']}{say_fault(found)}" for arm in measured for found in arm["findings"]
    ]
    for mode in dict.fromkeys(each["mode"] for each in left_out):
        turns = ", ".join(str(each["round"]) for each in left_out if each["mode"] == mode)
        lines.append(f"not compared, as an arm's data are wrong: {mode}, round {turns}")
    return "\n".join(lines) or "every arm VALID"


def say_fault(found: dict) -> str:
    """What is wrong with one round, or with all rounds together and what to change."""
    if found["round"] is None:
        return f": {found['rule']}: {found['measured']} ({found['limit']}); {found['change']}"
    return f" round {found['round']}: {found['rule']}: {found['measured']}"


def where(measured: list[dict]) -> str:
    """Where the mean latency goes, a stage a row, an arm a column."""
    names = list(dict.fromkeys(name for arm in measured for name in arm["stages"]))
    titles = [f"{arm['placement']} {arm['mode']}" for arm in measured]
    lines = [f"{'mean latency, ms':<28}" + "".join(f"{title:>20}" for title in titles)]
    for name in names:
        lines.append(f"{name:<28}" + "".join(f"{ms(arm['stages'].get(name)):>20}" for arm in measured))
    lines.append(f"{'in all':<28}" + "".join(f"{ms(arm['latency']['mean']):>20}" for arm in measured))
    for step in computing(names):
        batches = [arm["steps"].get(step, {}).get("mean_batch") for arm in measured]
        lines.append(f"{f'{step} mean batch':<28}" + "".join(f"{ms(batch):>20}" for batch in batches))
    for title, key, scale in GPU:
        values = [None if arm[key] is None else arm[key] * scale for arm in measured]
        if any(value is not None for value in values):
            lines.append(f"{title:<28}" + "".join(f"{ms(value):>20}" for value in values))
    return "\n".join(lines)


def computing(stages: Iterable[str]) -> list[str]:
    """The server's steps among them."""
    return [name.removesuffix(" compute") for name in stages if name.endswith(" compute")]


def whole(result: dict) -> str:
    """Everything that is printed at the end, from the content of summary.json."""
    parts = []
    for name, workload in result["workloads"].items():
        parts += [arms(name, workload), verdicts(workload["arms"], workload["left_out"]), where(workload["arms"])]
        if workload["comparisons"]:
            parts.append(comparison.format_table(workload["comparisons"]))
        if workload["sentence"]:
            parts.append(workload["sentence"])
    return "\n\n".join([*parts, LEGEND])


def exit_code(result: dict) -> int:
    """As `validity.Validity.exit_code`, of the worst arm."""
    measured = [arm for workload in result["workloads"].values() for arm in workload["arms"]]
    return 1 if any(arm["errors"] for arm in measured) else 3 if not all(arm["valid"] for arm in measured) else 0


def row(arm: dict) -> str:
    latency = arm["latency"]
    p99 = ms(latency["p99"]) if arm["books"]["completed"] >= P99_NEEDS else f"({ms(latency['p99'])})"
    return (
        f"{arm['placement'] + ' ' + arm['mode']:<20} {arm['achieved']:>5.2f} of {arm['offered']:<4.2f}"
        f" {ms(latency['p50']):>7} {ms(latency['p95']):>7} {p99:>9} {ms(arm['service']['p50']):>8} {arm['errors']:>4}"
        f" {ms(arm['client_cpu_ms']):>7} {ms(arm['server_cpu_ms']):>7}"
        f" {kb(arm['bytes_up']):>7} {kb(arm['bytes_down']):>6}"
    )


def ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def kb(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e3:.1f}"
