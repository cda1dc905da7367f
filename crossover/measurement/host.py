"""This machine: what it is, and which of its cores are the client's."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "pillow", "librosa", "locust", "tritonclient", "nvidia-dali-cuda130", "onnxruntime")


def describe() -> dict:
    """Processor, system, versions and git revision, for a report's provenance."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "revision": revision(),
    }


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def revision() -> str | None:
    """The git revision of this checkout, marked if it has changes; None outside one."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        described = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return described.stdout.strip() or None


def others(server_cores: list[int]) -> list[int]:
    """The cores left for the client: those the server does not have, or all where that leaves none."""
    available = sorted(os.sched_getaffinity(0))
    return [core for core in available if core not in server_cores] or available


def pin(cores: list[int]) -> None:
    """Keep every thread of this process, and those it starts from now on, on these cores."""
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended since
            os.sched_setaffinity(int(thread.name), cores)
