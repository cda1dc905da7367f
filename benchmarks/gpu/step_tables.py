"""Tables of single steps: copies between them, networks in FP16, two instances, memory that runs out."""

from benchmarks.gpu.movement import COPIES, PARTS
from benchmarks.gpu.placement_tables import placement_tables, rate_table
from benchmarks.gpu.reading import Entry, Left
from benchmarks.gpu.tables import batches, detail, table, value
from common.figures import significant

WORTH = 5
"""Per cent below which tensors that stay on the card are not worth their code."""
SMALL = "640x427"


def movement_section(left: Left) -> list[str]:
    """Return what copies between the steps cost, and their share of what was measured in the same visit."""
    found = {size: left.last("f", size, "movement", "most to win") for size in left.names("f", "size")}
    if not found:
        return []
    names = (*PARTS, "network, input in host memory", "network, input on the card", "most to win")
    rows = [
        [size, *(value(left.last("f", size, "movement", name)) for name in names), *shares(left, size, most)]
        for size, most in found.items()
        if most
    ]
    told = (
        "Tensors of 3x224x224 in FP32, ms per batch, with the 10th and 90th percentile of the runs. The most to win by"
        f" tensors that stay on the card is device to host, {COPIES} copies within the host, and host to device; what"
        " passing them on the card costs is not counted."
    )
    head = ("", *names, "% of the unloaded latency", "% of the time per answer")
    return ["## Copies between the steps", told, table(head, rows), judge_movement(left, found)]


def shares(left: Left, size: str, most: Entry) -> list[str]:
    """Return the most to win as a share of the latency of one request, and of the time per answer without pauses."""
    return [format_share(each) for each in (share_of_latency(left, size, most), share_of_time(left, size, most))]


Share = tuple[float, float, float]
"""A share in per cent, and its limits."""


def share_of_latency(left: Left, size: str, most: Entry) -> Share | None:
    """Return the share of the median unloaded latency of GPU decode, for single photographs; None where not known."""
    latency = left.last("a", SMALL, "server", "unloaded latency")
    return scale(most, 100 / latency["value"]) if latency and size == "batch 1" else None


def share_of_time(left: Left, size: str, most: Entry) -> Share | None:
    """Return the share of the time that passes per answer while clients never pause; None where not known."""
    rate = left.last("a", SMALL, "server", "rate without pauses")
    return scale(most, 100 * rate["value"] / 1e3 / int(size.split()[-1])) if rate else None


def scale(entry: Entry, factor: float) -> Share:
    """Return a figure and its limits times a factor."""
    return entry["value"] * factor, entry["low"] * factor, entry["high"] * factor


def format_share(share: Share | None) -> str:
    """Return a share with its limits."""
    return "-" if share is None else f"{significant(share[0])} [{significant(share[1])}, {significant(share[2])}]"


def judge_movement(left: Left, found: dict[str, Entry | None]) -> str:
    """Return the sentence: not worth it, worth a try, or undecided, by the upper limits."""
    known = [
        share
        for size, most in found.items()
        if most
        for share in (share_of_latency(left, size, most), share_of_time(left, size, most))
        if share
    ]
    if not known or not left.decodes_on_gpu:
        return "No share is known: latency and rate of photographs on a GPU are not of this visit."
    if max(high for *_, high in known) < WORTH:
        return f"**Not worth it**: at most {significant(max(high for *_, high in known))} %."
    low, high = min(low for _, low, _ in known), max(high for *_, high in known)
    return (
        f"{significant(low)} to {significant(high)} % could be won at most; it is not worth its code below {WORTH} %."
    )


def half_section(left: Left) -> list[str]:
    """Return the networks alone in both precisions, and the arms of photographs with the network in FP16."""
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
    names = left.arm_names()
    arms = [(SMALL, arm) for arm in ("server-fp16", "client-fp16") if left.last("g", SMALL, arm, "unloaded latency")]
    parts = ["## FP16", told, table(head, rows)]
    return (
        [
            *parts,
            "Photographs with the network in FP16; those in FP32 stand above.",
            *placement_tables(left, "g", arms, names),
        ]
        if arms
        else parts
    )


def instances_section(left: Left) -> list[str]:
    """Return one instance of the decoding step beside two."""
    rows = [
        [arm, value(rate), batches(rate), detail(rate, "server_cpu_ms"), detail(rate, "utilisation", 100)]
        for arm in ("one instance", "two instances")
        if (rate := left.last("h", SMALL, arm, "rate"))
    ]
    if not rows:
        return []
    head = ("`image_preprocess` alone", "answers /s", "mean batch", "server CPU ms", "GPU %")
    pairs = [("a", "server"), ("h", "server-two")]
    told = "Two have half of the threads each. Then the ensemble, with the same limit of p95."
    return ["## Two instances that decode", told, table(head, rows), rate_table(left, SMALL, pairs, left.arm_names())]


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
