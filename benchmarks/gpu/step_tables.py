"""Tables of single steps: copies between them, networks in FP16, two instances, memory that runs out."""

from benchmarks.gpu.movement import COPIES, MERGE, PARTS, Range, most_of_one_step, most_to_win
from benchmarks.gpu.placement_tables import placement_tables, rate_table
from benchmarks.gpu.reading import Left
from benchmarks.gpu.tables import batches, detail, table, value
from common.figures import significant

WORTH = 5
"""Per cent below which tensors that stay on the card are not worth their code."""
SMALL = "640x427"


def movement_section(left: Left) -> list[str]:
    """Return what copies between the steps cost, and their share of what the same run measured."""
    found = {size: parts for size in left.names("f", "size") if (parts := read_parts(left, size)) and len(parts) > 1}
    if not found:
        return []
    names = (*PARTS, "network, input in host memory", "network, input on the card")
    rows = [
        [size, *(value(left.last("f", size, "movement", name)) for name in names), *(format_range(each) for each in
         (most_to_win(parts, rows_of(size)), share_of_latency(left, size, parts), share_of_time(left, size, parts)))]
        for size, parts in found.items()
    ]  # fmt: skip
    before, after = COPIES
    told = (
        "Tensors of 3x224x224 in FP32, ms per batch, with the 10th and 90th percentile of the runs. The most to win by"
        " tensors that stay on the card is device to host, the copies within the host, and host to device; what"
        f" passing them on the card costs is not counted. Copies within the host: {before} by the step that decodes,"
        f" {after} by the network's, and {MERGE} more by that where requests share a batch. The time per answer is that"
        " of clients that never pause; the steps work side by side, so only the copies of one step count there, of the"
        " one that copies longer."
    )
    head = ("", *names, "most to win", "% of the unloaded latency", "% of the time per answer")
    return ["## Copies between the steps", told, table(head, rows), judge_movement(left, found)]


Parts = dict[str, tuple[float, float, float]]
"""Part -> its median and limits, in ms."""


def read_parts(left: Left, size: str) -> Parts:
    """Return the parts that were measured of a batch."""
    found = {name: left.last("f", size, "movement", name) for name in PARTS}
    return {name: (entry["value"], entry["low"], entry["high"]) for name, entry in found.items() if entry}


def rows_of(size: str) -> int:
    """Return how many rows a batch has: "batch 8" -> 8."""
    return int(size.split()[-1])


def share_of_latency(left: Left, size: str, parts: Parts) -> Range | None:
    """Return the share of the median unloaded latency of GPU decode, for single photographs; None where not known."""
    latency = left.last("a", SMALL, "server", "unloaded latency")
    return scale(most_to_win(parts, 1), 100 / latency["value"]) if latency and rows_of(size) == 1 else None


def share_of_time(left: Left, size: str, parts: Parts) -> Range | None:
    """Return the share of the time per answer while clients never pause, which fills batches; None where not known."""
    rate, rows = left.last("a", SMALL, "server", "rate without pauses"), rows_of(size)
    return scale(most_of_one_step(parts, rows), 100 * rate["value"] / 1e3 / rows) if rate and rows > 1 else None


def scale(found: Range, factor: float) -> Range:
    """Return a figure and its limits times a factor."""
    value, low, high = (each * factor for each in found)
    return value, low, high


def format_range(found: Range | None) -> str:
    """Return a figure with its limits."""
    return "-" if found is None else f"{significant(found[0])} [{significant(found[1])}, {significant(found[2])}]"


def judge_movement(left: Left, found: dict[str, Parts]) -> str:
    """Return the sentence: not worth it, worth a try, or undecided, by the limits; latency and rate each."""
    if not left.decodes_on_gpu:
        return "No share is known: no photograph was decoded on a GPU."
    clauses = []
    for of, share in (("the unloaded latency", share_of_latency), ("the time per answer", share_of_time)):
        known = [each for size, parts in found.items() if (each := share(left, size, parts))]
        if not known:
            continue
        low, high = min(low for _, low, _ in known), max(high for *_, high in known)
        verdict = "not worth it" if high < WORTH else "worth a try" if low >= WORTH else "undecided"
        clauses.append(f"of {of} {significant(low)} to {significant(high)} % at most: {verdict}")
    if not clauses:
        return "No share is known: latency and rate of photographs on a GPU are not of this run."
    return f"Held to {WORTH} %, below which it is not worth its code: {'; '.join(clauses)}."


def half_section(left: Left, run: Left) -> list[str]:
    """Return the networks alone in both precisions, and photographs with both: the latter of one `run`."""
    rows = []
    for size in left.names("g", "size"):
        for arm in left.names("g", "arm"):
            if rate := left.last("g", size, arm, "rate"):
                parity = left.last("g", size, arm, "largest difference of logits")
                cells = [value(parity, 100), detail(parity, "same_top1", 100)]
                rows.append([size, arm, value(rate), batches(rate), detail(rate, "joules"), *cells])
    if not rows:
        return []
    told = (
        "The networks alone, sent tensors by clients that never pause; the largest difference of logits from FP32 in"
        " per cent of their standard deviation, on what was sent."
    )
    head = ("", "", "answers /s", "mean batch", "J", "logits differ %", "top-1 the same %")
    parts = ["## FP16", told, table(head, rows)]
    if verdict := compare_ranges(run, "g", "resnet50 FP16", "resnet50 FP32"):
        parts.append(verdict)
    pairs = [("a", "server"), ("g", "server-fp16"), ("a", "client"), ("g", "client-fp16")]
    arms = [(stage, SMALL, arm) for stage, arm in pairs if run.last(stage, SMALL, arm, "unloaded latency")]
    if any(stage == "g" for stage, *_ in arms):
        parts += ["Photographs with the network in FP16 and in FP32.", *placement_tables(run, arms, run.arm_names())]
    return parts


def instances_section(left: Left) -> list[str]:
    """Return one instance of the decoding step beside two, of one run."""
    rows = [
        [arm, value(rate), batches(rate), detail(rate, "server_cpu_ms"), detail(rate, "utilisation", 100)]
        for arm in ("one instance", "two instances")
        if (rate := left.last("h", SMALL, arm, "rate"))
    ]
    if not rows:
        return []
    head = ("`image_preprocess` alone", "answers /s", "mean batch", "server CPU ms", "GPU %")
    arms = [("a", SMALL, "server"), ("h", SMALL, "server-two")]
    told = "Two have half of the threads each. Then the ensemble, with the same limit of p95."
    verdict = compare_ranges(left, "h", "two instances", "one instance")
    ensemble = rate_table(left, arms, left.arm_names())
    return ["## Two instances that decode", told, table(head, rows), *([verdict] if verdict else []), ensemble]


def compare_ranges(left: Left, stage: str, arm: str, baseline: str) -> str:
    """Return the sentence on the rates of two arms, by the ranges of their repetitions; empty without both."""
    rates = [left.last(stage, SMALL, name, "rate") for name in (arm, baseline)]
    given, base = rates
    if not given or not base or any(entry["low"] is None for entry in (given, base)):
        return ""
    times = f"{arm}: {significant(given['value'] / base['value'])} times the rate of {baseline}"
    apart = given["low"] > base["high"] or given["high"] < base["low"]
    return f"- {times}; their ranges {'are apart' if apart else 'meet, which decides nothing'}."


def memory_section(left: Left) -> list[str]:
    """Return what was answered when the card's memory ran out."""
    run = left.last("m", "", "resnet50", "out of memory in a run")
    loaded = left.last("m", "", "resnet50", "out of memory at load")
    lines = []
    if run:
        one, many, after = run["answers"]
        lines.append(f"- in a run: one row: {one}; 32 rows: {many}; then one row: {after}")
    if loaded:
        said, after = loaded["answers"]
        lines.append(f"- at load: {said}; a request after that: {after}")
    return ["## Out of memory", "\n".join(lines)] if lines else []
