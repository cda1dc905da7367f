"""Decides how many threads each model gets, and how long a request may wait for them.

Two instances that each own a full thread pool are the classic way to make an ensemble lose (Triton server issue
5969: eight of them, nine times slower than one), and ONNX Runtime's backend starts two by default. So instances
x threads never exceeds the server's cores, for any model.

A request that would not be answered within the SLO is better refused at once: its client has given up by then, and
it makes the next ones late. Two steps of a pipeline have a queue, the preprocessing and the network, so the first
considers both. A step finds how many requests fit into the SLO from what they cost it lately on its threads
(backends/queue_bounds.py): clips and photographs differ too much for a number written here.
"""

import os
from collections.abc import Iterable, Mapping

from common.cpu_quota import list_usable_cores

AUDIO_INSTANCES = 4  # each is a Python process that holds librosa: more cost memory before they pay
SLO = 10_000  # ms: people do not wait longer (Nielsen, Usability Engineering, 1993), and benchmarks stay below it
GPU_STEPS = ("image_preprocess", "resnet50", "wav2vec2")  # that run on a GPU where there is one
NETWORKS = {"resnet50", "wav2vec2"}
NEXT = {"image_preprocess": "resnet50", "audio_preprocess": "wav2vec2"}  # step -> the one that its work is for

Plan = Mapping[str, Mapping[str, int | str | None]]
"""Model -> its share of the server: `instances`, `threads`, `slo_ms`, the `next` step, and its `gpu`, if any."""


def plan_threads(cores: int, slo: int = SLO, on_gpu: Iterable[str] = ()) -> Plan:
    """Return the share of each model on a server with so many cores: `instances`, `threads`, `slo_ms`, `next`, `gpu`.

    `slo` is in ms; with 0 no model has one, and queues grow without bound. `next` is the step whose queue counts, too.
    Models `on_gpu` run on CUDA's device 0, their `gpu`.

    A network and DALI spread one batch over threads, so one instance takes all cores; resampling a clip is serial
    Python, so it gets processes instead. A network on a GPU needs one thread, which hands it the work. DALI on a GPU
    keeps all cores: what the card's JPEG decoder cannot take (progressive files), and the Huffman codes of all files on
    cards without one, are decoded on the CPU.
    """
    shares: dict[str, dict[str, int | str | None]] = {
        "image_preprocess": {"instances": 1, "threads": cores},
        "resnet50": {"instances": 1, "threads": cores},
        "audio_preprocess": {"instances": min(cores, AUDIO_INSTANCES), "threads": 1},
        "wav2vec2": {"instances": 1, "threads": cores},
        "ctc_decode": {"instances": 1, "threads": 1},  # a millisecond after hundreds: nothing ever waits for it
    }
    for model in on_gpu:
        shares[model]["gpu"] = 0
    for model in NETWORKS & shares.keys():
        if "gpu" in shares[model]:
            shares[model]["threads"] = 1
    for model in ("image_preprocess", "resnet50", "audio_preprocess", "wav2vec2") if slo else ():
        shares[model]["slo_ms"] = slo
    for model, following in NEXT.items() if slo else ():
        shares[model]["next"] = following
    return shares


def describe(plan: Plan) -> str:
    """Return each model with its instances x threads, in one line; with `+GPU` where it runs on one.

    `x?` stands for threads that are up to the model's own code.
    """
    return ", ".join(
        f"{model} {p['instances']}x{p['threads'] or '?'}{'+GPU' if 'gpu' in p else ''}" for model, p in plan.items()
    )


def list_crowded(plan: Mapping[str, Mapping], cores: int) -> list[str]:
    """Return a line about each model of this plan with more instances x threads than the server has cores."""
    lines = []
    for model, share in plan.items():
        instances, threads = share["instances"], share["threads"] or 1
        if instances * threads > cores:
            each = f" of {threads} threads" if threads > 1 else ""
            wants = f"{model} has {instances} instance{'s' * (instances > 1)}{each} on {cores} core{'s' * (cores > 1)}"
            lines.append(f"{wants}, which slows all of them down: its config.pbtxt says so")
    return lines


def server_cores(spec: str | None, available: set[int] | None = None) -> list[int]:
    """Return the server's cores for `--cores`: `all`, a list like `0-3,6`, or (None) the upper half of those available.

    The lower half is then free for a load generator on the same machine; of a single core both share it. Where a
    container's quota is the time of fewer cores (`common.cpu_quota`), only so many are taken, but for a list.
    Raises ValueError where the list cannot be read or names a core that this process may not use.
    """
    cores = sorted(available or os.sched_getaffinity(0))
    usable = cores if available else list_usable_cores(cores)
    if spec is None:
        return usable[len(usable) // 2 :]
    if spec == "all":
        return usable
    try:
        wanted = [core for part in spec.split(",") for core in span(part, cores)]
    except ValueError:
        out_of = format_cores(cores)
        raise ValueError(f"--cores {spec!r}: expected 'all' or a list of cores like 0-3,6 out of {out_of}") from None
    return sorted(set(wanted))


def span(part: str, cores: list[int]) -> list[int]:
    """Return the cores of `3` or `0-3`. Raises ValueError unless all of them are among `cores`."""
    first, _, last = part.partition("-")
    start, end = cores.index(int(first)), cores.index(int(last or first))
    if end - start != int(last or first) - int(first) or end < start:
        raise ValueError(part)
    return cores[start : end + 1]


def format_cores(cores: list[int]) -> str:
    """Return cores as the kernel writes them: `0-3,6` for [0, 1, 2, 3, 6]."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
