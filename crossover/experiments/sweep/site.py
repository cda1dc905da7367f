"""Where points of a sweep are measured: a server, here or at the far end of a link."""

from collections.abc import Iterable
from dataclasses import dataclass

from crossover.experiments.sweep.grid import Sweep
from crossover.measurement.extra_models import Reference
from crossover.measurement.network_link import Link
from serving.server import Server


@dataclass(frozen=True)
class Site:
    """A server with `weights` (of PHRASES), and the link that lies before it; None where it is on this side."""

    weights: str
    server: Server
    link: Link | None = None


def find_derived(sweeps: Iterable[Sweep]) -> list[Reference]:
    """Find the variants of these sweeps whose models a server lacks until they are made from others."""
    return [
        (sweep.workload.file or sweep.workload.name, f"{sweep.arms[0]}:{variant}")
        for sweep in sweeps
        for variant, each in sweep.workload.placements[sweep.arms[0]].variants.items()
        if each.derived and each.form in sweep.forms
    ]
