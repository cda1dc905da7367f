"""Traces: which column is read, of which kind and unit; what could mean two things is refused in one line."""

from pathlib import Path

import pytest

from arrivals import parse, traces
from tests.arrivals.trace_files import FUNCTIONS, drawn, refusal


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
