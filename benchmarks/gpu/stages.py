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

SIZES = {
    "a": (placements.SMALL, placements.LARGE),
    "d": ("2 s", "15 s"),
    "e": (placements.SMALL, shapes.MIDDLE, shapes.TENSORS),
}
"""Stage -> the sizes that it may be asked for alone; the others are asked for as a whole."""


def check(asked: str) -> None:
    """Raise ValueError unless this is a stage, or one of a stage's sizes as `a:4032x3024`."""
    name, _, size = asked.partition(":")
    if name not in STAGES:
        raise ValueError(f"unknown stage {asked!r}; try some of {', '.join(STAGES)}")
    if asked != name and size not in SIZES.get(name, ()):
        known = ", ".join(f"{name}:{each}" for each in SIZES.get(name, ()))
        raise ValueError(f"unknown size {asked!r}; try {f'some of {known}' if known else f'{name}, which has none'}")
