"""Stages a and d: placements of one workload over sizes: unloaded, then the highest rate within the limit."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks.gpu.bench import MISSING_CPU, Bench
from workloads.audio import fitted as clips
from workloads.image import fitted as photographs
from workloads.image import photographs as originals
from workloads.payloads import Payload

IMAGE_ARMS = ("client", "server", "server-cpu")
SMALL, LARGE = "640x427", "4032x3024"


def measure_images(bench: Bench) -> None:
    """Stage a: photographs as scikit-learn has them, and of a camera's size, by three arms."""
    asks = bench.arms("image", IMAGE_ARMS)
    if "server-cpu" not in asks:
        bench.record.note(MISSING_CPU, "a")
    if not bench.site.on_gpu:
        bench.record.note("no step runs on a GPU: `server` and `server-cpu` decode alike, on the server's cores", "a")
    sizes = {SMALL: lambda: originals((640,)), LARGE: lambda: photographs(4032, 3024)}
    measure_sizes(bench, "a", "image", IMAGE_ARMS, sizes, bench.pace.turns)


def measure_baseline(bench: Bench) -> None:
    """Measure the unloaded latencies of SMALL, unless this run has them: they set the limit of p95 for other stages."""
    if SMALL not in bench.slos:
        asks, sent = bench.arms("image", IMAGE_ARMS), originals((640,))
        bench.warm_up("a", SMALL, list(asks.values()), sent)
        bench.unloaded("a", SMALL, asks, sent)


def measure_sizes(
    bench: Bench,
    stage: str,
    workload: str,
    arms: Sequence[str],
    sizes: Mapping[str, Callable[[], Sequence[Payload]]],
    turns: int = 1,
) -> None:
    """Measure arms over sizes: first all unloaded, the cheapest; then their capacities, in turns.

    `sizes`: size -> what makes its payloads, which takes seconds for large ones. A warm-up comes before each size, so
    that nothing is timed that a GPU does for the first time.
    """
    asks = bench.arms(workload, arms)
    made = {size: make() for size, make in sizes.items() if bench.only_size in (None, size)}
    for size, sent in made.items():
        if size in bench.slos:
            continue
        bench.warm_up(stage, size, list(asks.values()), sent)
        bench.unloaded(stage, size, asks, sent)
    for _ in range(turns):
        for size, sent in made.items():
            for arm, ask in asks.items():
                bench.find_capacity(stage, size, arm, ask, sent)


def measure_speech(bench: Bench) -> None:
    """Stage d: clips of 2 and 15 s, by client and server."""
    sizes = {f"{seconds} s": partial(clips, seconds, 48_000) for seconds in (2, 15)}
    measure_sizes(bench, "d", "audio", ("client", "server"), sizes)
