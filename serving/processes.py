"""The processes of a server: all that bear its name in their environment, and among them the stubs of its models."""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

SHM = Path("/dev/shm")
SERVER, STUB = "tritonserver", "triton_python_b"  # as /proc calls them, in 15 letters


def processes(name: str) -> dict[int, str]:
    """The living processes that bear this name in their environment: pid -> command (zombies have none)."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"CROSSOVER_SERVER={name}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "comm").read_text().strip()
        except (OSError, ValueError):
            continue  # gone meanwhile, or somebody else's
    return found


def kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@dataclass(frozen=True)
class Stub:
    """The process of one instance of a Python model."""

    pid: int
    model: str
    segment: str  # of its shared memory, a file in /dev/shm


def stubs(name: str) -> list[Stub]:
    """The living stubs of the server that bears this name."""
    found = []
    for pid, program in processes(name).items():
        if program == STUB:
            with contextlib.suppress(OSError, StopIteration):  # ended meanwhile, or only there to read a configuration
                arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                segment = next(each for each in arguments if each.startswith(f"{name}."))
                model = next(match[1] for each in arguments if (match := re.fullmatch(r"(\w+?)_\d+_\d+", each)))
                found.append(Stub(pid, model, segment))
    return found
