"""The mean unloaded latency, from which rate and SLO follow."""

import numpy as np
import pytest

from crossover.measurement.unloaded_latency import mean_of_medians


def test_one_request_that_stalls_does_not_move_the_mean():
    numbers = np.array([1, 0, 0, 1, 1, 0])
    times = np.where(numbers, 0.012, 0.008)
    assert mean_of_medians(times, numbers) == pytest.approx(0.010)
    times[2] = 0.079
    assert mean_of_medians(times, numbers) == pytest.approx(0.010)
