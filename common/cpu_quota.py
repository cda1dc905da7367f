"""How much of the machine's CPU time a container may use: it sees all cores of its host and has the time of a few.

A control group (cgroup) has a quota of CPU time in each period: version 2 writes both into `cpu.max`, version 1 into
`cpu.cfs_quota_us` and `cpu.cfs_period_us`. The groups above it have quotas as well, and the lowest one holds. Threads
beyond it are stopped, all of them at once, for the rest of a period of mostly 100 ms.
"""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
"""Which groups this process is in: a line `number:controllers:/path` each."""
CONTROLLER = "cpu"


def read_quota(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Return how many cores' time this process has, rounded up as Go and Java do; None without a limit."""
    quotas = [quota for group in list_groups(root, own) if (quota := read_group(group)) is not None]
    return max(1, math.ceil(min(quotas))) if quotas else None


def list_groups(root: Path, own: Path) -> Iterator[Path]:
    """List the folders of this process's groups, with all above them.

    In a container the path is often one of the host's, which is not there: its own group is then the root.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            top = root
        elif CONTROLLER in controllers.split(","):
            top = next((root / name for name in (controllers, CONTROLLER) if (root / name).is_dir()), root)
        else:
            continue
        group = top / path.lstrip("/")
        yield from dict.fromkeys((group, *(each for each in group.parents if each.is_relative_to(top)), top))


def read_group(group: Path) -> float | None:
    """Return the quota of one group in cores; None if it has none, or says nothing that can be read."""
    try:
        if (whole := group / "cpu.max").exists():
            quota, period = whole.read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{each}_us").read_text() for each in ("quota", "period"))
        found = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such controller, or `max`
        return None
    return found if found > 0 else None  # version 1 writes -1 where there is no limit


def list_usable_cores(available: Iterable[int] | None = None, quota: int | None = None) -> list[int]:
    """Return the cores for whose time the quota lasts, the lowest of those that this process may run on."""
    cores = sorted(os.sched_getaffinity(0) if available is None else available)
    return cores[: quota or read_quota()]
