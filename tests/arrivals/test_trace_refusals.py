"""Traces: what is no trace is refused in one line that names the place; notes, memory and the document."""

import os
import re
import tracemalloc

import pytest

from arrivals import Trace, parse, traces
from tests import forks
from tests.arrivals.trace_files import LAYOUTS, drawn, refusal
from tests.conftest import ROOT

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
