"""Which cores client and server get: whole physical cores each, and no more than the container may use."""

import os
from collections.abc import Iterable
from pathlib import Path

from common.cpu_quota import list_usable_cores
from serving.thread_plan import server_cores

SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def limit_to_quota() -> list[int]:
    """Keep this process to as many cores as its container's quota of CPU time lasts for, and return them."""
    usable = list_usable_cores()
    if len(usable) < len(os.sched_getaffinity(0)):
        os.sched_setaffinity(0, usable)
    return usable


def choose_server_cores(spec: str | None, available: Iterable[int]) -> list[int]:
    """Return the server's cores for `--cores`; by default half of the physical cores, all their threads.

    Raises ValueError as `thread_plan.server_cores`.
    """
    if spec is not None:
        return server_cores(spec)
    groups = sorted({tuple(sorted(set(read_siblings(core)) & set(available))) for core in available})
    upper = groups[len(groups) // 2 :]
    # A single physical core is shared by its threads, or by both sides.
    return sorted(core for group in upper for core in group) if len(groups) > 1 else server_cores(None)


def read_siblings(core: int) -> list[int]:
    """Return the logical cores of this one's physical core; itself alone where that is not known."""
    try:
        parts = [part.split("-") for part in Path(SIBLINGS.format(core)).read_text().strip().split(",")]
        return [number for part in parts for number in range(int(part[0]), int(part[-1]) + 1)]
    except (OSError, ValueError):
        return [core]
