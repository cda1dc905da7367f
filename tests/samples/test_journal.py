"""Laws of the samples' file: what was written can be read, whatever came after."""

import hashlib
import os
from contextlib import suppress

import numpy as np
import pyarrow.parquet
import pytest

from loadgen.samples import journal, parquet
from loadgen.samples import sample as samples
from loadgen.samples.sample import COMPLETED, INSTANTS, RECORD, STATUSES, Sample


def several(n: int = 12) -> list[Sample]:
    return [
        Sample(
            i, i % 3, 10 * i, 10 * i + 1, 10 * i + 2, 10 * i + 3, 10 * i + 4, 10 * i + 5,
            STATUSES[i % len(STATUSES)], 100 + i, 200 + i, f"reason, {i % 4}\u00e9" if i % len(STATUSES) else "",
        )
        for i in range(n)
    ]  # fmt: skip


def written(path, kept: list[Sample]):
    book = journal.Journal(path)
    for sample in kept:
        book.write(sample)
    return book


def same(read, kept: list[Sample]) -> bool:
    records, reasons = read
    expected, texts = samples.tabulate(kept)
    numbers = [name for name in RECORD.names if name != "reason"]
    return np.array_equal(records[numbers], expected[numbers]) and [reasons[i] for i in records["reason"]] == [
        texts[i] for i in expected["reason"]
    ]


def test_what_is_written_can_be_read_before_anything_is_closed(tmp_path):
    written(tmp_path / "deep" / "samples.journal", several())
    assert same(journal.read(tmp_path / "deep" / "samples.journal"), several())


def test_the_journals_bytes_stay_the_same_from_one_version_to_the_next(tmp_path):
    written(tmp_path / "samples.journal", several()).close()
    assert hashlib.sha256((tmp_path / "samples.journal").read_bytes()).hexdigest()[:16] == "991f4e6f031248b0"
    assert (tmp_path / "samples.reasons").read_text("utf-8").splitlines() == [
        "reason, 1\u00e9",
        "reason, 2\u00e9",
        "reason, 3\u00e9",
        "reason, 0\u00e9",
    ]


def test_half_a_record_at_the_end_is_left_out(tmp_path):
    path = tmp_path / "samples.journal"
    written(path, several()).close()
    path.write_bytes(path.read_bytes()[:-5])
    assert same(journal.read(path), several()[:-1])


def test_an_empty_journal_is_no_error(tmp_path):
    written(tmp_path / "samples.journal", []).close()
    records, reasons = journal.read(tmp_path / "samples.journal")
    assert (len(records), reasons) == (0, [""])
    stored = parquet.to_parquet(tmp_path / "samples.journal")
    assert len(parquet.load(stored)[0]) == 0


@pytest.mark.parametrize("rows", [5, 65_536])
def test_parquet_holds_the_same_and_replaces_the_journal(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(parquet, "ROWS", rows)
    path = tmp_path / "samples.journal"
    written(path, several()).close()
    stored = parquet.to_parquet(path, ["a", "b", "c"], {"arm": "x"})
    *read, payloads = parquet.load(stored)
    assert same(read, several())
    assert payloads == ["a", "b", "c"]
    assert [file.name for file in tmp_path.iterdir()] == ["samples.parquet"]


def test_the_parquet_file_says_what_its_columns_mean_in_words_that_any_reader_shows(tmp_path):
    written(tmp_path / "samples.journal", several()).close()
    stored = pyarrow.parquet.read_table(parquet.to_parquet(tmp_path / "samples.journal", ["a", "b", "c"]))
    assert stored.column_names == list(parquet.COLUMNS)
    assert set(stored.column_names) == set(RECORD.names)
    row = stored.to_pylist()[7]
    assert (row["payload"], row["status"], row["reason"]) == ("b", STATUSES[1], "reason, 3\u00e9")


def test_an_instant_that_never_came_is_null_so_that_nobody_counts_with_it(tmp_path):
    waiting = Sample(0, 0, due=70_000_000, fired=70_000_001)
    sent = Sample(1, 0, 80_000_000, 80_000_001, 80_000_002, 80_000_003, 80_000_004)
    done = Sample(2, 0, 0, 1, 2, 3, 4, 5_000_000, COMPLETED)
    written(tmp_path / "samples.journal", [waiting, sent, done]).close()
    stored = parquet.to_parquet(tmp_path / "samples.journal")
    rows = pyarrow.parquet.read_table(stored).to_pylist()
    assert [rows[0][name] for name in INSTANTS] == [70_000_000, 70_000_001, None, None, None, None]
    assert (rows[1]["sent"], rows[1]["done"]) == (80_000_004, None)
    assert rows[2]["due"] == 0
    naive = [row["done"] - row["due"] for row in rows if row["done"] is not None]
    assert naive == [5_000_000]
    *read, _ = parquet.load(stored)
    assert same(read, [waiting, sent, done])  # in memory it is 0


@pytest.mark.parametrize("rows", [5, 65_536])
def test_the_rows_are_in_the_order_of_the_schedule_whatever_finished_first(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(parquet, "ROWS", rows)
    shuffled = several()[7:] + several()[:7][::-1]
    written(tmp_path / "samples.journal", shuffled).close()
    *read, _ = parquet.load(parquet.to_parquet(tmp_path / "samples.journal"))
    assert same(read, several())


def test_a_file_of_another_format_is_refused_with_both_numbers(tmp_path):
    written(tmp_path / "samples.journal", several()).close()
    stored = parquet.to_parquet(tmp_path / "samples.journal")
    table = pyarrow.parquet.read_table(stored)
    old, newer, foreign = {"crossover": "{}"}, {"crossover": "{}", "crossover_format": "9"}, {}
    for metadata, version in ((old, "2"), (newer, "9"), (foreign, "unknown")):
        pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), stored)
        with pytest.raises(ValueError, match=f"samples of format {version}.*; this version reads format 3$"):
            parquet.load(stored)


def test_a_journal_that_cannot_be_converted_stays(tmp_path, monkeypatch):
    path = tmp_path / "samples.journal"
    written(path, several()).close()
    monkeypatch.setattr(parquet, "make_table", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        parquet.to_parquet(path)
    assert same(journal.read(path), several())
    assert not list(tmp_path.glob("*.part"))


def test_a_disk_that_takes_no_more_is_an_error_and_no_record_is_torn(tmp_path):
    book = written(tmp_path / "samples.journal", several(3))
    os.dup2(os.open("/dev/full", os.O_WRONLY), book._file)
    with pytest.raises(OSError, match="No space left"):
        book.write(several(4)[-1])
    assert same(journal.read(tmp_path / "samples.journal"), several(3))


@pytest.mark.parametrize("full", ["_file", "_texts"])
def test_what_the_disk_did_not_take_is_read_from_memory_and_stands_in_the_table(tmp_path, full):
    book = written(tmp_path / "samples.journal", several(3))
    file, room = getattr(book, full), os.dup(getattr(book, full))
    os.dup2(os.open("/dev/full", os.O_WRONLY), file)
    for sample in several()[3:]:
        with suppress(OSError):
            book.write(sample)
            assert full == "_texts" and sample.reason in {each.reason for each in several(3)}
    os.dup2(room, file)  # there is room again: nothing is torn, as nothing more is written
    size = (tmp_path / "samples.journal").stat().st_size
    with pytest.raises(OSError, match="No space left"):
        book.write(several(13)[-1])
    book.close()
    assert (tmp_path / "samples.journal").stat().st_size == size
    assert same(book.read(), several(13))
    *stored, _ = parquet.load(parquet.to_parquet(book.path, samples=book.read()))
    assert same(stored, several(13))


def test_a_journal_is_converted_elsewhere_and_stays(tmp_path):
    path = tmp_path / "samples.journal"
    written(path, several())  # never closed
    before = path.read_bytes()
    stored = parquet.convert(path, tmp_path / "elsewhere.parquet", ["a", "b", "c"])
    *read, payloads = parquet.load(stored)
    assert same(read, several()) and payloads == ["a", "b", "c"]
    assert path.read_bytes() == before and journal.reasons_path(path).exists()


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("content", [b"", b"a text\n" * 40, b"PAR1" + bytes(range(200, 256)) * 9], ids=len)
def test_a_file_that_is_no_journal_is_called_so(tmp_path, content, beside):
    if beside and not content:
        return  # an empty journal is one
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    if beside:
        journal.reasons_path(path).write_text("")
    with pytest.raises(ValueError, match=r"^[^\n]+ is no journal: [^\n]+$"):
        journal.check(path)
    assert path.read_bytes() == content
