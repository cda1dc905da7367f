"""Checks of users' own workloads before a sweep: what cannot be prepared or answered costs no time that is measured."""

from collections.abc import Mapping, Sequence

from crossover.experiments.sweep import grid
from crossover.measurement import payload_check
from loadgen.arm import Arm, Mode
from serving.server import Server
from workloads.model_config import complete
from workloads.prepare_check import check_workload
from workloads.workload import Workload

Placements = Mapping[str, Sequence[str]]
"""The names of the arms' placements, by the workload's name."""


def check_prepare(workloads: Mapping[str, Workload], placements: Placements, server: Server | None) -> None:
    """Prepare every payload of users' own workloads once, for the models of `server`; as declared where it is None.

    Raises ValueError with one line if a workload has nothing to send, or cannot be prepared.
    """
    for workload in filter(is_own, workloads.values()):
        asked = placements[workload.name]
        whole = complete(workload, server.url, asked) if server else workload
        for source in grid.list_sources(workload):
            check_workload(whole, asked, workload.read_source(source))


def check_payloads(workloads: Mapping[str, Workload], placements: Placements, server: Server) -> None:
    """Send every payload of users' own workloads once by each placement.

    Raises ValueError that names those without a good answer.
    """
    for workload in filter(is_own, workloads.values()):
        asked = placements[workload.name]
        whole = complete(workload, server.url, asked)
        arms = [Arm(whole, placement, Mode("sequential")) for placement in asked]
        for source in grid.list_sources(workload):
            payload_check.check_payloads(server, arms, (), workload.read_source(source))


def is_own(workload: Workload) -> bool:
    """Return whether a user wrote it: the payloads of the built-in ones are made here, and are sound."""
    return bool(workload.file)
