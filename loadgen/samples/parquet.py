"""A run's samples as a Parquet file, which any tool of data analysis reads: made from the journal when the run ends.

`crossover report DIR` makes it from a journal that an ended process left behind.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from common import atomic_write, plain_file
from loadgen.samples import journal
from loadgen.samples.sample import FORMAT, INSTANTS, PREPARERS, RECORD, STATUSES, WORDS

ROWS = 65_536  # of a row group, and in memory at once
COLUMNS = {
    "index": "position in the schedule of the whole run; the rows are in this order",
    "payload": "name of what was sent",
    "status": "completed, failed, rejected, timed out, dropped or unfinished (loadgen/samples/sample.py)",
    "reason": "why it was not completed, in one line; else empty",
    "due": "ns from the start of the run: when the schedule wanted it sent",
    "fired": "ns: when the pacer handed it over; null if never, as for the instants that follow",
    "began": "ns: when a worker took it up",
    "prepared": "ns: when it was preprocessed",
    "sent": "ns: just before it was written to the socket",
    "done": "ns: when the whole answer was there, or it was known that none would come",
    "bytes_up": "bytes of the request's body; 0 if it was never finished",
    "bytes_down": "bytes of the answer's body",
    "preparer": "client or server, of a placement that splits its arrivals; else empty",
}
"""The columns of the file; each carries its line as metadata, under `doc`."""
NULLABLE = INSTANTS[1:]
"""The instants that may never come; a sample is always due."""


def make_schema(description: dict) -> pyarrow.Schema:
    """Return the file's schema.

    Its metadata hold `description` as JSON under `crossover` and FORMAT under `crossover_format`.
    """
    words = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    types = dict.fromkeys(("payload", *WORDS), words)
    fields = [
        pyarrow.field(name, types.get(name, pyarrow.int64()), nullable=name in NULLABLE, metadata={"doc": doc})
        for name, doc in COLUMNS.items()
    ]
    return pyarrow.schema(fields, {"crossover": json.dumps(description), "crossover_format": str(FORMAT)})


def to_parquet(
    path: Path,
    payloads: Sequence[str] = (),
    description: dict | None = None,
    samples: tuple[np.ndarray, Sequence[str]] | None = None,
) -> Path:
    """Rewrite the journal at `path` as `<name>.parquet` beside it, and remove it when that is whole.

    `samples` are (records, texts of their reasons) where the journal's disk did not take them all. Return the file's
    path. Raises OSError if the disk is full; the journal then stays.
    """
    target = write(*(samples or journal.read(path)), path.with_suffix(".parquet"), payloads, description)
    journal.remove(path)
    return target


def convert(path: Path, target: Path, payloads: Sequence[str] = (), description: dict | None = None) -> Path:
    """Write the samples of the journal at `path` as the file `target`, as `write` does, and return that."""
    return write(*journal.read(path), target, payloads, description)


def write(
    records: np.ndarray,
    reasons: Sequence[str],
    target: Path,
    payloads: Sequence[str] = (),
    description: dict | None = None,
) -> Path:
    """Write samples, records of dtype RECORD in any order, as the file `target`, and return that.

    `reasons` and `payloads` are the texts and names that the records count in; the file's metadata hold `description`
    as JSON under `crossover`. Not more than ROWS samples of a map of a file are in memory at once, and 16 bytes for
    each of the others. Raises OSError if the disk is full.
    """
    # Without run.json the payloads have no names; their numbers then stand for them.
    unnamed = range(len(payloads), int(records["payload"].max()) + 1 if len(records) else 0)
    dictionaries = {"payload": [*payloads, *map(str, unnamed)], "reason": list(reasons)}
    dictionaries |= {"status": list(STATUSES), "preparer": list(PREPARERS)}
    # The journal has its samples in the order in which they finished.
    order = np.argsort(records["index"], kind="stable")
    schema = make_schema(description or {})
    with (
        atomic_write.replace_file(target) as unfinished,
        pyarrow.parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer,
    ):
        for start in range(0, len(records), ROWS):
            writer.write_table(make_table(records[order[start : start + ROWS]], dictionaries, schema))
    return target


def make_table(records: np.ndarray, dictionaries: dict[str, list[str]], schema: pyarrow.Schema) -> pyarrow.Table:
    """Return records (of dtype RECORD) as a table of the columns COLUMNS.

    Numbers become the words of `dictionaries`, by column; instants that never came become null.
    """
    columns = []
    for name in COLUMNS:
        values = np.ascontiguousarray(records[name])
        if name in dictionaries:
            words = pyarrow.array(dictionaries[name], pyarrow.string())
            columns.append(pyarrow.DictionaryArray.from_arrays(values.astype(np.int32), words))
        else:
            columns.append(pyarrow.array(values, mask=values == 0 if name in NULLABLE else None))
    return pyarrow.Table.from_arrays(columns, schema=schema)


def load(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Read a file of `to_parquet`: (records, texts of their reasons, names of payloads).

    An instant that is null in the file is 0 in the records. Raises ValueError if the file is of another format, no
    regular file, or has more rows than bytes: a sample takes ten at least, and 49 kB can hold the same one 20 million
    times.
    """
    try:
        plain_file.check(path)
    except ValueError as error:
        raise ValueError(f"{path} has no samples: {error}") from None
    kept = pyarrow.parquet.read_metadata(path)
    rows = sum(kept.row_group(number).num_rows for number in range(kept.num_row_groups))
    if rows > (size := path.stat().st_size):
        raise ValueError(f"{path} says that it has {rows} samples, in {size} bytes")
    stored = pyarrow.parquet.read_table(path).unify_dictionaries()
    metadata = stored.schema.metadata or {}
    version = metadata.get(b"crossover_format", b"2").decode() if b"crossover" in metadata else "unknown"
    if version != str(FORMAT):
        raise ValueError(f"{path} has samples of format {version}; this version reads format {FORMAT}")
    records = np.zeros(len(stored), RECORD)
    words = {}
    for name in stored.column_names:  # all of COLUMNS; a file from before placements that split lacks `preparer`
        column = stored.column(name).combine_chunks()  # of some types in one chunk, of an empty table in none
        if isinstance(column, pyarrow.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pyarrow.array([], column.type)
        if isinstance(column, pyarrow.DictionaryArray):
            words[name] = column.dictionary.to_pylist()
            column = column.indices
        records[name] = column.fill_null(0).to_numpy(zero_copy_only=False)
    for name, order in (("status", STATUSES), ("preparer", PREPARERS)):
        # The file's dictionary need not have our order.
        codes = np.array([order.index(word) for word in words.get(name, ())] or [0], "u1")
        records[name] = codes[records[name]]
    return records, words["reason"], words["payload"]
