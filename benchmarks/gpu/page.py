"""The page of a run, in Markdown: its sections, in order."""

from collections.abc import Sequence
from statistics import median

from benchmarks.gpu.placement_tables import image_sections, speech_section
from benchmarks.gpu.reading import Entry, Left
from benchmarks.gpu.step_tables import SMALL, half_section, instances_section, memory_section, movement_section
from benchmarks.gpu.tables import batches, detail, table, value
from common.figures import UNKNOWN, significant
from serving.thread_plan import format_cores

TITLE = (
    "# What a GPU does to it",
    "Made by `python -m benchmarks.gpu.results` of what `python -m benchmarks.gpu` left. Brackets after a latency"
    " or a share hold 95 % intervals over rounds (bootstrap-t); after a rate the outermost brackets of its"
    " searches, or the range of its repetitions.",
)
BEGIN, END = "<!-- surprises, by hand -->", "<!-- end of surprises -->"
NOTHING = "None written yet."


def write_page(left: Left, surprises: str = NOTHING) -> str:
    """Return the whole page; `surprises` is what people wrote between BEGIN and END."""
    first, *others = left.visits()
    parts = [*TITLE, *visit_sections(first)]
    for number, visit in enumerate(others, 2):
        parts += [name_visit(visit, number), *(deepen(part) for part in visit_sections(visit))]
    parts += [*missing_section(left), "## Surprises", f"{BEGIN}\n{surprises}\n{END}"]
    return "\n\n".join(parts) + "\n"


def visit_sections(left: Left) -> list[str]:
    """Return the sections of one visit; no figure of another one is in them, so nothing is compared across visits.

    Each size of a stage is of one run. Sections of a step take what they compare it with from that step's own run.
    """
    shown = left.settle()
    return [
        *head(left),
        *image_sections(shown, "a", "Photographs"),
        *cores_section(shown),
        *ensemble_section(shown),
        *speech_section(shown),
        *arrivals_section(shown),
        *image_sections(shown, "e", "Another size, another tensor"),
        *movement_section(left.run_of("f")),
        *half_section(shown, left.run_of("g", SMALL)),
        *instances_section(left.run_of("h")),
        *memory_section(shown),
        *others_section(shown),
    ]


def name_visit(left: Left, number: int) -> str:
    """Return the heading of a later visit: its card and day."""
    run = left.of("run")[-1]
    cards = ", ".join(card["name"] for card in run["cards"]) or "no card"
    return f"# Visit {number}: {cards}, {run.get('visit', '')}\n\nNothing here is compared with another visit."


def deepen(part: str) -> str:
    """Return a part of a page with its heading one level deeper."""
    return f"#{part}" if part.startswith("## ") else part


def head(left: Left) -> list[str]:
    """Return card, machine, cores and commands of the runs of a visit, and warnings."""
    runs = left.of("run")
    machine, card = runs[-1]["machine"], describe_cards(runs[-1]["cards"])
    server: Entry = next(reversed(left.of("server")), {})
    lines = []
    if not server.get("gpu"):
        lines.append(f"**No figure here is of a GPU**: {server.get('no_gpu_because') or 'the server used none'}.")
    if any(run["quick"] for run in runs):
        lines.append("**A rehearsal** (`--quick`): durations are too short for figures that anybody should use.")
    if any(run.get("short") for run in runs):
        lines.append("Measured with `--short`: about two thirds of the seconds for each figure.")
    sm_clocks = [entry["sm_clock"] for entry in left.of("figure") if entry.get("sm_clock")]
    under_load = f"; SM clock under load {median(sm_clocks):.0f} MHz" if sm_clocks else ""
    rows = [
        ("card", card + under_load),
        ("processor", f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"),
        ("cores", f"client {format_cores(runs[-1]['client_cores'])}, server {format_cores(runs[-1]['server_cores'])}"),
        ("server", f"{server.get('way', UNKNOWN)}; {describe_plan(server.get('plan', {}))}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in machine["versions"].items())),
        ("revision", str(machine["revision"])),
        ("commands", "; ".join(f"`{run['command']}`" for run in runs)),
    ]
    if idle := left.last("server", "", "idle", "power"):
        rows.insert(1, ("idle", f"{significant(idle['value'])} W"))
    return [*lines, table(("", ""), rows)]


def describe_cards(cards: Sequence[dict]) -> str:
    """Return each card with driver, memory, clocks and power limit."""
    each = [
        f"{card['name']}, {card['memory_mb'] / 1000:.0f} GB, driver {card['driver']}, compute capability"
        f" {card['capability']}, SM clock up to {card['sm_clock_max']} MHz, power limit {card['power_limit_watts']} W"
        for card in cards
    ]
    return "; ".join(each) or "none"


def describe_plan(plan: dict) -> str:
    """Return each step with instances x threads, and whether it runs on the GPU."""
    return ", ".join(
        f"{model} {share['instances']}x{share['threads']}{' on the GPU' if 'gpu' in share else ''}"
        for model, share in plan.items()
    )


def cores_section(left: Left) -> list[str]:
    """Return the tables of decoding over cores, and of sending over processes."""
    rows: list[tuple[str, ...]] = []
    sending: list[tuple[str, ...]] = []
    for size in left.names("b", "size"):
        for arm in left.names("b", "arm"):
            if rate := left.last("b", size, arm, "decoding rate"):
                rows.append(
                    (size, arm, value(rate), detail(rate, "server_cpu_ms"), detail(rate, "busiest_client", 100))
                )
            if rate := left.last("b", size, arm, "sending rate"):
                lags = [left.last("b", size, arm, f"dispatch lag {name}") for name in ("p50", "p99")]
                busy = detail(rate, "busiest_client", 100)
                sending.append(
                    (size, arm, value(rate), rate["limit"], busy, *map(value, lags), detail(lags[0], "rate"))
                )
    parts = ["## Cores"] if rows or sending else []
    if rows:
        head = ("", "server", "decoded /s", "server CPU ms", "busiest client process %")
        parts += ["`image_preprocess_cpu` alone, to clients that never pause.", table(head, rows)]
    if sending:
        lag_head = ("", "client", "sent /s", "limit", "busiest process %", "dispatch lag p50 ms", "p99 ms", "at /s")
        parts += ["The load generator against a server that computes nothing.", table(lag_head, sending)]
    return parts


def ensemble_section(left: Left) -> list[str]:
    """Return the ensemble beside its steps."""
    found = left.last("c", "640x427", "image", "efficiency")
    if found is None:
        return []
    rows = [
        (arm, value(entry), batches(entry), detail(entry, "server_cpu_ms"), detail(entry, "busiest_client", 100))
        for arm in left.names("c", "arm")
        if (entry := left.last("c", "640x427", arm, "rate"))
    ]
    told = (
        f"With {found['in_flight']} requests in flight the ensemble answers {value(found)} of what its steps allow,"
        f" {significant(found['bound'])}/s bound by {found['bound_by']}. Public reports have 0.33 and 0.45 (Triton"
        " server issues 6422 and 3245)."
    )
    doubts = f" It says less than that, as {'; '.join(found['doubts'])}." if found["doubts"] else ""
    columns = ("640x427", "answers /s", "mean batch", "server CPU ms", "busiest client process %")
    return ["## The ensemble and its steps", told + doubts, table(columns, rows)]


def arrivals_section(left: Left) -> list[str]:
    """Return latencies under two arrival processes at one rate."""
    rows, rate = [], 0.0
    for process in ("poisson", "cameras"):
        for arm, name in left.arm_names().items():
            found = [
                left.figures("e", "640x427", arm, f"{process} {percentile}") for percentile in ("p50", "p95", "p99")
            ]
            if not all(found):
                continue
            rate = found[0][-1]["rate"]
            each = [significant(median(entry["value"] for entry in entries)) for entries in found]
            last = found[0][-1]
            unanswered = str(sum(entry["unanswered"] for entry in found[0]))
            rows.append((process, name, *each, unanswered, batches(last), detail(last, "utilisation", 100)))
    if not rows:
        return []
    told = f"640x427 at {significant(rate)}/s, 70 % of the lowest capacity: Poisson, and 16 synchronised cameras."
    head = ("", "", "p50 ms", "p95 ms", "p99 ms", "unanswered", "mean batch", "GPU %")
    return ["## Arrivals", told, table(head, rows)]


def others_section(left: Left) -> list[str]:
    """Return what others measured, beside this run's figures."""
    name = left.arm_names()["server"]
    shares = [
        f"{value(entry, 100)} % at {size}"
        for size in left.names("a", "size")
        if (entry := left.last("a", size, "server", "share beyond the network"))
    ]
    rows = [
        ("share of latency that is not the network's", "up to 56 % (*Beyond Inference*, DAC'24, RTX 4090)", shares),
        (
            "decoding through Triton, /s",
            "755 to 873 on an A10, where bare nvJPEG made 2300 (dali_backend issue 178)",
            [value(entry) for entry in left.figures("c", "640x427", "image_preprocess", "rate")[-1:]],
        ),
        (
            "ensemble / its slowest step or CPU",
            "0.33 and 0.45 (server issues 6422 and 3245)",
            [value(entry) for entry in left.figures("c", "640x427", "image", "efficiency")[-1:]],
        ),
    ]
    known = [(what, others, f"{', '.join(ours)}; {name}") for what, others, ours in rows if ours]
    return ["## Beside what others measured", table(("", "others", "here"), known)] if known else []


def missing_section(left: Left) -> list[str]:
    """Return what did not fit and what failed."""
    lines = [
        f"- {entry['stage']}, {entry['point']}: did not fit (about {significant(entry['needed'])} s)"
        for entry in left.missing("did not fit")
    ]
    lines += [f"- {entry['stage']}, {entry['point']}: {entry['reason']}" for entry in left.missing("failed")]
    return ["## What is missing", "\n".join(lines)] if lines else []
