"""The quick table of load against latency, on the real server, and what it says of few requests or high rates."""

import json
import re

import pytest

from crossover.experiments.load import result
from crossover.report.kind import BROKEN, GOOD, MEASUREMENT
from tests.commands import again, goes_on, interrupted, only, run, says_that_no_server_answers, start


@pytest.fixture(scope="module")
def table(server, tmp_path_factory):
    """(exit code, output, directory) of one arm at three rates."""
    reports = tmp_path_factory.mktemp("reports")
    at = ["--url", server.url, "--state", server.state, "--reports", reports]
    code, output = run("load", "image", "--rate", "8,4,16", "--seconds", 12, *at)
    return code, output, only(reports)


def test_a_row_for_each_rate_has_throughput_latency_and_cpu(table):
    code, output, directory = table
    assert code in (GOOD, MEASUREMENT), output  # a machine that was too busy to measure on
    rows = json.loads((directory / "load.json").read_text())["workloads"]["image"]["rows"]
    assert [row["offered"] for row in rows] == pytest.approx([4, 8, 16], rel=0.15)
    for row in rows:
        assert row["placement"] == "server" and row["errors"] == 0
        assert row["p50"] <= row["p95"] <= row["p99"] and row["server_cpu_ms"] > 0 and row["client_cpu_ms"] > 0
    assert "samples, load.json and report.html: " in output and "Traceback" not in output
    assert re.search(r"arm +rate/s +answered +p50 +p95 +p99 +errors +client CPU +server CPU", output)
    assert "--explain says more" in output


def test_no_percentile_is_vouched_for_that_has_too_few_requests(table):
    _, output, directory = table
    rows = json.loads((directory / "load.json").read_text())["workloads"]["image"]["rows"]
    assert all(row["answers"] < 459 for row in rows)
    lines = [line for line in output.splitlines() if line.startswith("server   ")]
    assert len(lines) == 3 and all(re.search(r"\(\d+(\.\d+)?\) +0 ", line) for line in lines)


def test_its_page_and_figures_can_be_made_again(table, monkeypatch, capsys):
    *_, directory = table
    before = (directory / "load.json").read_text()
    code, printed, errors = again(monkeypatch, capsys, directory)
    assert code == table[0] and "rate/s" in printed, errors
    assert (directory / "load.json").read_text() == before
    assert "How fast is it at which load?" in (directory / "report.html").read_text()


def test_an_interrupted_table_goes_on_with_its_own_rates(server, tmp_path):
    at = ["--url", server.url, "--state", server.state, "--reports", tmp_path]
    process = start("load", "image", "--rate", "4,8", "--seconds", 10, *at)
    interrupted(process, lambda: list(tmp_path.glob("*/*/*/round-01.json")), after=0.5)
    directory = only(tmp_path)
    goes_on("load", directory)
    rows = json.loads((directory / "load.json").read_text())["workloads"]["image"]["rows"]
    assert len(rows) == 2


def test_a_library_that_loses_something_is_said_to_in_text_and_page(server, tmp_path):
    at = ["--url", server.url, "--state", server.state, "--reports", tmp_path, "--arms", "client"]
    code, output = run("load", "image", "--library", "opencv", "--rate", 4, "--seconds", 3, *at)
    assert code in (GOOD, MEASUREMENT), output
    assert "image client loses something: decoded and resized by OpenCV, " in output
    page = (only(tmp_path) / "report.html").read_text()
    assert "<dt>image client</dt><dd>loses something: decoded and resized by OpenCV, whose filter" in page
    assert "up to 2.6 of 255 grey levels from the rule in mean" in page


def test_without_a_server_it_says_so_in_one_line(tmp_path):
    says_that_no_server_answers("load", "image", "--reports", tmp_path)


def row(offered: float, answered: float, answers: int = 1000, errors: int = 0, **more) -> dict:
    figures = {"arm": "image server async:1", "placement": "server", "offered": offered, "answered": answered}
    figures |= {"p50": 10.0, "p95": 20.0, "p99": 30.0, "answers": answers, "errors": errors}
    figures |= {"outcomes": {"rejected": errors, "failed": 0}, "reasons": {}}
    return {**figures, "client_cpu_ms": 1.0, "server_cpu_ms": None, "complete": True, "findings": [], **more}


NO_LIMIT = "that is the highest rate of this run, and its limit lies above (`crossover capacity` finds it)."


def table_of(*rows: dict) -> dict:
    return {"workloads": {"image": {"rows": list(rows)}}}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ((row(4, 4), row(8, 7.9)), f"kept up with 8/s: p50 10.0, p95 20.0, p99 30.0 ms of 1000 requests; {NO_LIMIT}"),
        ((row(4, 4, 60),), f"server kept up with 4/s: p50 10.0, p95 (20.0), p99 (30.0) ms of 60 requests; {NO_LIMIT}"),
        ((row(4, 4), row(8, 5)), "kept up with 4/s: p50 10.0, p95 20.0, p99 30.0 ms of 1000 requests; not with 8/s."),
        ((row(4, 4), row(8, 7.9, errors=3)), "requests; not with 8/s."),
        ((row(4, 2),), "image server kept up with none of these rates."),
        (
            (row(1630, 1629), row(3215, 1700)),
            "kept up with 1630/s: p50 10.0, p95 20.0, p99 30.0 ms of 1000 requests; not with 3215/s.",
        ),
    ],
)
def test_the_verdict_is_the_highest_rate_that_it_kept_up_with(rows, says):
    [sentence] = result.KIND.verdicts(table_of(*rows))
    assert sentence.endswith(says)


def test_what_has_no_good_answer_is_said_with_its_reason_in_text_and_page():
    lost = row(8, 5, errors=9, reasons={"503 the queue\nis full": 8, "a": 1, "b": 1, "c": 1})
    found = table_of(row(4, 4), lost, row(9, 5, errors=2))
    lines = result.text(found).splitlines()
    assert "server at 8/s: 9 rejected: 503 the queue is full (8); a (1); b (1)" in lines
    assert "server at 9/s: 2 rejected" in lines and not any(line.startswith("server at 4/s") for line in lines)
    [section] = result.sections({}, found, ())
    assert "server at 8/s: 9 rejected: 503 the queue is full (8); a (1); b (1)" in section.body


def test_a_load_beyond_the_capacity_is_a_result_and_one_that_nothing_carries_is_none():
    assert result.exit_code(table_of(row(4, 4), row(8, 5, errors=9)), ()) == GOOD
    assert result.exit_code(table_of(row(4, 2)), ()) == BROKEN
    assert result.exit_code(table_of(row(4, 4), row(8, 5, errors=9, outcomes={"failed": 9})), ()) == BROKEN
    slow = [{"rule": "hub stall", "measured": "", "limit": "", "change": ""}]
    assert result.exit_code(table_of(row(4, 4, findings=slow)), ()) == MEASUREMENT
    text = result.text(table_of(row(4, 4, findings=[*slow, *slow])))
    assert " 4! " in text and "kept up with 4/s in a trial that broke a rule (hub stall): p50 10.0" in text


def test_what_the_columns_mean_is_explained_where_it_is_asked_for():
    assert "(p99): of fewer than 459 answers" in result.text(table_of(row(4, 4)), explain=True)
    short = result.text(table_of(row(4, 4)))
    assert len(short.splitlines()) < 10
    assert "( ): too few answers for it (p95 takes 90, p99 459); --explain" in short
