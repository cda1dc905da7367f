"""Regions of system shared memory: files in /dev/shm that a connection writes tensors to and the server maps.

A region's file is locked by the process that made it for as long as that lives, whatever ends it. So what a killed
client has left is known by its lock, also from another container, and is cleared by the next client that starts.
"""

import atexit
import fcntl
import itertools
import mmap
import os
from contextlib import suppress
from pathlib import Path

from common.real_threads import Lock
from workloads.tensors import find_source

FOLDER = Path("/dev/shm")
PREFIX = "crossover-client."
"""Of the names of all regions, as files and as the server knows them."""
PAGE = mmap.PAGESIZE
LARGE = 1 << 16
"""Bytes from which on a copy takes longer than to see whether it is needed."""
_numbers = itertools.count()
_made: dict[str, "Region"] = {}
_lock = Lock()


class Region:
    """A file in /dev/shm of so many bytes, a whole number of pages, mapped into this process; `close` removes it.

    Raises OSError where there is no room: its pages are taken at once, as a missing one would end the process later.
    """

    def __init__(self, size: int):
        self.name = f"{PREFIX}{os.getpid()}.{next(_numbers)}.{os.urandom(4).hex()}"
        self.size = -(-max(1, size) // PAGE) * PAGE
        self._file = os.open(FOLDER / self.name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(self._file, 0, self.size)
            self.memory = memoryview(mmap.mmap(self._file, self.size))
        except OSError:
            self._remove()
            raise
        # What lies in the region and cannot change: offset -> (owner of the memory, address, bytes). The owner is kept,
        # so that no other object can have its address.
        self._sources: dict[int, tuple[bytes, int, int]] = {}
        with _lock:
            _made[self.name] = self

    def write(self, offset: int, piece: bytes | memoryview) -> None:
        """Put a piece at this offset, unless the very same one lies there, in memory that nobody can write to.

        Equal bytes elsewhere are written, and so is what lies in memory that can change (see `tensors.find_source`).
        """
        size = len(piece)
        source = find_source(piece) if size >= LARGE else None
        if source and (before := self._sources.get(offset)) and before[0] is source[0] and before[1:] == source[1:]:
            return
        # Before it is written: an interrupted copy is not taken for a whole one.
        self._sources = {
            at: each for at, each in self._sources.items() if at + each[2] <= offset or offset + size <= at
        }
        self.memory[offset : offset + size] = piece
        if source:
            self._sources[offset] = source

    def forget(self) -> None:
        """Take nothing for what lies in the region: other tensors, or outputs of the server, get its places."""
        self._sources.clear()

    def close(self) -> None:
        """Remove the file. Whoever has it mapped keeps its memory until they unmap it."""
        with _lock:
            mine = _made.pop(self.name, None)
        if mine:
            self._remove()

    def _remove(self) -> None:
        """Remove the file if it is there, and let go of its lock."""
        with suppress(OSError):
            (FOLDER / self.name).unlink()
        os.close(self._file)


@atexit.register
def remove_all() -> None:
    """Remove the regions that this process has made and not closed; a forked child leaves its parent's."""
    for region in list(_made.values()):
        if region.name.startswith(f"{PREFIX}{os.getpid()}."):
            region.close()


def is_abandoned(path: Path) -> bool:
    """Return whether the process that made a region's file has ended; False for a file that is gone or another's."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(file).st_size > 0  # else it is being made, and not locked yet
    except OSError:
        return False
    finally:
        os.close(file)


def clear_abandoned() -> list[str]:
    """Remove the files that killed clients have left. Returns their names."""
    found = [path for path in FOLDER.glob(f"{PREFIX}*") if is_abandoned(path)]
    for path in found:
        with suppress(OSError):
            path.unlink()
    return [path.name for path in found]
