"""Placements beyond a workload's own: they are measured where --arms names them, and nowhere else.

    client:uint8    a variant that the workload's placement `client` declares (`Placement.variants`)
    local           a placement that the workload declares beside those that are compared (`Workload.optional`)

`docs/placements.md` says what each of the built-in ones is good for.
"""

from collections.abc import Mapping
from dataclasses import replace

from workloads.placement import Placement


def list_names(bases: Mapping[str, Placement]) -> list[str]:
    """Return the names of all placements that --arms can name: those without a variant first."""
    variants = (f"{name}:{variant}" for name, each in bases.items() for variant in each.variants)
    return list(dict.fromkeys((*bases, *variants)))


def find(bases: Mapping[str, Placement], name: str, workload: str) -> Placement:
    """Return the placement of that name, with words of its own.

    `bases` are the placements without a variant. Raises ValueError that names the good ones and the workload.
    """
    if name in bases:
        return bases[name]
    base, _, variant = name.partition(":")
    if base in bases and variant in bases[base].variants:
        words = bases[base].words or f"the {base} placement"
        return replace(bases[base].variants[variant], words=f"{words} ({variant})")
    good = ", ".join(list_names(bases))
    raise ValueError(f"unknown placement {name!r} of {workload}; try some of {good}, with commas")
