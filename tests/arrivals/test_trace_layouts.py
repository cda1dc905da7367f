"""Traces in public layouts: how they are read, recognised and spread over their clock's steps."""

import numpy as np
import pytest

from arrivals import parse
from tests.arrivals.trace_files import FUNCTIONS, LAYOUTS, drawn, refusal


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
