"""Where samples are kept: while a run goes on, in a file to which each is appended as it finishes; then as Parquet.

The journal is an array of fixed-length records (`samples.RECORD`) behind which nothing is ever rewritten: whatever
ends the run, what had finished can be read. Beside it stand the texts of its reasons, one a line.

    python -m loadgen.journal reports/*/samples.journal      # Parquet from what an ended process left behind
"""

import argparse
import errno
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from struct import Struct

import numpy as np
import pyarrow
import pyarrow.parquet
from gevent.monkey import get_original

from common import atomic_write
from loadgen.samples.sample import INSTANTS, RECORD, STATUSES, Sample

PACKED = Struct("<qII" + "q" * (len(INSTANTS) + 2) + "B")
assert PACKED.size == RECORD.itemsize
allocate_lock = get_original("_thread", "allocate_lock")
CODES = {status: code for code, status in enumerate(STATUSES)}
ROWS = 65_536  # of a Parquet row group, and in memory at once


class Journal:
    """Raises OSError where the disk does not take a record; what was written before stays readable."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._reasons, self._lock = path, {"": 0}, allocate_lock()
        self._file, self._texts = opened(path), opened(texts(path))

    def write(self, sample: Sample) -> None:
        """From any thread."""
        with self._lock:
            s = sample
            record = PACKED.pack(
                s.index, s.payload, self._number(s.reason), s.due, s.fired, s.began, s.prepared, s.sent, s.done,
                s.bytes_up, s.bytes_down, CODES[s.status],
            )  # fmt: skip
            put(self._file, record)

    def _number(self, reason: str) -> int:
        if reason not in self._reasons:
            put(self._texts, (reason + "\n").encode("utf-8", "replace"))
            self._reasons[reason] = len(self._reasons)
        return self._reasons[reason]

    def extend(self, records: np.ndarray, reason: str) -> None:
        """Records (of dtype RECORD), all for one reason, which is set."""
        with self._lock:
            records["reason"] = self._number(reason)
            for start in range(0, len(records), ROWS):
                put(self._file, records[start : start + ROWS].tobytes())

    def close(self) -> None:
        os.close(self._file)
        os.close(self._texts)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        texts(self.path).unlink(missing_ok=True)


def opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)


def put(file: int, data: bytes) -> None:
    if os.write(file, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def texts(path: Path) -> Path:
    return path.with_suffix(".reasons")


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    """(records, texts of their reasons). Not more of the file is in memory than is looked at; half a record at its
    end, where a disk was full, is left out."""
    whole = path.stat().st_size // RECORD.itemsize
    records = np.memmap(path, RECORD, "r", shape=(whole,)) if whole else np.empty(0, RECORD)
    return records, ["", *texts(path).read_text("utf-8").splitlines()]


DOCUMENTED = {
    "index": "position in the schedule of the whole run",
    "payload": "name of what was sent",
    "status": "completed, failed, rejected, timed out, dropped or unfinished (loadgen/samples/sample.py)",
    "reason": "why it was not completed, in one line; else empty",
    "due": "ns from the start of the run: when the schedule wanted it sent",
    "fired": "ns: when the pacer handed it over; 0 if never, as for the instants that follow",
    "began": "ns: when a worker took it up",
    "prepared": "ns: when it was preprocessed and serialised",
    "sent": "ns: just before it was written to the socket",
    "done": "ns: when the whole answer was there",
    "bytes_up": "bytes of the request's body",
    "bytes_down": "bytes of the answer's body",
}
"""The columns of the Parquet file; each carries its line as metadata, under `doc`."""


def schema(described: dict) -> "pyarrow.Schema":
    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    kinds = dict.fromkeys(("payload", "status", "reason"), text)
    fields = [
        pyarrow.field(name, kinds.get(name, pyarrow.int64()), nullable=False, metadata={"doc": doc})
        for name, doc in DOCUMENTED.items()
    ]
    return pyarrow.schema(fields, {"crossover": json.dumps(described)})


def to_parquet(path: Path, payloads: Sequence[str] = (), described: dict | None = None) -> Path:
    """Rewrite a journal as `<name>.parquet` beside it, in constant memory, and remove it when that is whole.

    `payloads` are the names that the records count in, `described` goes into the file's metadata under `crossover`.
    """
    records, reasons = read(path)
    unnamed = range(len(payloads), int(records["payload"].max()) + 1 if len(records) else 0)
    dictionaries = {"payload": [*payloads, *map(str, unnamed)], "status": list(STATUSES), "reason": reasons}
    target, shape = path.with_suffix(".parquet"), schema(described or {})
    with (
        atomic_write.replacing(target) as unfinished,
        pyarrow.parquet.ParquetWriter(unfinished, shape, compression="zstd") as writer,
    ):
        for start in range(0, len(records), ROWS):
            writer.write_table(table(records[start : start + ROWS], dictionaries, shape))
    path.unlink()
    texts(path).unlink()
    return target


def table(records: np.ndarray, dictionaries: dict[str, list[str]], shape: "pyarrow.Schema") -> "pyarrow.Table":
    columns = []
    for name in DOCUMENTED:
        values = np.ascontiguousarray(records[name])
        if name in dictionaries:
            words = pyarrow.array(dictionaries[name], pyarrow.string())
            columns.append(pyarrow.DictionaryArray.from_arrays(values.astype(np.int32), words))
        else:
            columns.append(pyarrow.array(values))
    return pyarrow.Table.from_arrays(columns, schema=shape)


def load(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """(records, reasons, names of payloads) of a Parquet file: what `to_parquet` was given."""
    stored = pyarrow.parquet.read_table(path).unify_dictionaries()
    records = np.empty(len(stored), RECORD)
    words = {}
    for name in DOCUMENTED:
        column = stored.column(name).combine_chunks()
        if isinstance(column, pyarrow.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pyarrow.array([], column.type)
        if isinstance(column, pyarrow.DictionaryArray):
            words[name] = column.dictionary.to_pylist()
            column = column.indices
        records[name] = column.to_numpy(zero_copy_only=False)
    codes = np.array([STATUSES.index(word) for word in words["status"]] or [0], "u1")
    records["status"] = codes[records["status"]]
    return records, words["reason"], words["payload"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.journal", description="Journals to Parquet files.")
    parser.add_argument("journals", nargs="+", type=Path)
    code = 0
    for path in parser.parse_args().journals:
        try:
            about = path.with_name("run.json")
            described = json.loads(about.read_text()) if about.exists() else {}
            print(to_parquet(path, described.get("payloads", ()), described))
        except (OSError, ValueError) as error:
            print(f"{path}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            code = 1
    return code
