"""Where samples are kept while a run goes on: in a file to which each is appended as it finishes.

The journal is an array of fixed-length records (`sample.RECORD`) behind which nothing is ever rewritten: whatever ends
the run, what had finished can be read. The texts of its reasons stand in a second file beside it, one a line.
`parquet` rewrites both in the end.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from struct import Struct

import numpy as np

from common import plain_file
from common.real_threads import Lock
from loadgen.samples.sample import INSTANTS, PREPARERS, RECORD, STATUSES, Sample

PACKED = Struct("<qII" + "q" * (len(INSTANTS) + 2) + "BB")
assert PACKED.size == RECORD.itemsize
CODES = {status: code for code, status in enumerate(STATUSES)}
ROWS = 65_536  # records of one write


class Journal:
    """A journal that is being written, by any thread. It replaces what lies at `path`.

    Where the disk does not take a record, `write` raises OSError, then and ever after: nothing more is written, so that
    what was written before stays readable. `read` returns what the disk did not take, too, as memory keeps it.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._reasons, self._lock = path, {"": 0}, Lock()
        self._file, self._texts = open_empty(path), open_empty(reasons_path(path))
        self._fault: OSError | None = None
        self._not_taken: list[bytes] = []

    def write(self, sample: Sample) -> None:
        """Append one sample. Raises OSError if the disk takes no more."""
        with self._lock:
            s, number = sample, self._reasons.get(sample.reason, len(self._reasons))
            record = PACKED.pack(
                s.index, s.payload, number, s.due, s.fired, s.began, s.prepared, s.sent, s.done,
                s.bytes_up, s.bytes_down, CODES[s.status], PREPARERS.index(s.preparer),
            )  # fmt: skip
            try:
                self._append(record, s.reason)
            except OSError as error:
                self._fault = error
            if self._fault:
                self._reasons.setdefault(s.reason, number)
                self._not_taken.append(record)
                raise OSError(*self._fault.args)

    def _append(self, record: bytes, reason: str) -> None:
        """Append a record to the file; a new reason is appended to the texts before. Raises OSError."""
        if self._fault:
            return
        if reason not in self._reasons:
            append(self._texts, (reason + "\n").encode("utf-8", "replace"))
            self._reasons[reason] = len(self._reasons)
        append(self._file, record)

    def read(self) -> tuple[np.ndarray, list[str]]:
        """Read what has been written, and what the disk did not take: (records, texts of their reasons)."""
        with self._lock:
            records, reasons = read(self.path)
            if not self._not_taken:
                return records, reasons
            return np.concatenate([records, np.frombuffer(b"".join(self._not_taken), RECORD)]), list(self._reasons)

    def close(self) -> None:
        """Close both files; nothing can be written any more."""
        os.close(self._file)
        os.close(self._texts)

    def remove(self) -> None:
        """Remove both files."""
        remove(self.path)


def open_empty(path: Path) -> int:
    """Open a file that is emptied first, and to which every write appends; return its descriptor.

    Raises OSError where something else than a file has its place.
    """
    if path.exists() and not path.is_file():  # to open a pipe takes until somebody reads it
        raise OSError(errno.EEXIST, "it is no regular file", str(path))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)


def append(file: int, data: bytes) -> None:
    """Write all of `data`. Raises OSError where the disk takes a part of it only: the next attempt says why."""
    while data:
        data = data[os.write(file, data) :]


def reasons_path(path: Path) -> Path:
    """Return where the texts of a journal's reasons lie."""
    return path.with_suffix(".reasons")


def remove(path: Path) -> None:
    """Remove a journal with the texts of its reasons, as far as they exist."""
    path.unlink(missing_ok=True)
    reasons_path(path).unlink(missing_ok=True)


def check(path: Path) -> None:
    """Check that a file is a journal. Raises ValueError if it is none, OSError if there is no such file."""
    count, texts = path.stat().st_size // RECORD.itemsize, reasons_path(path)
    # Both files are made before a record is written; nothing but a journal has its texts beside it.
    if texts == path or not texts.exists():
        raise ValueError(f"{path} is no journal: it has no texts of reasons beside it ({texts.name})")
    try:
        plain_file.check(path)
        plain_file.check(texts)
    except ValueError as error:
        raise ValueError(f"{path} is no journal: {error}") from None
    records, _ = read(path)
    for start in range(0, count, ROWS):
        some = records[start : start + ROWS]
        if some["status"].max() >= len(STATUSES) or some["preparer"].max() >= len(PREPARERS) or some["index"].min() < 0:
            raise ValueError(f"{path} is no journal: its bytes are no records of samples")


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    """Read a journal, also one that is being written: (records, texts of their reasons).

    The records are a map of the file, so no more of it is in memory than is looked at. Half a record at the end, where
    a disk was full, is left out. Raises OSError if there is none.
    """
    count = path.stat().st_size // RECORD.itemsize
    records = np.memmap(path, RECORD, "r", shape=(count,)) if count else np.empty(0, RECORD)
    return records, ["", *reasons_path(path).read_text("utf-8").splitlines()]


def merge(paths: Sequence[Path]) -> tuple[np.ndarray, list[str]]:
    """Read several journals of one run as one: (records, texts of their reasons), in memory where there are several.

    A sample that several of them have, as a master and its worker do, comes once. Raises OSError.
    """
    if len(paths) == 1:
        return read(paths[0])
    numbers, parts = {"": 0}, []
    for path in paths:
        records, texts = read(path)
        renumbered = np.array([numbers.setdefault(text, len(numbers)) for text in texts])
        parts.append(np.array(records))
        parts[-1]["reason"] = renumbered[records["reason"]]
    every = np.concatenate(parts)
    _, first = np.unique(every[["index", "due"]], return_index=True)
    return every[np.sort(first)], list(numbers)
