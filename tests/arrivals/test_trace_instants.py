"""Traces: instants since 1970 and date times start at the first of them."""

from fractions import Fraction

import numpy as np
import pytest

from arrivals import parse
from tests.arrivals.trace_files import drawn, refusal


def seconds(times: list[Fraction]) -> list[float]:
    return [float(at - times[0]) for at in times]


@pytest.mark.parametrize(("unit", "digits"), [("s", 0), ("ms", 3), ("us", 6), ("ns", 9)])
@pytest.mark.parametrize("fraction", [0, 1, 4])
@pytest.mark.parametrize("asked", [True, False])
def test_times_since_1970_start_at_the_first_to_the_last_digit(unit, digits, fraction, asked, trace):
    rng = np.random.default_rng(5)
    step = 10 ** (fraction + digits)
    whole = 1_700_000_000 * step + np.append(0, np.cumsum(rng.integers(0, step // 4 + 2, 300)))
    texts = [f"{n // 10**fraction}" + f".{n % 10**fraction:0{fraction}}" * bool(fraction) for n in map(int, whole)]
    plan = parse(trace("timestamp", *texts) + f",unit={unit}" * asked).schedule(1e6, 1)
    assert plan.times.tolist() == seconds([Fraction(int(n), step) for n in whole])
    assert "since 1970" in plan.note and "2023-11-14 22:13:20+00:00" in plan.note
    assert ("recognised" in plan.note) == (not asked)


def test_only_what_cannot_be_seconds_from_the_start_counts_since_1970(trace):
    assert drawn(trace(100.5, 101), 200).tolist() == [100.5, 101]
    assert drawn(trace(99_999_999), 1e8).tolist() == [99_999_999]
    assert drawn(trace(100_000_000, 100_000_001) + ",unit=s").tolist() == [0, 1]
    assert drawn(trace(631_152_000, 631_152_001)).tolist() == [0, 1]
    assert "line 1: '631151999' would be seconds since 1970, before 1990" in refusal(trace(631_151_999))
    assert "'120000000000000' would be microseconds since 1970" in refusal(trace(120_000_000_000_000))
    assert drawn(trace(120_000_000_000_000) + ",unit=ns", 2e5).tolist() == [120_000]
    assert drawn(trace(100, 300) + ",unit=ms").tolist() == [0.1, 0.3]
    assert drawn(trace(1_700_000_000_000, 1_700_000_000_500) + ",unit=us", 1e7).tolist() == [1_700_000, 1_700_000.0005]
    assert "line 2: 1700000000 lies more than three years after" in refusal(trace(5, 1_700_000_000))
    assert "line 2: 1700000000000 lies more than three" in refusal(trace(1_700_000_000, 1_700_000_000_000))
    assert "lies beyond the year 5000" in refusal(trace(1_700_000_000_000) + ",unit=s")
    assert "is no time since 1970 in any of s, ms, us, ns" in refusal(trace("1" * 25))
    assert "not unit=ns" in refusal(trace(5) + ",kind=counts,unit=ns")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2023-11-16 18:15:46.6805900", "2023-11-16 18:15:50.9951690"], [0, 4.314579]),
        (["2024-05-10 00:00:00.009930+00:00", "2024-05-10 00:00:01+00:00"], [0, 0.99007]),
        (["2024-02-28T23:59:59.5Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"], [0, 0.5, 86_400.5]),
        (["2024-01-01 01:00:00+01:00", "2024-01-01 00:00:03.000000001 UTC"], [0, 3.000000001]),
        (["2024-01-01 00:00:00-0330", "2024-01-01 03:30:03 +00:00"], [0, 3]),
    ],
)
def test_date_times_start_at_the_first(texts, expected, trace):
    plan = parse(trace("when", *texts)).schedule(1e6, 1)
    assert plan.times.tolist() == expected
    assert f"counted from the first, {texts[0]}" in plan.note
    assert "takes no unit" in refusal(trace("when", *texts) + ",unit=s")
