"""The stages, in the order of their worth."""

from collections.abc import Callable

from benchmarks.gpu import cores, ensemble, memory, movement, placements, shapes, variants
from benchmarks.gpu.bench import Bench

STAGES: dict[str, Callable[[Bench], None]] = {
    "a": placements.measure_images,
    "b": cores.measure_cores,
    "c": ensemble.measure_ensemble,
    "d": placements.measure_speech,
    "e": shapes.measure_shapes,
    "f": movement.measure_movement,
    "g": variants.measure_half,
    "h": variants.measure_instances,
    "m": memory.measure_memory,
}
