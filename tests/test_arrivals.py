"""Laws of the schedules: what was promised is what is offered."""

import numpy as np
import pytest

from loadgen.arrivals import Constant, Poisson, Uniform, parse

N_SECONDS = 2000  # at 20/s: 40,000 arrivals


def gaps(spec: str, seed: int = 7) -> np.ndarray:
    return np.diff(parse(spec).schedule(N_SECONDS, seed).times)


@pytest.mark.parametrize(
    ("spec", "mean", "cv"),
    [
        ("constant:rate=20", 1 / 20, 0),
        ("poisson:rate=20", 1 / 20, 1),
        ("uniform:min=0.02,max=0.08", 0.05, (0.06 / 12**0.5) / 0.05),
    ],
)
def test_gaps_have_the_promised_mean_and_burstiness(spec, mean, cv):
    drawn = gaps(spec)
    # four standard errors of the mean and of the cv at n = 40,000
    assert drawn.mean() == pytest.approx(mean, abs=4 * cv * mean / len(drawn) ** 0.5 + 1e-9)
    assert drawn.std() / drawn.mean() == pytest.approx(cv, abs=4 / len(drawn) ** 0.5)


def test_poisson_counts_are_as_dispersed_as_their_mean():
    times = parse("poisson:rate=20").schedule(N_SECONDS, 3).times
    counts = np.bincount(times.astype(int), minlength=N_SECONDS)
    # the index of dispersion of n windows has standard error sqrt(2 / (n - 1))
    assert counts.var(ddof=1) / counts.mean() == pytest.approx(1, abs=4 * (2 / (N_SECONDS - 1)) ** 0.5)


@pytest.mark.parametrize(("rate", "seconds"), [(10, 2), (5, 2), (3, 10), (7, 1), (0.5, 4), (0.3, 10), (1000, 3.3)])
def test_constant_offers_rate_times_seconds_arrivals(rate, seconds):
    times = parse(f"constant:rate={rate}").schedule(seconds, 1).times
    assert len(times) == round(rate * seconds)
    assert times[0] == 0
    assert times[-1] < seconds


def test_uniform_gaps_stay_within_their_bounds():
    drawn = gaps("uniform:min=0.02,max=0.08")
    assert drawn.min() >= 0.02 - 1e-9
    assert drawn.max() <= 0.08 + 1e-9


@pytest.mark.parametrize("spec", ["poisson:rate=20", "uniform:min=0.02,max=0.08", "constant:rate=20"])
def test_a_longer_run_begins_like_a_shorter_one(spec):
    short, long = parse(spec).schedule(30, 5).times, parse(spec).schedule(600, 5).times
    assert np.array_equal(long[: len(short)], short)
    assert long[len(short)] >= 30


def test_the_seed_alone_decides_the_schedule():
    arrivals = parse("poisson:rate=20")
    assert arrivals.schedule(60, 1).digest == arrivals.schedule(60, 1).digest
    assert arrivals.schedule(60, 1).digest != arrivals.schedule(60, 2).digest


def test_due_times_ascend_and_lie_within_the_run():
    times = parse("poisson:rate=200").schedule(60, 1).times
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < 60


def test_a_process_writes_itself_as_a_spec_that_reads_back():
    for process in (Constant(20), Uniform(0.02, 0.08), Poisson(0.5)):
        assert parse(str(process)) == process


def test_positional_and_named_values_mean_the_same():
    assert parse("uniform:0.02,0.08") == parse("uniform:max=0.08,min=0.02") == Uniform(0.02, 0.08)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("gama:rate=50", "try one of constant, uniform, poisson"),
        ("", "try one of constant, uniform, poisson"),
        ("poisson", "rate is missing"),
        ("poisson:rate=-1", "rate must be a positive number"),
        ("poisson:rate=nan", "rate must be a positive number"),
        ("poisson:rate=inf", "rate must be a positive number"),
        ("poisson:rate=fast", "rate must be a number"),
        ("poisson:speed=3", "'speed=3' means nothing here"),
        ("poisson:1,2", "'2' means nothing here, poisson takes rate"),
        ("poisson:rate=1,rate=2", "given twice"),
        ("uniform:min=3,max=1", "min must lie between 0 and max"),
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
