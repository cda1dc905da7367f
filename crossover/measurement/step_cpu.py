"""CPU seconds of each model's own processes per inference: how fast the machine was, seen by work that never changes.

Triton runs a Python model, and so the twins of the DALI and ONNX Runtime backends, in stubs: processes of its own. What
one of them computes for an inference is the same wherever inputs are prepared, and its CPU seconds do not count the
time in which another program had the core. crossover.analysis.loaded_pairs uses them as covariate.

Native backends and GPUs compute within the server's one process, and a server elsewhere cannot be looked into: there
is no such figure of them.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from serving.processes import name_model
from serving.server import Server


def read(server: Server) -> dict[str, dict[int, float]]:
    """Return model -> process id of each of its stubs -> CPU seconds so far.

    Models without a stub that may be looked into are left out: all, if the server is not on this machine.
    """
    found: dict[str, dict[int, float]] = {}
    for model, processes in find_stubs(server).items():
        for process in processes:
            # It may have ended meanwhile.
            with contextlib.suppress(OSError, ValueError):
                found.setdefault(model, {})[process] = read_cpu_seconds(process)
    return found


def find_stubs(server: Server) -> dict[str, list[int]]:
    """Return model -> process ids of its stubs that may be looked into."""
    found: dict[str, list[int]] = {}
    for process in server.processes():
        try:
            model, _ = name_model(process.cmdline()), read_cpu_seconds(process.pid)
        # It ended meanwhile, or belongs to a container that this user may not look into.
        except (psutil.Error, OSError, ValueError):
            continue
        if model:
            found.setdefault(model, []).append(process.pid)
    return found


def read_stubs(stubs: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return model -> CPU seconds so far of its stubs. Left out are models of which one has ended."""
    result = {}
    for model, processes in stubs.items():
        with contextlib.suppress(OSError, ValueError):
            result[model] = sum(map(read_cpu_seconds, processes))
    return result


def read_cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of all threads that a process has now. Raises OSError if it is gone.

    /proc/<pid>/task/*/schedstat begins with ns on the CPU; the usual /proc/<pid>/stat counts in hundredths of seconds,
    of which a trial of two seconds has too few.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def per_inference(
    before: Mapping[str, Mapping[int, float]],
    after: Mapping[str, Mapping[int, float]],
    inferences_before: Mapping[str, int],
    inferences_after: Mapping[str, int],
) -> dict[str, float]:
    """Return model -> CPU seconds per inference between two readings of `read` and of Triton's inference counts.

    Left out are models that did nothing, and those whose processes are not the same as before.
    """
    result = {}
    for model, seconds in after.items():
        inferences = inferences_after.get(model, 0) - inferences_before.get(model, 0)
        spent = sum(seconds.values()) - sum(before.get(model, {}).values())
        if seconds.keys() == before.get(model, {}).keys() and inferences > 0 and spent > 0:
            result[model] = spent / inferences
    return result
