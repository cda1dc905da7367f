"""The processes of a server: all that have its name in their environment, and among them the stubs of its models."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePath

import psutil

SHM = Path("/dev/shm")
STUB_FILE = "triton_python_backend_stub"
SERVER, STUB = "tritonserver", "triton_python_b"  # names as the kernel keeps them, cut to 15 letters


def processes(name: str) -> dict[int, str]:
    """Return the living processes with CROSSOVER_SERVER=`name` in their environment: pid -> first 15 letters.

    A process may end while it is looked at, or be another user's: it is left out then, as zombies are, which have no
    environment any more.
    """
    living = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("CROSSOVER_SERVER") == name:
                living[process.pid] = process.name()[:15]
    return living


def kill(pid: int, number: int) -> None:
    """Send a signal to a process, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def is_out_of_reach(pid: int) -> bool:
    """Return whether a tritonserver has this pid that may not be looked into, as another user's."""
    try:
        process = psutil.Process(pid)
        process.environ()
    except psutil.AccessDenied:
        return process.name() == SERVER
    except (psutil.Error, OSError):  # it has ended, or ends now
        return False
    return False


@dataclass(frozen=True)
class Stub:
    """The process of one instance of a Python model, or one that Triton starts only to read a configuration.

    `segment` is its shared memory, a file's name in /dev/shm. Both kinds have the same command line but for `instance`,
    which is the group's name and a number for an instance, and the model's own name for a reader. As a group may have
    any name, the two can be equal.
    """

    pid: int
    model: str
    version: str
    instance: str
    segment: str


def stubs(name: str) -> list[Stub]:
    """Return the living stubs of the server with this name; those that end meanwhile are left out.

    A process that a model's code has forked has the command line of its stub, too, but not its parent: tritonserver.
    """
    living = []
    for pid, program in processes(name).items():
        if program == STUB:
            with contextlib.suppress(psutil.Error, OSError, StopIteration, ValueError):
                process = psutil.Process(pid)
                arguments = process.cmdline()
                segment = next(each for each in arguments if each.startswith(f"{name}."))
                # .../stub .../<model>/<version>/<file> SEGMENT <bytes> <bytes> <parent> ... <instance> <backend>
                model, parent = name_model(arguments), int(arguments[5])
                if model and process.ppid() == parent:
                    living.append(Stub(pid, model, PurePath(arguments[1]).parts[-2], arguments[-2], segment))
    return living


def name_model(command: list[str]) -> str:
    """Return the model that a stub runs, by its command line: `.../stub .../models/<model>/<version>/<file> ...`.

    Empty for any other process.
    """
    if len(command) < 2 or PurePath(command[0]).name != STUB_FILE:
        return ""
    parts = PurePath(command[1]).parts
    return parts[-3] if len(parts) > 3 and parts[-2].isdigit() else ""
