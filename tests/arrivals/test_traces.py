"""Traces: what a file says is what is offered."""

import numpy as np
import pytest

from arrivals import parse
from tests.arrivals.trace_files import drawn


def test_a_trace_reads_timestamps_intervals_and_counts(trace):
    assert drawn(trace(0.5, 1, 1, 2.25)).tolist() == [0.5, 1, 1, 2.25]
    assert drawn(trace("# made by hand", "intervals", 0.5, "", 1, 0)).tolist() == [0.5, 1.5, 1.5]
    assert drawn(trace("n, at ,size", "1,0.5,9", "2,3,9") + ",column=at").tolist() == [0.5, 3]
    assert drawn(trace(0.5, 1) + ",kind=intervals").tolist() == [0.5, 1.5]
    counts = np.bincount((drawn(trace("counts", 5, 0, 1000)) // 60).astype(int))
    assert counts.tolist() == [5, 0, 1000]


def test_a_trace_is_stretched_skipped_and_cut_at_the_end_of_the_run(trace):
    spec = trace(1, 2, 3, 4)
    assert drawn(spec + ",scale=2").tolist() == [2, 4, 6, 8]
    assert drawn(spec + ",skip=2,scale=0.5").tolist() == [0, 0.5, 1]
    assert drawn(spec, 3).tolist() == [1, 2]
    assert drawn(spec, 0.5).tolist() == []
    assert drawn(spec + ",skip=5").tolist() == []


@pytest.mark.parametrize("shorter", [30, 60, 125.5])
def test_a_longer_run_of_counts_begins_like_a_shorter_one(shorter, trace):
    spec = trace("counts", 100, 200, 0, 300) + ",scale=0.7,skip=10"
    short, long = drawn(spec, shorter), drawn(spec, 1000)
    assert np.array_equal(long[: len(short)], short)


def test_a_trace_of_seconds_gives_the_same_schedule_from_one_version_to_the_next(trace):
    poisson = np.cumsum(np.random.default_rng(1).integers(1, 2**20, 1000) / 2**23).tolist()
    for lines, asked, digest in [
        (["timestamps", 0.0, *map(repr, poisson)], "", "006cca30de20"),
        (["timestamps", 0.0, *map(repr, poisson)], ",skip=10,scale=2", "3281e6eaab38"),
        (["intervals", *(i / 64 for i in range(100))], "", "2295effe0c3c"),
        (["counts", 100, 0, 250], "", "a3b5f2c6cf46"),
        ([100.5, 100.75, 101], "", "7452701e7667"),
    ]:
        assert parse(trace(*lines) + asked).schedule(180, 3).digest == digest
