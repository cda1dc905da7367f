"""Laws of what is printed: tables that fit, colours only where a terminal shows them, arms by what tells them apart."""

import sys
from dataclasses import replace

import pytest

from crossover.analysis.verdict import Comparison
from crossover.experiments.capacity import tables as capacity
from crossover.experiments.catalogue import EXPERIMENTS
from crossover.experiments.compare import tables
from crossover.experiments.compare.tables import comparison_table
from crossover.experiments.load import result as load
from crossover.experiments.placements import result as placements
from crossover.report.format import P95_NEEDS, bracketed, label_arms, ms, stage_time
from crossover.report.terminal import Column, colour, draw_table
from tests.trials_on_disk import optional

COLUMNS = (
    Column("arm", left=True),
    Column("p50"),
    Column("a wide column that can be spared", rank=1),
    Column("another", rank=2),
    Column("verdict", left=True, wraps=True),
)
ROWS = [
    ["client", "1.2", "x" * 30, "1", "undecided: too few rounds for an interval"],
    ["server [b]", "91.23", "y", "22", "better"],
]


@pytest.fixture
def width(monkeypatch):
    return lambda columns: monkeypatch.setenv("COLUMNS", str(columns))


def test_numbers_end_at_one_place_and_texts_begin_at_one(width):
    width(200)
    head, *rows = draw_table(COLUMNS, ROWS).splitlines()
    assert {row.index(cell) + len(cell) for row, cell in zip(rows, ("1.2", "91.23"), strict=True)} == {
        head.index("p50") + 3
    }
    assert all(row[head.index("verdict") - 1] == " " != row[head.index("verdict")] for row in rows)
    assert "server [b]" in rows[1], "brackets are no markup"


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_a_table_is_never_wider_than_the_terminal(width, columns):
    width(columns)
    assert max(map(len, draw_table(COLUMNS, ROWS).splitlines()[:-1])) <= columns


def test_columns_that_do_not_fit_are_left_out_by_their_rank_and_named(width):
    width(80)
    assert draw_table(COLUMNS, ROWS).splitlines()[-1].startswith("(The report also has: another.)")
    width(40)
    drawn = draw_table(COLUMNS, ROWS)
    assert "xxx" not in drawn and "a wide column that can be spared, another.)" in drawn
    width(200)
    assert "The report" not in draw_table(COLUMNS, ROWS)


@pytest.mark.parametrize(
    ("kind", "verdict", "shown"),
    [
        ("undecided", "undecided: too few data for an interval", "undecided"),
        ("baseline", "client better: the other arm has none", "client better"),
        ("undecided", "overloaded: server", "overloaded: server"),
        ("equivalent", "equivalent within 5 %", "equivalent"),
    ],
)
def test_a_long_verdict_costs_a_comparison_neither_its_figures_nor_a_second_line(width, kind, verdict, shown):
    width(80)
    rows = [
        Comparison("latency at this load", "ms", 1234.5, 1834.5, 1.49, 20, False, 0.05, 0.96, ("client", "server")),
        Comparison("goodput", "answers/s within 1500 ms", 6.41, 6.38, 0.995, 20, True, 0.05, 0.96),
        Comparison("cost", "per million requests", 31.3, 10.3, 0.327, 20, False, 0.05, 0.96, low=0.308, high=0.346),
    ]
    head, *lines = comparison_table([replace(each, kind=kind, verdict=verdict) for each in rows]).splitlines()
    assert head.split() == ["client", "server", "server/client", "verdict"]
    assert lines[0].endswith(shown) and "1234" in lines[0] and "1834" in lines[0] and len(lines[0]) <= 80
    assert kind == "undecided" or lines[1].startswith("goodput, /s within 1500 ms  ")


def test_a_percentile_of_too_few_requests_is_in_brackets_which_the_legend_explains():
    assert [bracketed(20, 89, needs=P95_NEEDS), bracketed(20, 90, needs=P95_NEEDS)] == ["(20.0)", "20.0"]
    assert [bracketed(143, 458), bracketed(143, 459), bracketed(143, 459, valid=False)] == ["(143)", "143", "143!"]
    for legend in (tables.LEGEND, load.LEGEND):
        assert "( ): too few answers for it (p95 takes 90, p99 459)" in legend
    assert "( ): a p95 of fewer than 90 answers" in placements.LEGEND and "(p99): too few" in capacity.LEGEND
    for legend in (tables.LEGEND, load.LEGEND, placements.LEGEND, capacity.LEGEND):
        assert max(map(len, legend.splitlines())) <= 80


def test_a_long_cell_goes_on_within_its_column(width):
    width(50)
    head, *rows = draw_table(COLUMNS, ROWS).splitlines()
    assert rows[1].strip() and not rows[1][: head.index("verdict")].strip()


def test_output_without_a_terminal_has_eighty_columns_and_no_colour(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert not sys.stdout.isatty()
    assert max(map(len, draw_table(COLUMNS, ROWS).splitlines()[:-1])) <= 80
    assert colour("client INVALID, server better, 23!") == "client INVALID, server better, 23!"


def test_a_terminal_shows_invalid_in_red_unless_no_color_is_set(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = "client INVALID\nserver better, 23!"
    coloured = colour(text)
    assert "\x1b[1;31mINVALID\x1b[0m" in coloured and "\x1b[32mserver better\x1b[0m" in coloured
    assert "".join(part.partition("m")[2] for part in f"\x1bm{coloured}".split("\x1b")) == text, "words stay"
    monkeypatch.setenv("NO_COLOR", "1")
    assert colour(text) == text


@pytest.mark.parametrize("kind", list(optional()))
def test_a_legend_is_one_line_and_the_rest_follows_when_it_is_asked_for(kind):
    result, text = optional()[kind], EXPERIMENTS[kind].text
    *_, last = text(result).splitlines()
    assert last.endswith("; --explain says more.") and len(last) <= 80
    explained = text(result, explain=True)
    assert "--explain" not in explained and len(explained.splitlines()) > len(text(result).splitlines())


@pytest.mark.parametrize("kind", ["capacity", "study", "efficiency"])
def test_what_is_printed_has_tables_within_eighty_columns(kind, width):
    width(80)
    found, kind = optional()[kind], EXPERIMENTS[kind]
    # A sentence has any width.
    printed = [line for line in kind.text(found).splitlines() if line not in kind.verdicts(found)]
    assert printed and max(map(len, printed)) <= 80


@pytest.mark.parametrize(
    ("arms", "labels"),
    [
        (["image client async:1", "image server async:1"], ["client", "server"]),
        (["image client async:1", "image client async:1 again"], ["client", "client again"]),
        (["image client async:1", "image client sequential"], ["client async:1", "client sequential"]),
        (["image client async:1", "audio client async:1"], ["image client", "audio client"]),
        (["image client sequential"], ["client"]),
        (["before", "after"], ["before", "after"]),
        ([], []),
    ],
)
def test_an_arm_is_called_by_what_tells_it_apart(arms, labels):
    assert list(label_arms(arms).values()) == labels


def test_the_workload_stays_where_it_is_wanted():
    assert label_arms(["image client async:1"], workload=True) == {"image client async:1": "image client"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (float("nan"), "-"), (-7e-15, "0.00"), (0.157, "0.16"), (12.34, "12.3"), (1234.5, "1234")],
)
def test_milliseconds_of_noise_or_of_nothing_are_no_figures(value, shown):
    assert ms(value) == shown


def test_no_time_of_a_step_is_shown_below_zero():
    shown = [ms(stage_time(value)) for value in (None, -2.91, -0.0051, -0.0049, 0.0, 0.2)]
    assert shown == ["-", "-", "-", "0.00", "0.00", "0.20"]
