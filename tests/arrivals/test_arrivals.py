"""Laws of the schedules: what was promised is what is offered. test_arrivals_fit.py tests whole distributions."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import arrivals
from arrivals import (
    EXAMPLES,
    Closed,
    Constant,
    Gamma,
    Poisson,
    Ramp,
    Trace,
    Uniform,
    Video,
    checks,
    parse,
    traces,
)
from crossover.report import schedule
from tests.conftest import ROOT

N_SECONDS = 2000  # at 20/s: 40,000 arrivals
OPEN = [spec for cls, spec in EXAMPLES.items() if cls not in (Trace, Closed)]
LONG = {"onoff": 40_000, "mmpp": 40_000, "pareto": 40_000}  # seconds until the mean rate has settled


def drawn(spec: str, seconds: float = N_SECONDS, seed: int = 7) -> np.ndarray:
    return parse(spec).schedule(seconds, seed).times


@pytest.mark.parametrize(
    ("spec", "mean", "cv"),
    [
        ("constant:rate=20", 1 / 20, 0),
        ("poisson:rate=20", 1 / 20, 1),
        ("uniform:min=0.02,max=0.08", 0.05, (0.06 / 12**0.5) / 0.05),
        ("gamma:rate=20,cv=0.5", 1 / 20, 0.5),
        ("gamma:rate=20,cv=0", 1 / 20, 0),
        ("gamma:rate=20,smoothness=100", 1 / 20, 0.1),
        ("pareto:rate=20,alpha=8", 1 / 20, (8 * 6) ** -0.5),
        ("video:cameras=4,fps=5,phase=staggered", 1 / 20, 0),
        ("video:cameras=64,fps=0.3125,phase=synchronised", 1 / 20, 63**0.5),
    ],
)
def test_gaps_have_the_promised_mean_and_burstiness(spec, mean, cv):
    gaps = np.diff(drawn(spec))
    # four standard errors of the mean and of the cv at n = 40,000
    assert gaps.mean() == pytest.approx(mean, abs=4 * cv * mean / len(gaps) ** 0.5 + 1e-9)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, abs=4 / len(gaps) ** 0.5)


@pytest.mark.parametrize(
    ("spec", "mean"),
    [
        ("onoff:on_rate=100,on=1,off=4", 20),
        ("onoff:on_rate=100,on=1,off=4,off_rate=5", 24),
        ("mmpp:rates=5/50/200,durations=10/2/0.5", 250 / 12.5),
        ("pareto:rate=20,alpha=2.5", 20),
        ("ramp:from=0,to=40,over=2000", 20),
        ("ramp:from=40,to=0,over=2000", 20),
        ("step:rates=5/35,every=1000", 20),
        ("spike:rate=10,peak=30,at=500,lasts=1000", 20),
        ("sine:rate=20,amplitude=1,period=100", 20),
        ("video:cameras=16,fps=30", 480),
    ],
)
def test_the_mean_rate_is_as_promised(spec, mean):
    seconds = LONG.get(spec.partition(":")[0], N_SECONDS)
    assert parse(spec).schedule(seconds, 7).rate == pytest.approx(mean, rel=0.04)


def test_the_rate_follows_its_plan_and_stays_at_its_last_value():
    counts = np.bincount(drawn("spike:rate=100,peak=1000,at=10,lasts=5", 100).astype(int), minlength=100)
    assert counts[:10].mean() == pytest.approx(100, rel=0.15)
    assert counts[10:15].mean() == pytest.approx(1000, rel=0.1)
    assert counts[15:].mean() == pytest.approx(100, rel=0.05)
    assert np.histogram(drawn("ramp:from=0,to=100,over=10", 1000), [0, 10, 1000])[0] / [10, 990] == pytest.approx(
        [50, 100], rel=0.15
    )
    assert np.histogram(drawn("step:rates=0/100/0,every=10", 1000), [0, 10, 20, 1000])[0][[0, 2]].tolist() == [0, 0]


@pytest.mark.parametrize(("rate", "seconds"), [(10, 2), (5, 2), (3, 10), (7, 1), (0.5, 4), (0.3, 10), (1000, 3.3)])
@pytest.mark.parametrize("spec", ["constant:rate={}", "video:cameras=1,fps={},phase=synchronised"])
def test_constant_offers_rate_times_seconds_arrivals(spec, rate, seconds):
    times = drawn(spec.format(rate), seconds)
    assert len(times) == max(1, np.ceil(round(rate * seconds, 6)))
    assert times[0] == 0
    assert times[-1] < seconds


def test_uniform_gaps_stay_within_their_bounds():
    gaps = np.diff(drawn("uniform:min=0.02,max=0.08"))
    assert gaps.min() >= 0.02 - 1e-9
    assert gaps.max() <= 0.08 + 1e-9


def test_jitter_only_delays_and_no_frame_overtakes_the_one_before():
    late = drawn("video:cameras=1,fps=50,phase=synchronised,jitter=0.02", 200) - np.arange(10_000) / 50
    assert late.min() >= 0
    assert late.max() < 0.02


@pytest.mark.parametrize("spec", [*OPEN, "sine:rate=300,amplitude=1,period=7", "gamma:rate=20,cv=10"])
@pytest.mark.parametrize("shorter", [30, 47.11])
def test_a_longer_run_begins_like_a_shorter_one(spec, shorter):
    short, long = drawn(spec, shorter, 5), drawn(spec, 2400, 5)
    assert np.array_equal(long[: len(short)], short)
    assert long[len(short)] >= shorter


@pytest.mark.parametrize("spec", [spec for spec in OPEN if not spec.startswith("constant")])
def test_the_seed_alone_decides_the_schedule(spec):
    process = parse(spec)
    assert np.array_equal(process.schedule(60, 1).times, process.schedule(60, 1).times)
    assert process.schedule(60, 1).digest != process.schedule(60, 2).digest


@pytest.mark.parametrize(
    ("spec", "first", "seventh"),
    [
        ("constant:rate=20", "e3fdd6912189", "e3fdd6912189"),
        ("uniform:min=0.02,max=0.08", "ab7f9de4bfab", "29daa1889b3c"),
        ("poisson:rate=20", "86e6f8689db8", "4ddec4850088"),
        ("gamma:rate=20,cv=3", "097af3e45bf7", "f86e4b1556f9"),
        ("pareto:rate=20,alpha=1.5", "deeaaefda6db", "95318053444d"),
        ("onoff:on_rate=100,on=1,off=4", "bbb66efcce89", "144ffafaec41"),
        ("mmpp:rates=5/50/200,durations=10/2/0.5", "38c194a4c487", "9186bfd45054"),
        ("ramp:from=5,to=50,over=60", "69811c9287af", "2a27e2b98245"),
        ("step:rates=5/10/20/40,every=15", "25131980a530", "c891dfa22fbc"),
        ("spike:rate=10,peak=100,at=20,lasts=5", "7d2492f5a358", "e19f761070a3"),
        ("sine:rate=20,amplitude=0.8,period=30", "f5bda7a3d2a3", "ef6afe8e1eaa"),
        ("video:cameras=16,fps=30,phase=random,jitter=0.005", "f32ab020a292", "8c365d5e463a"),
        ("video:cameras=4,fps=25,phase=staggered", "5365c999b96a", "5365c999b96a"),
    ],
)
def test_a_schedule_stays_the_same_from_one_version_to_the_next(spec, first, seventh):
    process = parse(spec)
    assert (process.schedule(60, 1).digest, process.schedule(60, 7).digest) == (first, seventh)


@pytest.mark.parametrize("spec", OPEN)
def test_due_times_ascend_and_lie_within_the_run(spec):
    times = drawn(spec, 60)
    assert times.dtype == np.float64
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < 60


@pytest.mark.parametrize(
    "process",
    [
        *map(parse, EXAMPLES.values()),
        Constant(20),
        Uniform(0.02, 0.08),
        Poisson(0.123456789),
        Gamma(1 / 3, 1e-9),
        Ramp(1 / 3, 2e7, 1e-9),
        Video(64, 29.97, "staggered", 1 / 60),
        Trace("a=b/c d.csv", "counts", "per minute", 0.1),
    ],
    ids=str,
)
def test_a_process_writes_itself_as_a_spec_that_reads_back(process):
    assert parse(str(process)) == process
    assert str(parse(str(process))) == str(process)


def test_positional_and_named_values_mean_the_same():
    assert parse("uniform:0.02,0.08") == parse("uniform:max=0.08,min=0.02") == Uniform(0.02, 0.08)
    assert parse("video:16,30,staggered") == parse("video:phase=staggered,fps=30,cameras=16")


def test_burstiness_and_smoothness_are_the_shape_of_gamma():
    assert parse("gamma:rate=20,burstiness=0.25") == parse("gamma:20,smoothness=0.25") == Gamma(20, 2)
    assert parse("gamma:rate=20,burstiness=inf") == Gamma(20, 0)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("gama:rate=50", "try one of constant, uniform, poisson, .* e.g. gamma:rate=20,cv=3"),
        ("", "try one of constant, uniform, poisson"),
        ("poisson", "rate is missing"),
        ("poisson:rate=-1", "rate must be a positive number"),
        ("poisson:rate=nan", "rate must be a positive number"),
        ("poisson:rate=inf", "rate must be a positive number"),
        ("poisson:rate=fast", "rate must be a number"),
        ("poisson:speed=3", "'speed=3' means nothing here"),
        ("poisson:1,2", "'2' means nothing here, poisson takes rate"),
        ("poisson:rate=1,rate=2", "given twice"),
        ("uniform:min=3,max=1", "min must lie between 0 and 1, not 3"),
        ("uniform:0,0", "max must be a positive number"),
        ("gamma:20,-1", "cv must lie between 0 and 1000"),
        ("gamma:20,nan", "cv must lie between 0 and 1000"),
        ("gamma:20,burstiness=0", "a shape between 1e-6 and infinity"),
        ("gamma:rate=20,burstiness=1,cv=1", "cv is given twice: burstiness and smoothness mean it too"),
        ("gamma:rate=20,burstiness=1,smoothness=1", "cv is given twice: burstiness and smoothness mean it too"),
        ("pareto:20,1", "alpha must be above 1"),
        ("onoff:on_rate=0,on=1,off=1", "on_rate and off_rate must not all be zero"),
        ("onoff:on_rate=5,on=0,off=1", "on must be a positive number"),
        ("mmpp:rates=0/0,durations=1/1", "rates must not all be zero"),
        ("mmpp:rates=1/2,durations=1", "rates and durations must be equally many"),
        ("mmpp:rates=1/-2,durations=1/1", "rates must be zero or more, not -2"),
        ("mmpp:rates=1//2,durations=1/1", "rates must be a number, not ''"),
        ("mmpp:rates=1/2,durations=1/0", "durations must be a positive number"),
        ("ramp:0,0,10", "from and to must not all be zero"),
        ("ramp:-1,5,10", "from must be zero or more"),
        ("ramp:1,5,0", "over must be a positive number"),
        ("step:rates=0/0,every=5", "rates must not all be zero"),
        ("spike:0,0,1,1", "rate and peak must not all be zero"),
        ("spike:1,2,-1,1", "at must be zero or more"),
        ("sine:20,1.1,10", "amplitude must lie between 0 and 1"),
        ("video:0,30", "cameras must lie between 1 and"),
        ("video:1.5,30", "cameras must be a whole number, not '1.5'"),
        ("video:4,30,sideways", "phase must be one of random, staggered, synchronised, not 'sideways'"),
        ("video:4,30,jitter=0.05", "jitter must lie between 0 and 0.0333"),
        ("trace", "file is missing"),
        ("trace:file=", "file is missing"),
        ("trace:file=a,b.csv", "kind must be one of timestamps, intervals, counts, .*, not 'b.csv'"),
        ("trace:file=a.csv,unit=minutes", "unit must be one of s, ms, us, ns, not 'minutes'"),
        ("trace:file=a.csv,scale=0", "scale must be a positive number"),
        ("closed:0", "users must lie between 1 and"),
        ("closed:1,-1", "think must be zero or more"),
    ],
)
def test_a_bad_spec_names_the_good_ones_with_an_example(spec, says):
    with pytest.raises(ValueError, match=says) as error:
        parse(spec)
    assert "e.g. " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("seconds", "seed", "says"), [(0, 1, "seconds"), (-3, 1, "seconds"), (10, -1, "seed")])
def test_a_length_or_a_seed_that_cannot_be_is_refused(seconds, seed, says):
    with pytest.raises(ValueError, match=f"{says} must"):
        parse("poisson:rate=5").schedule(seconds, seed)


@pytest.mark.parametrize(
    "spec",
    [
        "constant:1e300",
        "poisson:1e9",
        "uniform:0,1e-300",
        "gamma:1e9,0",
        "mmpp:rates=0/1,durations=1e-9/1e-9",
        "ramp:0,1e9,1",
        "sine:1e9,1,1",
        "video:100000,1e4",
    ],
)
def test_a_schedule_too_large_for_memory_is_refused(spec, monkeypatch):
    monkeypatch.setattr(checks, "LIMIT", 1_000_000)
    with pytest.raises(ValueError, match="more than 1,000,000 arrivals; lower the rate or shorten the run"):
        parse(spec).schedule(60, 1)


def test_closed_users_have_no_schedule():
    process = parse("closed:users=8,think=0.5")
    assert isinstance(process, arrivals.Closed)
    assert (process.users, process.think) == (8, 0.5)
    with pytest.raises(ValueError, match="no schedule: when a user asks again depends on the answers"):
        process.schedule(60, 1)


@pytest.mark.parametrize("spec", OPEN)
def test_a_saved_schedule_replays_bit_for_bit(spec, tmp_path):
    ours = parse(spec).schedule(30, 3)
    traces.save(ours, tmp_path / "saved.csv")
    again = parse(f"trace:file={tmp_path / 'saved.csv'}").schedule(30, 99)
    assert np.array_equal(again.times, ours.times)
    assert again.digest == ours.digest


def test_numbers_that_describe_a_schedule():
    assert schedule.cv(np.array([1.0, 3.0])) == 0.5
    assert schedule.lag1(np.array([1.0, 2.0] * 10)) == pytest.approx(-1)
    assert schedule.dispersion(np.arange(100) / 10, 10, 0.1) == 0  # each on the edge of its window
    assert schedule.dispersion(np.repeat(np.arange(10), 7), 10, 0.5) == pytest.approx(3.5 * 20 / 19)
    nothing = np.array([])
    assert np.isnan([schedule.cv(nothing), schedule.lag1(np.ones(50)), schedule.dispersion(nothing, 9, 0.1)]).all()


def look(*arguments, cwd) -> tuple[int, str]:
    command = [sys.executable, "-m", "crossover", "arrivals", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_a_schedule_can_be_looked_at_saved_and_replayed(tmp_path):
    code, output = look("gamma:20,3", "--seconds", 60, "--seed", 2, "--save", "saved.csv", cwd=tmp_path)
    assert code == 0, output
    drawing = tmp_path / "reports/arrivals/gamma-rate-20-cv-3-60s-seed2.png"
    assert drawing.read_bytes().startswith(b"\x89PNG")
    digest = parse("gamma:20,3").schedule(60, 2).digest
    for part in (f"schedule {digest}", "arrivals in 60 s", "gaps: cv", "lag-1 autocorrelation", "index of dispersion"):
        assert part in output
    code, output = look("trace:file=saved.csv", "--no-plot", cwd=tmp_path)
    assert (code, f"schedule {digest}" in output, "drawn" in output) == (0, True, False), output


def test_a_reader_that_has_gone_is_no_error(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-u", "-m", "crossover", "arrivals", "poisson:20", "--no-plot", "--save", "saved.csv"]
    env = {"PYTHONPATH": str(ROOT)}
    with os.fdopen(writer, "wb") as out:
        done = subprocess.run(command, cwd=tmp_path, env=env, stdout=out, stderr=subprocess.PIPE, text=True, timeout=99)
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / "saved.csv").stat().st_size


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gama:20"], "unknown arrivals 'gama:20'; try one of"),
        (["poisson:20", "--seconds", "-1"], "seconds must be a positive number"),
        (["closed:8"], "have no schedule"),
        (["trace:file=none.csv"], "cannot read none.csv: No such file or directory"),
        (["poisson:20", "--save", "taken/saved.csv"], "cannot write taken: File exists"),
        (["poisson:20", "--plot", "taken/drawn.png"], "cannot write taken: File exists"),
        (["poisson:20", "--plot", "drawn.xyz"], "xyz"),
        (["poisson:20", "--plot", "drawn.png", "--no-plot"], "leave one out"),
        (["poisson:20", "--seed", "-1"], "seed"),
        ([], "missing argument 'SPEC'"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line_and_exit_code_2(arguments, says, tmp_path):
    (tmp_path / "taken").touch()
    code, output = look(*arguments, cwd=tmp_path)
    assert code == 2
    [line] = output.splitlines()
    assert line.startswith("crossover arrivals: ") and says in line


def test_the_figures_of_a_schedule_can_be_had_as_json_and_then_nothing_is_drawn(tmp_path):
    code, output = look("poisson:20", "--seconds", 60, "--json", cwd=tmp_path)
    figures = json.loads(output)
    assert (code, figures["arrivals"]) == (0, "poisson:rate=20")
    assert figures["count"] == len(parse("poisson:20").schedule(60, 1))
    assert 0.5 < figures["cv"] < 1.5 and len(figures["dispersion"]) == 3
    assert not list(tmp_path.iterdir())
    code, output = look("constant:rate=0.5", "--seconds", 4, "--json", cwd=tmp_path)
    assert code == 0 and set(json.loads(output)["dispersion"].values()) == {None}


@pytest.mark.parametrize("spec", [*OPEN, "constant:rate=0.01", "video:cameras=9,fps=1,phase=synchronised"])
@pytest.mark.parametrize("seconds", [0.5, 60])
def test_every_schedule_can_be_drawn_also_one_without_arrivals(spec, seconds, tmp_path):
    plan = parse(spec).schedule(seconds, 1)
    assert f"\n{len(plan)} arrival{'s' * (len(plan) != 1)} in " in schedule.describe(plan)
    schedule.draw(plan, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 10_000
