"""Traces: what a file says is what is offered, and what could mean two things is refused in one line."""

import os
import re
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from arrivals import Trace, parse, traces
from tests import forks
from tests.conftest import ROOT

FUNCTIONS = "HashOwner,HashApp,HashFunction,Trigger," + ",".join(map(str, range(1, 1441)))


def drawn(spec: str, seconds: float = 2000, seed: int = 7) -> np.ndarray:
    return parse(spec).schedule(seconds, seed).times


@pytest.fixture
def trace(tmp_path):
    """Writes a trace file of these lines; gives the start of its specification."""

    def write(*lines, end: str = "\n") -> str:
        (tmp_path / "trace.csv").write_bytes((end.join(map(str, lines)) + end).encode())
        return f"trace:file={tmp_path / 'trace.csv'}"

    return write


def refusal(spec: str, seconds: float = 60) -> str:
    """The one line that refuses it."""
    with pytest.raises(ValueError) as error:
        drawn(spec, seconds)
    assert "\n" not in str(error.value)
    return str(error.value).partition(" s: ")[2].replace(spec.partition("=")[2].partition(",")[0], "FILE")


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


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (",timestamp", "7,{}"),
        ("vmId,starttime", "7,{}"),
        ("id,Arrival_Time,size", "7,{},9"),
        ("TIMESTAMP,n", "{},7"),
        ("start time,end time", "{},9e7"),
        ('"a ""quoted"" name",time', '"x,y",{}'),
        ("id;ts", "a,b;{}"),
        ("id\tTime (s)", "7;7\t{}"),
        ("time (s; rounded),ts", "7,{}"),
    ],
)
def test_the_column_whose_name_gives_it_away_is_read(header, row, trace):
    plan = parse(trace(header, *(row.format(at) for at in (0.5, 0.75, 3)))).schedule(60, 1)
    assert plan.times.tolist() == [0.5, 0.75, 3]
    assert "column '" in plan.note and "\n" not in plan.note


@pytest.mark.parametrize(
    ("names", "kind", "unit"),
    [
        ("n,interval_ms", "intervals", 1e-3),
        ("n,Gap", "intervals", 1),
        ("n,inter-arrival time [us]", "intervals", 1e-6),
        ("n,start_ns", "timestamps", 1e-9),
        ("n,timestamp(ms)", "timestamps", 1e-3),
        ("minute,invocations", "counts", 1),
        ("minute,Count", "counts", 1),
    ],
)
def test_the_name_gives_away_the_kind_and_the_unit_too(names, kind, unit, trace):
    recording = traces.read(Path(trace(names, "8,3", "9,5").partition("=")[2]))
    assert recording.kind == kind
    assert recording.values == pytest.approx([3 * unit, 5 * unit], rel=1e-15)


UNIT_NAMES = {
    "s": ["time", "time [s]", "t_sec", "startSecs", "timeSeconds", "time_second"],
    "ms": ["time (msec)", "time_millis", "timeMs", "startTimeMillis", "duration_ms", "TIME_MS", "tsms", "timeMSec"],
    "us": ["time_usec", "time (\u03bcs)", "time (\u00b5s)", "t_\u00b5S", "micros", "timeUs", "at microsecond"],
    "ns": ["ts_nanos", "tNs", "time nsec", "time_nanoseconds", "epochNanos"],
}


@pytest.mark.parametrize(("unit", "name"), [(unit, name) for unit, names in UNIT_NAMES.items() for name in names])
def test_the_unit_in_the_name_of_the_only_column_counts(unit, name, trace):
    expected = [2 / 10 ** traces.UNITS[unit], 3 / 10 ** traces.UNITS[unit]]
    assert drawn(trace(name, 2, 3)).tolist() == expected
    assert drawn(trace(f"{name};n", "2;9", "3;9") + ",column=1").tolist() == expected
    assert drawn(trace(name, 2, 3) + ",unit=s").tolist() == [2, 3]
    assert drawn(trace(name, "2023-11-16 18:15:46", "2023-11-16 18:15:48")).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        *[("time (h)", "h"), ("time [min]", "min"), ("arrival_hours", "hours"), ("startMinutes", "minutes")],
        *[("days", "days"), ("requests per minute", "minute"), ("us_east", "us"), ("timestamp (ms, UTC)", "ms")],
    ],
)
def test_a_unit_in_the_name_that_is_not_read_is_refused(name, word, trace):
    file = trace(f'"{name}"', 2, 3)
    for asked in ("", ",kind=timestamps", ",kind=intervals"):
        assert refusal(file + asked).startswith(f"FILE, line 1: '{name}' says '{word}': is that its unit? Say unit=s")
    assert drawn(file + ",unit=s").tolist() == [2, 3]
    assert len(drawn(file + ",kind=counts")) == 5
    assert drawn(trace(f'"{name}"', "2023-11-16 18:15:46", "2023-11-16 18:15:48")).tolist() == [0, 2]


def test_a_column_is_asked_for_by_its_name_or_its_number(trace):
    assert drawn(trace("a,b", "9,1", "9,2") + ",column=b").tolist() == [1, 2]
    assert drawn(trace("a,b", "9,1", "9,2") + ",column=2").tolist() == [1, 2]
    assert drawn(trace("9,1", "9,2") + ",column=2").tolist() == [1, 2]
    assert drawn(trace(",0", "0,1", "1,2") + ",column=0").tolist() == [1, 2]  # pandas' name of a nameless series
    assert drawn(trace("timestamp,minute,count", "1,1,1") + ",kind=timestamps").tolist() == [1]


COLUMNS = [
    (["a,b", "1,2"], "", "no name tells which column holds the arrivals: a, b; say column=NAME"),
    (["time,count", "1,2"], "", "'time' and 'count' may each hold the arrivals: time, count; say column=NAME"),
    (["end,stop", "1,2"], ",kind=counts", "no name tells which column holds the counts: end, stop; say column=NAME"),
    (["1,2", "3,4"], "", "2 columns without a header, 1, 2: say column=1 to column=2"),
    (["1,2,3", "3,4,5"], ",column=b", "there is no header, so column must be a number from 1 to 3, not 'b'"),
    (["a,b", "1,2"], ",column=c", "no column 'c' in a, b"),
    (["a,a", "1,2"], ",column=a", "2 columns are named 'a': say column=1 and 2"),
    (["1.5,ChatGPT", "2.5,GPT"], "", "no name tells which column holds the arrivals: 1.5, ChatGPT; say column=NAME"),
    (["1.5,ChatGPT", "2.5,GPT"], ",column=1", "column=1 may mean the name or the place, and this line a header or"),
    ([",0", "0,0.5"], ",column=2", "column=2 may mean the name or the place, and this line a header or a row"),
    (["f,1,2,3", "a,1,0,3"], ",kind=counts,column=2", "the columns 1 to 3 look like minutes and every row like one fu"),
    (["func,count", "a,1"], ",kind=counts", "the column 'func' makes every row one function's, not one minute's"),
    ([",".join(f"c{i}" for i in range(40)), "1" + ",1" * 39], "", "c10, c11 and 28 more; say column=NAME"),
    (["app,func,end_timestamp,duration", "a,b,1,2"], ",kind=counts", "kind=azure-functions-2021 reads this layout"),
    (["time,x", "1,2"], ",kind=burstgpt", "no column 'Model'; expected Timestamp, Model, Request tokens, Response"),
    (["time,x", "1,2"], ",kind=mooncake", "'time,x' is not a JSON object; expected one on every line"),
    (
        [FUNCTIONS[:44] + "2,3", "a,b,c,d,1,2"],
        ",kind=azure-functions-2019",
        "expected HashOwner, HashApp, HashFunction, ",
    ),
]


@pytest.mark.parametrize(("lines", "asked", "says"), COLUMNS)
def test_a_column_that_could_be_another_is_refused_and_all_are_listed(lines, asked, says, trace):
    said = refusal(trace(*lines) + asked)
    assert said.startswith("FILE, line 1: ") and says in said.replace("no column 'Timestamp'", "no column 'Model'")


@pytest.mark.parametrize("asked", [",kind=counts", ",kind=counts,column=2", ",kind=counts,column=HashApp"])
def test_a_table_with_functions_as_rows_is_no_column_of_counts(asked, trace):
    said = refusal(trace(FUNCTIONS, "a,b,c,http," + ",".join("1" * 1440)) + asked)
    assert "every row like one function" in said and said.endswith("; kind=azure-functions-2019 reads this layout")


@pytest.mark.parametrize("asked", ["", ",kind=counts", ",kind=counts,column=count"])
@pytest.mark.parametrize(
    ("name", "texts", "line", "says"),
    [
        ("minute", "17", 3, "('7' after '1')"),
        ("minute", "11", 3, "('1' after '1')"),
        ("bucketStart", ["4", "Total"], 3, "('Total' after '4')"),
        ("period", ["00:01", "00:02"], 2, "('00:01')"),
        ("hour", "12", 2, "('1')"),
    ],
)
def test_counts_beside_a_column_that_says_which_minute_are_refused(name, texts, line, says, asked, trace):
    said = refusal(trace(f"{name},count", f"{texts[0]},3", f"{texts[1]},4") + asked)
    assert said.startswith(
        f"FILE, line {line}: counts are taken as consecutive minutes, but column '{name}' says which"
    )
    assert says in said


def test_counts_beside_consecutive_minutes_are_read(trace):
    for first, second in [("1", "2"), ("0", "1"), ("28333333", "28333334"), ("1.0", "2.0")]:
        assert len(drawn(trace("minute,count,note", f"{first},3,a", f"{second},4,b"))) == 7
    assert len(drawn(trace("size,count", "5,3", "5,4"))) == 7
    said = refusal(trace('{"minute": 1, "count": 3}', '{"minute": 3, "count": 3}'))
    assert "line 2: counts are taken as consecutive minutes" in said


# The public layouts, and what they are read as without kind=.
LAYOUTS = {
    "azure-functions-2021": (
        ["app,func,end_timestamp,duration", "aa,f1,0.079,0.078", "aa,f2,1.9,0.2", "aa,f1,0.821,0.019", "aa,f3,2.5,1.0"],
        [0.001, 0.802, 1.5, 1.7],
    ),
    "azure-llm": (
        [
            "TIMESTAMP,ContextTokens,GeneratedTokens",
            "2023-01-02 03:04:05.6805900,374,44",
            "2023-01-02 03:04:05.9951234,396,109",
            "2023-01-02 03:04:06.1000000,879,55",
        ],
        [0, 0.3145334, 0.41941],
    ),
    "burstgpt": (
        [
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
            *(f"{at},ChatGPT,10,20,30,API log" for at in (5, 5, 5, 6, 8)),
        ],
        [5, 5, 5, 6, 8],
    ),
    "mooncake": (
        [
            f'{{"timestamp": {at}, "input_length": 600, "output_length": 52, "hash_ids": [0, 1]}}'
            for at in (0, 0, 300, 3000)
        ],
        [0, 0, 0.3, 3],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_is_read_and_recognised(name, trace):
    lines, expected = LAYOUTS[name]
    for asked in ("", f",kind={name}"):
        plan = parse(trace(*lines) + asked + ",spread=0").schedule(60, 1)
        assert plan.times.tolist() == expected
        assert f"kind={name}" in plan.note and ("recognised" in plan.note) == (not asked)
    assert "takes neither column nor unit" in refusal(trace(*lines) + f",kind={name},column=1")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("azure-functions-2019", "5de1b35ef27a"),
        ("azure-functions-2021", "cf7e6fc36652"),
        ("azure-llm", "5d6c691233ce"),
        ("burstgpt", "973b4231bed7"),
        ("mooncake", "828f35825c5f"),
    ],
)
def test_a_public_layout_gives_the_same_schedule_from_one_version_to_the_next(name, digest, trace):
    minutes = ["HashOwner,HashApp,HashFunction,Trigger,1,2,3", "o1,a1,f1,http,3,0,1", "o1,a1,f2,timer,1,1,1"]
    lines = LAYOUTS[name][0] if name in LAYOUTS else minutes
    assert parse(trace(*lines) + f",kind={name}").schedule(180, 3).digest == digest


@pytest.mark.parametrize("asked", ["", ",spread=0.25", ",scale=0.5,skip=6"])
def test_whole_seconds_are_spread_over_the_second_by_the_seed(asked, trace):
    seconds = np.sort(np.random.default_rng(2).integers(5, 40, 500)).tolist()
    file = trace(LAYOUTS["burstgpt"][0][0], *(f"{at},ChatGPT,10,20,30,API log" for at in seconds)) + asked
    times = drawn(file)
    process = parse(file)
    recorded = times / process.scale + process.skip
    assert np.floor(recorded).tolist() == [at for at in seconds if at >= process.skip]
    assert (recorded % 1).max() < (process.spread or 1) and np.all(np.diff(times) > 0)
    assert drawn(file, seed=8).tolist() != times.tolist()
    assert np.array_equal(drawn(file, 9.5), times[times < 9.5])
    assert str(parse(str(process))) == str(process)


def test_a_fraction_of_a_second_in_burstgpt_is_kept_as_recorded(trace):
    lines = [line.replace("6,", "6.5,", 1) for line in LAYOUTS["burstgpt"][0]]
    assert drawn(trace(*lines)).tolist() == [5, 5, 5, 6.5, 8]


def test_counts_per_second_are_spread_over_their_second(trace):
    file = trace("second,count", *(f"{i},{n}" for i, n in enumerate([5, 0, 1000])))
    plan = parse(file + ",unit=s").schedule(60, 1)
    assert np.bincount(plan.times.astype(int)).tolist() == [5, 0, 1000]
    assert "arrivals per second; 1,005 arrivals in 3 seconds" in plan.note
    assert "counts are taken as consecutive minutes, but column 'second' says which" in refusal(file)
    minutes = trace("minute,count", "1,2")
    assert "consecutive seconds, but column 'minute' says which" in refusal(minutes + ",unit=s")
    assert "counts are per minute, or per second with unit=s; not unit=ms" in refusal(minutes + ",unit=ms")
    assert "spread is for timestamps and intervals: counts are spread over their 60 s" in refusal(minutes + ",spread=1")


def test_a_clock_that_is_coarser_than_the_gaps_is_warned_of(trace):
    for lines, asked, says in [
        (["counts", 90, 30], "", "it tells times to 60 s, coarser than the mean gap of "),
        (LAYOUTS["burstgpt"][0], "", "it tells times to 1 s, coarser than the mean gap of "),
        ([0, 0, 1, 1, 1, 2], "", "1 s, coarser than the mean gap of 0.4 s: requests arrive at once; if that is its"),
        ([0, 0, 1, 1, 1, 2], ",scale=3", "clock's doing, spread=1 spreads them"),
        ([0, 0, 1, 1, 1, 2], ",spread=1", "where in it requests arrive is drawn by the seed, and shorter bursts are"),
        (
            ['{"timestamp": 0, "input_length": 1, "output_length": 1}'] * 3
            + ['{"timestamp": 3000, "input_length": 1, "output_length": 1}'] * 3,
            "",
            "tells times to 3 s",
        ),
    ]:
        note = parse(trace(*lines) + asked).schedule(120, 1).note
        assert "; warning: " in note and says in note, note
    for lines in (
        ["counts", 1, 1],
        [0.5, 1.25, 1.25, 7.125],
        LAYOUTS["azure-llm"][0],
        LAYOUTS["mooncake"][0],
        [3],
        [3, 3],
        [0.802, 1.7],
    ):
        assert "warning" not in parse(trace(*lines)).schedule(120, 1).note
    assert "spread must be zero or more, not -1" in refused_at_once(trace(1) + ",spread=-1")


def refused_at_once(spec: str) -> str:
    """The line that refuses a specification before any file is read."""
    with pytest.raises(ValueError) as error:
        parse(spec)
    return str(error.value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_damaged_row_of_a_public_layout_is_named_by_its_line(name, trace):
    lines = list(LAYOUTS[name][0])
    lines[-1] = '{"input_length": 1}' if name == "mooncake" else "x" + lines[-1].replace(",", ",x")
    lines[2:2] = ["", "# a comment"]
    assert f", line {len(lines)}: " in refusal(trace(*lines) + f",kind={name}")


def test_counts_of_functions_are_summed_over_the_functions(trace):
    counts = np.random.default_rng(3).integers(0, 4, (5, 1440))
    lines = [f"a,b,c{i},http," + ",".join(map(str, row)) for i, row in enumerate(counts)]
    plan = parse(trace(FUNCTIONS, *lines)).schedule(86_400, 1)
    assert np.bincount((plan.times // 60).astype(int), minlength=1440).tolist() == counts.sum(axis=0).tolist()
    assert (
        "kind=azure-functions-2019, recognised by its columns: arrivals per minute, summed over 5 functions"
        in plan.note
    )
    assert "line 3: 'x' is not a number" in refusal(trace(FUNCTIONS, lines[0], lines[1][:-1] + "x"))
    assert "line 2: '' is not a number" in refusal(trace(FUNCTIONS, lines[0][:-1] + ","))
    assert "is not a whole number of arrivals" in refusal(trace(FUNCTIONS, lines[0] + ".5"))


def test_what_ran_before_the_recording_began_is_left_out_and_said(trace):
    plan = parse(trace("app,func,end_timestamp,duration", "a,b,5,7", "a,b,3,1", "a,b,2,2")).schedule(60, 1)
    assert plan.times.tolist() == [0, 2]
    assert "1 that began before its start left out" in plan.note


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


LINES = [
    (["timestamps"], " is empty"),
    ([1, "x"], ", line 2: 'x' is not a number; expected a number"),
    (["t", 1, "", "nan"], ", line 4: 'nan' is not a finite number"),
    ([1, "inf"], ", line 2: 'inf' is not a finite number"),
    ([1, "1e999"], ", line 2: '1e999' is not a finite number"),
    ([-1], ", line 1: -1 is negative"),
    (["# t", 2, 1], ", line 3: 1 is earlier than the timestamp before it"),
    (["counts", 1.5], ", line 2: 1.5 is not a whole number of arrivals"),
    (["counts", 1e12], ", line 2: 1000000000000.0 in one row is more than 50,000,000 arrivals"),
    (["counts", 4e7, 4e7], "more than 50,000,000 arrivals; lower the rate"),
    (["t", "1_000"], ", line 2: '1_000' is not a number"),
    (["time;x", "0,100;a"], ", line 2: '0,100' is not a number: it has a decimal comma; expected 0.100"),
    (["0,100;a", "0,200;a"], ", line 1: '0,100' is not a number: it has a decimal comma; expected 0.100"),
    (["time", '"0,100"'], ", line 2: '0,100' is not a number: it has a decimal comma; expected 0.100"),
    (["time", "0,100"], ", line 2: 2 cells where line 1 has 1 column; is 0,100 a number with a decimal comma?"),
    (["time,x", "0,100,a"], ", line 2: 3 cells where line 1 has 2 columns; is 0,100 a number with a decimal comma?"),
    (["0,100", "0,200"], ", line 1: 2 columns without a header, 0, 100: say column=1 to column=2, or write 0.100"),
    (["time\tx", "0,100\ta"], ", line 2: '0,100' is not a number: it has a decimal comma"),
    (["time;x", "1"], ", line 2: 1 cell where line 1 has 2 columns"),
    (["a,time", "1,2", "3"], ", line 3: 1 cell where line 1 has 2 columns"),
    (["counts", 3, '""', 4], ", line 3: '' is not a number"),
    (["time", '" "', 4, ""], ", line 2: '' is not a number"),
    (['""', 4], ", line 1: '' is not a number"),
    (["a,time", '""', "1,2"], ", line 2: 1 cell where line 1 has 2 columns"),
    (["a,time", "1,"], ", line 2: '' is not a number"),
    (["\ufefft", "", "# c", 1, "x"], ", line 5: 'x' is not a number"),
    (["# it's \"quoted", '#,"a', "id,time", "a,1", "b,x"], ", line 5: 'x' is not a number"),
    (["id,time", '"two', "", '# lines",1', '"a', 'b",x'], ", line 5: 'x' is not a number"),
    (["id,time", '"a,1', "b,2"], ", line 2: the quotes of this row are damaged or do not end"),
    (["time", "1", '"2"3'], ", line 3: the quotes of this row are damaged or do not end"),
    (["time", "1", "2" + " " * 2**20], ", line 3: longer than 1,048,576 characters"),
    (["t", "2023-11-16 18:15:46", "5"], ", line 3: '5' is not a date-time; expected one such as"),
    (["t", "5", "2023-11-16 18:15:46"], ", line 3: '2023-11-16 18:15:46' is not a number (a date-time among numbers)"),
    (
        ["t", "2023-11-16 18:15:46", "2023-11-16 18:15:47Z"],
        ", line 3: '2023-11-16 18:15:47Z' has a time zone; expected no",
    ),
    (["t", "2023-02-29 18:15:46"], ", line 2: '2023-02-29 18:15:46' is not a date-time"),
    (["t", "2023-02-28 24:15:46"], ", line 2: '2023-02-28 24:15:46' is not a date-time"),
    (["t", "2023-02-28 23:15:46,5"], "2 cells where line 1 has 1 column"),
    (
        ['{"timestamp": 1}', "", '{"timestamp": 1'],
        ", line 3: '{\"timestamp\": 1' is not a JSON object; expected one on",
    ),
    (['{"timestamp": 1}', '{"time": 1}'], ", line 2: no 'timestamp'; expected one in every object"),
    (['{"timestamp": 1}', '{"timestamp": [1]}'], ", line 2: '[...]' is not a number"),
    (['{"timestamp": NaN}'], ", line 1: 'NaN' is not a finite number"),
    (['{"timestamp": 1}', "[" * 10_000], ", line 2: '[[[["),
    (['[{"timestamp": 1}]'], " begins with '[': a JSON array is not read, only JSON lines, an object per line"),
    (["{}"], ", line 1: an object without keys; expected a timestamp"),
    (['{"a": 1, "b": 2}'], ", line 1: no name tells which column holds the arrivals: a, b; say column=NAME"),
    (['{"a": 1, "a\\n\\ud800": 2}'], "holds the arrivals: a, a\\n\\ud800; say column=NAME"),
    (["intervals", 1e9], ", line 2: 1000000000.0 seconds are more than three years; expected another unit"),
    (["t", "1." + "0" * 99, "0." + "1" * 99], ", line 3: 0.11111111111111111111111111111111111... is earlier than"),
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("lines", "says"), LINES)
def test_a_bad_trace_is_refused_with_its_line_whatever_ends_lines(lines, says, end, trace):
    assert says in refusal(trace(*lines, end=end))


def test_a_file_that_is_no_text_or_is_not_there_is_refused(tmp_path):
    for name, content, says in [
        ("empty.csv", b"", "FILE is empty"),
        ("blank.csv", b"\n# nothing\n\n,,\n", "FILE is empty"),
        ("photo.csv", b"\xff\xd8\xff\x00\n" * 9, "FILE is not a text file"),
        ("late.csv", b"1\n" * 100_000 + b"\xff", "FILE is not a text file"),
        ("wide.csv", "timestamp\n1\n".encode("utf-16"), "FILE is not a text file"),
        ("zeros.csv", b"1\n\0\0\n", "FILE is not a text file"),
    ]:
        (tmp_path / name).write_bytes(content)
        assert refusal(f"trace:file={tmp_path / name}").startswith(says)
    assert refusal(f"trace:file={tmp_path / 'none.csv'}") == "cannot read FILE: No such file or directory"
    assert refusal(f"trace:file={tmp_path}") == "cannot read FILE: Is a directory"
    with pytest.raises(ValueError, match="cannot be written in a specification"):
        Trace("a,b.csv")


def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/null", "/dev/stdin", "/dev/fd/0"):
        assert refusal(f"trace:file={path}") == "FILE is no regular file; save it first"
    (tmp_path / "trace.csv").write_text("1\n2\n\n \n\n")
    (tmp_path / "good").symlink_to(tmp_path / "trace.csv")
    assert drawn(f"trace:file={tmp_path / 'good'}").tolist() == [1, 2]
    with (tmp_path / "trace.csv").open() as file:
        assert "is no regular file" in refusal(f"trace:file=/dev/fd/{file.fileno()}")


def test_a_note_says_how_the_trace_was_read_and_how_much_of_it_is_used(trace):
    file = trace("timestamp;model", "1700000000000;a", "1700000000250;a", "1700000090000;a")
    note = parse(file).schedule(60, 1).note
    assert note.endswith(
        "trace.csv: column 'timestamp', milliseconds since 1970 (recognised by their size; unit= says otherwise), "
        "counted from the first, 2023-11-14 22:13:20+00:00, on, separated by semicolons; 3 arrivals from 0 to 90 s; "
        "2 arrivals from its 0 to 60 s"
    )
    assert parse(file + ",skip=30,scale=0.5").schedule(60, 1).note.endswith("1 arrival from its 30 to 150 s")
    assert "8 arrivals in 2 minutes" in parse(trace("counts", 3, 5)).schedule(60, 1).note
    assert parse("poisson:rate=5").schedule(60, 1).note == ""


def test_a_long_trace_takes_the_memory_of_its_numbers(tmp_path):
    n = 100_000
    (tmp_path / "long.csv").write_text(
        "id,timestamp,model\n" + "".join(f"{i},{1.7e9 + i / 8:.3f},gpt\n" for i in range(n))
    )
    tracemalloc.start()
    values = traces.read(tmp_path / "long.csv").values
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(values) == n and values[-1] == (n - 1) / 8
    assert peak < 3 * 8 * n + 2_000_000  # a Python list of texts would take ten times as much


def test_more_rows_than_a_schedule_may_hold_are_refused(trace, monkeypatch):
    monkeypatch.setattr(traces.cells, "LIMIT", 3)
    assert len(drawn(trace(1, 2, 3))) == 3
    assert "line 4: more than 3 rows; cut the file" in refusal(trace(1, 2, 3, 4))


def look(*arguments, cwd) -> tuple[int, str]:
    done = forks.run("crossover", "arrivals", *arguments, "--no-plot", cwd=cwd)
    return done.returncode, done.stdout + done.stderr


def test_a_trace_without_an_arrival_in_the_run_says_why_in_one_line(trace, tmp_path):
    code, output = look(trace(100.5, 150), "--seconds", 60, cwd=tmp_path)
    assert code == 2 and len(output.splitlines()) == 1
    assert "none within 60 s" in output
    assert "2 arrivals from 100.5 to 150 s; 0 arrivals from its 0 to 60 s" in output


def test_looking_at_a_trace_prints_how_it_was_read_and_refuses_in_one_line(trace, tmp_path):
    code, output = look(trace(*LAYOUTS["mooncake"][0]), cwd=tmp_path)
    assert code == 0 and "kind=mooncake, recognised by its columns" in output.splitlines()[-1]
    code, output = look(trace("a,b", "1,2"), cwd=tmp_path)
    assert code == 2 and len(output.splitlines()) == 1 and "line 1: no name tells" in output


DOCUMENT = (ROOT / "docs" / "traces.md").read_text()


def test_every_command_of_the_document_prints_what_stands_below_it(tmp_path):
    for name, content in re.findall(r"```\w+ (\S+)\n(.*?)```", DOCUMENT, re.S):
        (tmp_path / name).write_text(content)
    examples = re.findall(r"```sh\n(.*?)\n```\n+```text\n(.*?)\n```", DOCUMENT, re.S)
    assert len(examples) == DOCUMENT.count("```sh") >= 8
    for command, output in examples:
        program, *arguments = command.split()
        assert program == "crossover"
        done = forks.run(program, *arguments, cwd=tmp_path)
        assert output in done.stdout + done.stderr, command
        assert done.returncode == (2 if done.stderr else 0), command
    for kind in traces.KINDS:
        assert f"kind={kind}" in DOCUMENT
    for kind in traces.layouts.LAYOUTS:
        assert f",kind={kind}" in (ROOT / "docs" / "arrivals.md").read_text()
