"""This machine: its description for a report, and which of its cores the client uses."""

import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from common import machine
from common.cpu_quota import list_usable_cores
from serving import nvml

PACKAGES = ("numpy", "pillow", "librosa", "locust", "tritonclient", "nvidia-dali-cuda130")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")  # of which an environment has one


def describe() -> dict:
    """Return processor, system, package versions, git revision and cards, as run.json holds them under `machine`."""
    return {
        **machine.identify(),
        "python": platform.python_version(),
        "versions": read_versions(),
        "cards": [card.public() for card in nvml.read_cards()],
    }


def read_versions() -> dict[str, str | None]:
    """Return the versions of the packages that matter; None for one that is missing."""
    versions = {package: read_version(package) for package in PACKAGES}
    runtimes = {package: read_version(package) for package in RUNTIMES}
    return {**versions, **({name: each for name, each in runtimes.items() if each} or {RUNTIMES[0]: None})}


def read_version(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def free_cores(server_cores: Sequence[int]) -> list[int]:
    """Return the cores that the server does not use, for the client; all cores if it uses every one.

    Only cores that this process may run on, and has the time of, are considered (`common.cpu_quota`); `server_cores` is
    empty where they are unknown.
    """
    available = list_usable_cores()
    return [core for core in available if core not in server_cores] or available


def pin(cores: Sequence[int]) -> None:
    """Restrict every thread of this process, and all that it starts later, to these cores.

    Threads that exist already keep their own affinity in Linux, so each is set.
    """
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # the thread has ended in the meantime
            os.sched_setaffinity(int(thread.name), cores)
