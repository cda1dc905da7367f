"""The machine and its environment: cores, memory, Python and the versions that matter."""

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import psutil

from common.machine import read_cpu_model, read_revision
from crossover.gpu_check.finding import Finding, judge, ok, problem

RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
PACKAGES = ("numpy", "nvidia-dali-cuda130", "nvidia-nvimgcodec-cu13", "nvidia-pytriton", "nvidia-ml-py", "tritonclient")


def examine() -> Iterator[Finding]:
    """Describe the machine, then the environment.

    Yields `machine`, `python`, a problem for a version that is not supported, and `versions`.
    """
    usable, cores = len(os.sched_getaffinity(0)), os.cpu_count() or 0
    memory = psutil.virtual_memory()
    of = f" of {cores}" if usable < cores else ""
    gib = memory.total / 2**30
    yield ok(
        "machine",
        f"{usable}{of} cores, {read_cpu_model()}, {gib:.0f} GiB; {platform.platform()}",
        cores=usable,
        memory_bytes=memory.total,
    )
    python = f"Python {platform.python_version()}"
    fits = (3, 10) <= sys.version_info[:2] < (3, 13)
    revision = read_revision() or "no git checkout"
    yield judge("python", fits, f"{python}; revision {revision}", "use Python 3.10 to 3.12 and run `make env`")
    yield examine_versions(read_versions((*RUNTIMES, *PACKAGES)))


def read_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those of these packages that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def examine_versions(versions: dict[str, str]) -> Finding:
    """Return the versions in one line; a problem where the environment cannot work.

    `versions`: package -> version, of those that are installed. A problem are both ONNX Runtimes, which share a folder,
    a package that is missing, and numpy from 2 on.
    """
    text = ", ".join(f"{package} {number}" for package, number in versions.items())
    if all(runtime in versions for runtime in RUNTIMES):
        remedy = "uninstall both, as they share a folder, then run `make env GPU=1`"
        return problem("versions", f"onnxruntime is installed beside onnxruntime-gpu: {text}", remedy, **versions)
    needed = ("numpy", "nvidia-dali-cuda130", "nvidia-pytriton", "tritonclient")
    missing = [package for package in needed if package not in versions]
    if not any(runtime in versions for runtime in RUNTIMES):
        missing.insert(0, "onnxruntime")
    if missing:
        return problem("versions", f"{', '.join(missing)} not installed; {text}", "run `make env`", **versions)
    if int(versions["numpy"].split(".")[0]) >= 2:
        return problem("versions", f"the server's stubs need numpy below 2: {text}", "run `make env`", **versions)
    return ok("versions", text, **versions)
