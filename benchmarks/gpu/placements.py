"""Stages a and d: placements of one workload over sizes: unloaded, then the highest rate within the limit."""

from collections.abc import Sequence

from benchmarks.gpu.arms import Ask
from benchmarks.gpu.bench import MISSING_CPU, Bench
from workloads.audio import fitted as clips
from workloads.image import fitted as photographs
from workloads.image import photographs as originals
from workloads.payloads import Payload

IMAGE_ARMS = ("client", "server-cpu", "server")
SMALL, LARGE = "640x427", "4032x3024"


def measure_images(bench: Bench) -> None:
    """Stage a: photographs as scikit-learn has them, and of a camera's size, by three arms."""
    sizes = {SMALL: originals((640,)), LARGE: photographs(4032, 3024)}
    asks = bench.arms("image", IMAGE_ARMS)
    if "server-cpu" not in asks:
        bench.record.note(MISSING_CPU, "a")
    if not bench.site.on_gpu:
        bench.record.note("no step runs on a GPU: `server` and `server-cpu` decode alike, on the server's cores", "a")
    for size, sent in sizes.items():
        measure_size(bench, "a", size, "image", asks, sent)
    for _ in range(1, bench.pace.turns):
        for size, sent in sizes.items():
            for arm, ask in asks.items():
                bench.find_capacity("a", size, arm, ask, sent)


def measure_size(
    bench: Bench, stage: str, size: str, workload: str, asks: dict[str, Ask], sent: Sequence[Payload]
) -> None:
    """Warm up, measure the arms unloaded in turns, and search each one's capacity once."""
    bench.warm_up(stage, size, workload, sent)
    bench.unloaded(stage, size, asks, sent)
    for arm, ask in asks.items():
        bench.find_capacity(stage, size, arm, ask, sent)


def measure_speech(bench: Bench) -> None:
    """Stage d: clips of 2 and 15 s, by client and server."""
    asks = bench.arms("audio", ("client", "server"))
    for seconds in (2, 15):
        measure_size(bench, "d", f"{seconds} s", "audio", asks, clips(seconds, 48_000))
