"""The stages, in the order of their worth."""

from collections.abc import Callable

from benchmarks.gpu import cores, ensemble, placements, shapes
from benchmarks.gpu.bench import Bench

STAGES: dict[str, Callable[[Bench], None]] = {
    "a": placements.measure_images,
    "b": cores.measure_cores,
    "c": ensemble.measure_ensemble,
    "d": placements.measure_speech,
    "e": shapes.measure_shapes,
}
