"""What is remembered of a server between `up` and `down`: one JSON file in the state directory."""

import contextlib
import fcntl
import hashlib
import json
from pathlib import Path

from common import atomic_write
from serving import Failure

PORTS = ("http", "grpc", "metrics")
ASKED = ("weights", "host", "cores", "slo", *(f"{kind}_port" for kind in PORTS))
KEYS = {"name", "engine", *ASKED, "address", "plan", "gpu", "admin_key", "started"}


def name(directory: Path) -> str:
    """One word that marks everything this server leaves on the machine: processes, shared memory, containers.

    It follows from the state directory alone, so that what a crash left is recognised without a file.
    """
    return f"crossover-{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"


def read(directory: Path) -> dict | None:
    """The record of the server; None if there is none, or none that this version can use."""
    try:
        record = json.loads((directory / "server.json").read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= KEYS else None


def complete(record: dict) -> bool:
    """Whether the `up` that wrote this record came to its end."""
    return "pid" in record or "container_pid" in record


def write(directory: Path, record: dict) -> None:
    """Replace the record. It holds the key to the restricted interfaces, so only its owner may read the file."""
    atomic_write.write(directory / "server.json", json.dumps(record, indent=2), mode=0o600)


def forget(directory: Path) -> None:
    """Remove the record, and what a process that was killed while it wrote one has left of it."""
    for file in (directory / "server.json", *directory.glob(".server.json.*.part")):
        file.unlink(missing_ok=True)


def held(directory: Path) -> bool:
    """Whether an `up` or a `down` is at work on the directory now."""
    try:
        with alone(directory):
            return False
    except Failure:
        return True


@contextlib.contextmanager
def alone(directory: Path):
    """Holds the state directory against a second `up` or `down`. Raises Failure if it is held or cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as refused:
        raise Failure(f"cannot write to {directory} ({refused.strerror}); give another --state") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure(f"another `up` or `down` is at work on {directory}; wait for it") from None
        yield
