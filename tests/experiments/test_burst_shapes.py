"""Bursts of one mean load in many shapes: each offers just that load, with the scatter that it is named for."""

from functools import partial

import numpy as np
import pytest

from arrivals import Gamma, Poisson, Uniform, Video
from crossover.experiments.burst_shapes import bursts, exactly


@pytest.mark.parametrize(
    "make",
    [
        Poisson,
        *(partial(Gamma, cv=cv) for cv in (0, 1, 2, 4)),
        lambda rate: Uniform(0.5 / rate, 1.5 / rate),
        lambda rate: Video(16, rate / 16, "synchronised"),
        lambda rate: Video(16, rate / 16, "random"),
    ],
)
@pytest.mark.parametrize(("rate", "n"), [(0.7, 48), (33.3, 464), (150, 1600)])
def test_every_shape_offers_exactly_the_same_mean_load(make, rate, n):
    schedule = exactly(make, rate, n, seed=3)
    assert len(schedule) == n
    assert schedule.seconds == n / rate
    assert np.array_equal(schedule.times, exactly(make, rate, n, seed=3).times)


def test_a_schedule_can_be_made_again_from_what_a_trial_says_of_it():
    import arrivals

    schedule = exactly(Poisson, 7.3, 459, 5)
    again = arrivals.parse(schedule.spec).schedule(schedule.seconds, schedule.seed)
    assert again.digest == schedule.digest


def test_the_gaps_have_the_cv_that_the_table_says():
    for make, cv in bursts().values():
        gaps = np.diff(exactly(make, 10, 16_000, 2).times)
        assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.1, abs=0.02)


def test_synchronised_cameras_all_send_at_the_same_instant():
    make, _ = bursts()["video"]
    frames = exactly(make, 32, 160, 1).times.reshape(10, 16)
    assert np.ptp(frames, axis=1).max() == 0
    assert np.diff(frames[:, 0]) == pytest.approx(0.5, rel=1e-3)
