"""Memory, descriptors and shared memory of a server on this machine, and how figures drift."""

import collections
import contextlib

import numpy as np
import psutil

from serving import local
from serving.processes import name_model


def read_vitals(record: dict) -> dict[str, float]:
    """Read the memory of each process of a server on this machine, their descriptors, and its shared memory, in MB.

    `record` is the launcher's of the server; empty for one on another machine: then nothing is known.
    """
    if not record:
        return {}
    rss: dict[str, float] = collections.defaultdict(float)
    descriptors = 0
    for process in list_processes(record):
        with contextlib.suppress(psutil.Error):
            rss[label(process)] += process.memory_info().rss / 1e6
            descriptors += process.num_fds()
    segments = [path.stat().st_blocks * 512 for path in local.SHM.glob(f"{record['name']}.*")]
    shared = {} if record["engine"] == "docker" else {"shared memory, MB": sum(segments) / 1e6}
    return {**{f"{name}, MB": rss[name] for name in sorted(rss)}, "descriptors": descriptors, **shared}


def label(process: psutil.Process) -> str:
    """Label of a process: a stub's model, "supervisor", or the program's name."""
    arguments = process.cmdline()
    if model := name_model(arguments):
        return f"stub of {model}"
    return "supervisor" if "supervise" in arguments else process.name()


def list_processes(record: dict) -> list[psutil.Process]:
    """List the processes of a server on this machine, from the launcher's record of it."""
    if record["engine"] == "docker":
        root = psutil.Process(record["container_pid"])
        return [root, *root.children(recursive=True)]
    return [psutil.Process(pid) for pid in local.processes(record["name"]) if psutil.pid_exists(pid)]


def describe_drift(name: str, values: list[float]) -> str:
    """Write a sentence: the first and last of the minutes' values, and the least-squares slope of all but the first."""
    span = f"{name}: {values[0]:.4g} in the first minute, {values[-1]:.4g} in the last"
    settled = [(minute, value) for minute, value in enumerate(values) if minute and np.isfinite(value)]
    if len(settled) < 2:
        return f"{span}; too short for a slope"
    minutes, figures = zip(*settled, strict=True)
    slope = np.polyfit(minutes, figures, 1)[0]
    return f"{span}; {slope:+.3g} per minute from the second on"
