"""The page of a run: its tables, in Markdown."""

from collections.abc import Sequence
from statistics import median

from benchmarks.gpu.advice import advise
from benchmarks.gpu.reading import Entry, Left
from common.figures import UNKNOWN, interval, significant
from serving.thread_plan import format_cores

SPEECH = {"server": "server", "client": "client"}
BEGIN, END = "<!-- surprises, by hand -->", "<!-- end of surprises -->"
NOTHING = "None written yet."


def write_page(left: Left, surprises: str = NOTHING) -> str:
    """Return the whole page; `surprises` is what people wrote between BEGIN and END."""
    parts = [
        head(left),
        *image_sections(left, "a", "Photographs"),
        *cores_section(left),
        *ensemble_section(left),
        *speech_section(left),
        *arrivals_section(left),
        *image_sections(left, "e", "Another size, another tensor"),
        *others_section(left),
        *missing_section(left),
        "## Surprises",
        f"{BEGIN}\n{surprises}\n{END}",
    ]
    return "\n\n".join(parts) + "\n"


def head(left: Left) -> str:
    """Return title, card, machine, cores and command of the runs."""
    runs = left.of("run")
    machine, card = runs[-1]["machine"], describe_cards(runs[-1]["cards"])
    server: Entry = next(reversed(left.of("server")), {})
    lines = [
        "# What a GPU does to it",
        "Made by `python -m benchmarks.gpu.results` of what `python -m benchmarks.gpu` left. Brackets after a latency"
        " or a share hold 95 % intervals over rounds (bootstrap-t); after a rate the outermost brackets of its"
        " searches, or the range of its repetitions.",
    ]
    if not server.get("gpu"):
        lines.append(f"**No figure here is of a GPU**: {server.get('no_gpu_because') or 'the server used none'}.")
    if any(run["quick"] for run in runs):
        lines.append("**A rehearsal** (`--quick`): durations are too short for figures that anybody should use.")
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
    return "\n\n".join([*lines, table(("", ""), rows)])


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


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def value(entry: Entry | None, scale: float = 1.0) -> str:
    """Return a figure with its interval; UNKNOWN without one."""
    if entry is None or entry["value"] is None:
        return UNKNOWN
    low, high = (None if entry[key] is None else entry[key] * scale for key in ("low", "high"))
    return f"{significant(entry['value'] * scale)} {interval(low, high)}".rstrip()


def detail(entry: Entry | None, key: str, scale: float = 1.0) -> str:
    """Return another number of a figure's line."""
    number = (entry or {}).get(key)
    return UNKNOWN if number is None else significant(number * scale)


def batches(entry: Entry | None) -> str:
    """Return the mean batch of the steps that are no ensembles, with arrows between them."""
    found = (entry or {}).get("batch", {})
    steps = [
        f"{name} {significant(size)}" for name, size in found.items() if name not in ("image", "image_cpu", "audio")
    ]
    return ", ".join(steps) or UNKNOWN


def image_sections(left: Left, stage: str, title: str) -> list[str]:
    """Return the tables of placements over sizes, with one sentence of advice per size."""
    names = left.arm_names()
    measured = [arm for arm in names if left_has(left, stage, arm, "unloaded latency")]
    sizes = [size for size in left.names(stage, "size") if any_latency(left, stage, size, measured)]
    if not sizes:
        return []
    pairs = [(size, arm) for size in sizes for arm in measured if left.last(stage, size, arm, "unloaded latency")]
    parts = [f"## {title}", *placement_tables(left, stage, pairs, names)]
    return [*parts, "\n".join(f"- {advise(left, stage, size, measured)}" for size in sizes)]


def left_has(left: Left, stage: str, arm: str, figure: str) -> bool:
    """Return whether a stage has that figure of an arm, at any size."""
    return any(left.last(stage, size, arm, figure) for size in left.names(stage, "size"))


def any_latency(left: Left, stage: str, size: str, arms: Sequence[str]) -> bool:
    """Return whether an arm was measured unloaded at a size."""
    return any(left.last(stage, size, arm, "unloaded latency") for arm in arms)


UNLOADED = (
    *("", "", "median ms", "n", "processing", "network", "movement", "waiting", "processing %", "beyond network %"),
)
RATES = (
    *("", "", "highest rate /s", "limit ms", "p95 ms", "mean batch", "CPU ms client", "server", "J", "GPU %"),
    *("limit", "without pauses /s", "turns"),
)
PARTS = ("processing", "network", "movement", "waiting")


def placement_tables(left: Left, stage: str, pairs: Sequence[tuple[str, str]], names: dict[str, str]) -> list[str]:
    """Return two tables of (size, arm): unloaded latency and where it goes, and the highest rates with their costs."""
    return [
        "Unloaded, one request at a time; processing, network, movement and waiting are mean ms.",
        table(UNLOADED, [unloaded_row(left, stage, size, arm, names[arm]) for size, arm in pairs]),
        "The highest rate of Poisson arrivals that keeps p95 within the limit, which is 5 times the slowest arm's"
        " unloaded median; costs are per answer at the highest rate that was kept.",
        table(RATES, [rate_row(left, stage, size, arm, names[arm]) for size, arm in pairs]),
    ]


def unloaded_row(left: Left, stage: str, size: str, arm: str, name: str) -> list[str]:
    """Return a row of UNLOADED."""
    latency = left.last(stage, size, arm, "unloaded latency")
    parts = (left.last(stage, size, arm, "mean latency") or {}).get("parts", {})
    shares = [value(left.last(stage, size, arm, f"share {of}"), 100) for of in ("processing", "beyond the network")]
    return [size, name, value(latency), detail(latency, "n"), *(detail(parts, part) for part in PARTS), *shares]


def rate_row(left: Left, stage: str, size: str, arm: str, name: str) -> list[str]:
    """Return a row of RATES."""
    found = left.last(stage, size, arm, "capacity")
    limits = [detail(found, key) for key in ("slo_ms", "p95")]
    costs = [detail(found, key) for key in ("client_cpu_ms", "server_cpu_ms", "joules")]
    costs += [detail(found, "utilisation", 100), (found or {}).get("limit", UNKNOWN)]
    full = left.last(stage, size, arm, "rate without pauses")
    return [size, name, value(found), *limits, batches(found), *costs, value(full), detail(found, "turns")]


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


def speech_section(left: Left) -> list[str]:
    """Return the tables of speech."""
    pairs = [(s, a) for s in left.names("d", "size") for a in SPEECH if left.last("d", s, a, "unloaded latency")]
    return ["## Speech", *placement_tables(left, "d", pairs, SPEECH)] if pairs else []


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
