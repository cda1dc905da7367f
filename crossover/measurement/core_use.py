"""Which share of each side's cores other programs use: with neighbours a comparison says less than its intervals."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class CoreUse:
    """A reading of how long some cores have been idle."""

    cores: tuple[int, ...]
    idle: float
    """Seconds, of all of them."""
    instant: float
    """Seconds of the monotonic clock."""
    own: float
    """CPU seconds of this process, if it may run on one of them; else 0."""

    @classmethod
    def read(cls, cores: Sequence[int]) -> "CoreUse":
        """Read the clocks of these cores; those that this machine does not have are left out."""
        times = psutil.cpu_times(percpu=True)
        known = tuple(core for core in cores if core < len(times))
        # iowait is idle time, too; what a hypervisor stole from the core is not.
        idle = sum(times[core].idle + times[core].iowait for core in known)
        shared = set(known) & os.sched_getaffinity(0)
        return cls(known, idle, time.monotonic(), time.process_time() if shared else 0.0)

    def share_of_others(self, server_cpu: float | None) -> float | None:
        """Return the share, 0 to 1, that neither the server nor this process used since this reading.

        `server_cpu` are the server's CPU seconds on these cores since then. None where they or the cores are not known.
        """
        now = CoreUse.read(self.cores)
        available = (now.instant - self.instant) * len(self.cores)
        if server_cpu is None or not available:
            return None
        # The kernel counts in hundredths of a second: a short reading may be off by one or two of them.
        used = available - (now.idle - self.idle) - server_cpu - (now.own - self.own)
        return float(min(1.0, max(0.0, used / available)))
