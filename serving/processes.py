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
    """The process of one instance of a Python model; `segment` is its shared memory, a file's name in /dev/shm."""

    pid: int
    model: str
    segment: str


def stubs(name: str) -> list[Stub]:
    """Return the living stubs of the server with this name.

    Left out are stubs that end meanwhile, and those that Triton starts only to read a configuration.
    """
    living = []
    for pid, program in processes(name).items():
        if program == STUB:
            with contextlib.suppress(psutil.Error, OSError, StopIteration):
                arguments = psutil.Process(pid).cmdline()
                segment = next(each for each in arguments if each.startswith(f"{name}."))
                # The last but one is the instance's name, of its group's name and a number; the model's own is that of
                # a stub which reads the configuration. A group need not have the model's name.
                if (model := name_model(arguments)) and arguments[-2] != model:
                    living.append(Stub(pid, model, segment))
    return living


def name_model(command: list[str]) -> str:
    """Return the model that a stub runs, by its command line: `.../stub .../models/<model>/<version>/<file> ...`.

    Empty for any other process.
    """
    if len(command) < 2 or PurePath(command[0]).name != STUB_FILE:
        return ""
    parts = PurePath(command[1]).parts
    return parts[-3] if len(parts) > 3 and parts[-2].isdigit() else ""
