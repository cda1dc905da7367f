"""The launcher's record of a server between `up` and `down`: one JSON file in the state directory."""

import contextlib
import fcntl
import hashlib
import json
import os
from pathlib import Path

from common import atomic_write, plain_file
from common.messages import one_line
from serving import Failure
from serving.ports import PORTS

DIRECTORY = ".run"
"""The state directory where none is given, in the folder of the installation: wherever a command is typed."""
ASKED = (
    "weights", "host", "cores", "slo", "no_gpu", "on_cpu", "models", "only", "requirements", "admission", "workload",
    "shm", *(f"{kind}_port" for kind in PORTS),
)  # fmt: skip
KEYS = {"name", "engine", *ASKED, "address", "plan", "gpu", "no_gpu_because", "admin_key", "started"}


def name(directory: Path) -> str:
    """Return the name in everything that this server has on the machine: processes, shared memory, containers.

    It follows from the state directory alone, so that leftovers of a crash are recognised without the record.
    """
    return f"crossover-{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"


def read(directory: Path) -> dict | None:
    """Return the record of the server; None if there is none, or none that this version can use."""
    try:
        record = json.loads(plain_file.read(directory / "server.json"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= KEYS else None


def complete(record: dict) -> bool:
    """Return whether the `up` that wrote this record came to its end."""
    return "pid" in record or "container_pid" in record


def write(directory: Path, record: dict) -> None:
    """Replace the record. It holds the key to the restricted interfaces, so only its owner may read the file."""
    atomic_write.write(directory / "server.json", json.dumps(record, indent=2), mode=0o600)


def forget(directory: Path) -> None:
    """Remove the record, and what a process that was killed while it wrote one has left of it."""
    for file in (directory / "server.json", *directory.glob(".server.json.*.part")):
        file.unlink(missing_ok=True)


def is_locked(directory: Path) -> bool:
    """Return whether an `up` or a `down` is at work on the directory now."""
    try:
        with locked(directory):
            return False
    except Failure:
        return True


@contextlib.contextmanager
def locked(directory: Path):
    """Lock the state directory, so that only one `up` or `down` works on it.

    Raises Failure if another one does, if the directory cannot be written, and, with the file's name, if the block
    cannot write or remove one, as on a full disk or where a folder has its place.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # A named pipe would make whoever opens it for writing alone wait for a reader.
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as refused:
        raise Failure(f"cannot write to {directory} ({refused.strerror}); give another --state") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure(f"another `up` or `down` is at work on {directory}; wait for it") from None
        yield
    except OSError as refused:
        where = one_line(refused.filename2 or refused.filename or directory)
        why = (refused.strerror or str(refused)).lower()
        raise Failure(f"{where}: {why}; mend that, or give another --state") from None
    finally:
        os.close(lock)
