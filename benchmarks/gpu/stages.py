"""The stages, in the order of their worth."""

from collections.abc import Callable

from benchmarks.gpu import placements
from benchmarks.gpu.bench import Bench

STAGES: dict[str, Callable[[Bench], None]] = {
    "a": placements.measure_images,
    "d": placements.measure_speech,
}
