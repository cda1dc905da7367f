"""Placements beyond a workload's own: they are measured where --arms names them, and nowhere else.

    client:uint8    a variant that the workload's placement `client` declares (`Placement.variants`)
    local           a placement that the workload declares beside those that are compared (`Workload.optional`)
    ready           the first placement that prepares, with tensors prepared before the run: made here

`docs/placements.md` says what each of the built-in ones is good for.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from workloads.placement import Placement, Preprocessor, per_thread
from workloads.tensors import Prepared

READY = "ready"


def list_names(bases: Mapping[str, Placement]) -> list[str]:
    """Return the names of all placements that --arms can name: those without a variant first."""
    variants = (f"{name}:{variant}" for name, each in bases.items() for variant in each.variants)
    ready = [READY] if any(each.prepares for each in bases.values()) else []
    return list(dict.fromkeys((*bases, *ready, *variants)))


def find(bases: Mapping[str, Placement], name: str, workload: str, arm: str = "") -> Placement:
    """Return the placement of that name, with words of its own.

    `bases` are the placements without a variant. Raises ValueError that names the workload, the `arm` that was asked
    for, if it is more than the name, and the good ones.
    """
    if name in bases:
        return bases[name]
    if name == READY and (preparing := [each for each in bases.values() if each.prepares]):
        return make_ready(preparing[0])
    base, _, variant = name.partition(":")
    if base in bases and variant in bases[base].variants:
        words = bases[base].words or f"the {base} placement"
        return replace(bases[base].variants[variant], words=f"{words} ({variant})")
    good = ", ".join(list_names(bases))
    raise ValueError(f"unknown placement {(arm or name)!r} of {workload}; try some of {good}, with commas")


def make_ready(placement: Placement) -> Placement:
    """Return the placement with tensors that are prepared once, and kept: no placement can be quicker.

    Every payload is sent before a run begins, to see whether it has an answer, and is prepared then. All of them stay
    in memory.
    """
    makers = {name: per_thread(remember(make)) for name, make in placement.libraries.items()}
    return replace(placement, prepare=makers, variants={}, words="the client, with tensors prepared before the run")


def remember(make: Callable[[], Preprocessor]) -> Callable[[], Preprocessor]:
    """Return a maker of preprocessors that all hand out what any of them has prepared of the same payload."""
    kept: dict[int, tuple[Any, Prepared]] = {}

    def make_remembering() -> Preprocessor:
        preprocess = make()

        def prepare_once(encoded: Any) -> Prepared:
            # By identity, as arrays have no hash; the payload is kept, so that no other can have its number.
            if id(encoded) not in kept:
                kept[id(encoded)] = encoded, preprocess(encoded)
            return kept[id(encoded)][1]

        return prepare_once

    return make_remembering
