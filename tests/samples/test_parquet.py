"""A file of samples that somebody else made: refused before it takes memory that its bytes cannot be worth."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from loadgen.samples import parquet
from loadgen.samples.sample import PREPARERS, RECORD, STATUSES

WORDS = {"payload": ["a.jpg"], "reason": [""], "status": list(STATUSES), "preparer": list(PREPARERS)}


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """A few kilobytes that say the same sample 2 million times."""
    path, schema = tmp_path_factory.mktemp("bomb") / "samples.parquet", parquet.make_schema({})
    table = parquet.make_table(np.zeros(parquet.ROWS, RECORD), WORDS, schema)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for _ in range(2):
            writer.write_table(pyarrow.concat_tables([table] * 16), row_group_size=2**20)
    return path


def test_a_file_of_more_samples_than_bytes_is_refused(bomb):
    assert bomb.stat().st_size < 50_000
    with pytest.raises(ValueError, match=r"says that it has 2097152 samples, in \d+ bytes$"):
        parquet.load(bomb)


@pytest.mark.parametrize("count", [0, 1, 1000, 100_000])
def test_the_samples_that_take_the_fewest_bytes_are_read(tmp_path, count):
    """All of them dropped, at even distances: they take a tenth of what may be refused."""
    records = np.zeros(count, RECORD)
    records["index"], records["due"] = np.arange(count), np.arange(count) * 1_000_000
    path = parquet.write(records, [""], tmp_path / "samples.parquet", ["a.jpg"])
    assert path.stat().st_size > 9 * count
    assert np.array_equal(parquet.load(path)[0], records)
