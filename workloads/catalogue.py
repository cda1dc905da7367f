"""Finding a workload: by the name of a built-in one, or by the path of a Python file that defines WORKLOAD.

A workload file is code, and reading it executes it, with all the rights of whoever runs the command.
"""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from common import plain_file
from workloads.array_payloads import Arrays
from workloads.audio import AUDIO
from workloads.image import IMAGE
from workloads.payloads import Files
from workloads.workload import UnsoundWorkload, Workload

BUILT_IN = {workload.name: workload for workload in (IMAGE, AUDIO)}
EXAMPLE = "the path of a Python file that defines WORKLOAD, e.g. my_pipeline.py"


def is_path(reference: str) -> bool:
    """Tell the path of a file from a built-in workload's name: it ends in .py, or has a slash."""
    return reference.endswith(".py") or "/" in reference


def find(reference: str) -> Workload:
    """Return the built-in workload of that name, or the one that the file at that path defines.

    Raises ValueError with one line that names what was given and what is good.
    """
    if reference in BUILT_IN:
        return BUILT_IN[reference]
    if is_path(reference):
        return read_file(Path(reference).absolute(), reference)
    raise ValueError(f"unknown workload {reference!r}; try one of {', '.join(BUILT_IN)}, or {EXAMPLE}")


def find_all(references: Iterable[str]) -> dict[str, Workload]:
    """Return the workloads by name, in the order given; the built-in ones if none is given.

    One that is given twice counts once. Raises ValueError as `find` does, and if two are called alike: folders, flags
    and figures go by the name.
    """
    found: dict[str, Workload] = {}
    for workload in map(find, dict.fromkeys(references)):
        if found.setdefault(workload.name, workload) is not workload:
            raise ValueError(f"two of these workloads are called {workload.name!r}; give one of them another name")
    return found or dict(BUILT_IN)


@cache
def read_file(path: Path, reference: str) -> Workload:
    """Execute the file at that absolute path, and return its WORKLOAD, with the file's path and digest.

    Relative patterns of its payloads become relative to its folder. A file is executed once per process; `reference`
    is what messages call it. Raises ValueError with one line if there is no such file, or no workload in it.
    """
    try:
        content = plain_file.read(path)
    except FileNotFoundError:
        raise ValueError(f"workload {reference} does not exist; give a name ({names()}) or {EXAMPLE}") from None
    except OSError as error:
        raise ValueError(f"workload {reference} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"workload {reference} cannot be read: {error}; give {EXAMPLE}") from None
    if b"\0" in content:
        raise ValueError(f"workload {reference}, line {line_of_byte(content)}: a NUL byte; it is no Python file")
    module = execute(path, reference)
    if not hasattr(module, "WORKLOAD"):
        raise ValueError(f"workload {reference} defines no WORKLOAD; it needs a line WORKLOAD = Workload(...)")
    workload = module.WORKLOAD
    if not isinstance(workload, Workload):
        raise ValueError(f"WORKLOAD of {reference} is a {type(workload).__name__}, not a Workload")
    # A pattern in a file is written relative to that file, wherever the command is started.
    source = workload.payloads
    if isinstance(source, Files | Arrays):
        source = source.within(path.parent)
    return replace(workload, payloads=source, file=str(path), digest=hashlib.sha256(content).hexdigest()[:12])


def line_of_byte(content: bytes, byte: bytes = b"\0") -> int:
    """Return the number of the line that has the first such byte."""
    return content.partition(byte)[0].count(b"\n") + 1


def names() -> str:
    """List the built-in workloads, for messages."""
    return ", ".join(BUILT_IN)


def execute(path: Path, reference: str):
    """Execute a Python file, and return its module; it may import its neighbours.

    Raises ValueError with one line that names the error and the line of the file that it comes from.
    """
    name = f"workload_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"workload {reference} is no Python file; give {EXAMPLE}")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses, pickle and the like look a class's module up there.
    sys.modules[name] = module
    if (folder := str(path.parent)) not in sys.path:
        sys.path.append(folder)  # last, so that no neighbour hides a module of ours
    try:
        spec.loader.exec_module(module)
    except UnsoundWorkload as error:
        raise ValueError(f"workload {reference}, line {line_of(error, path)}: {error}") from None
    except (Exception, SystemExit) as error:
        what = " ".join(f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}".split())
        raise ValueError(f"workload {reference} does not import: line {line_of(error, path)}: {what}") from None
    return module


def line_of(error: BaseException, path: Path) -> int | str:
    """Return the number of the last line of that file on the way to the error; "?" if it did not pass there."""
    if isinstance(error, SyntaxError) and error.filename == str(path) and error.lineno:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines and lines[-1] else "?"
