"""What is swept: the points, how long each is measured, and the payloads that it is measured with."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

from crossover.experiments.sweep import grid
from crossover.experiments.sweep.grid import lengths, planned
from crossover.experiments.sweep.record import OWN
from crossover.experiments.sweep.run import SweepExperiment
from workloads import audio, catalogue, image

BOTH = catalogue.BUILT_IN
ARMS = dict.fromkeys(BOTH, ("client", "server"))


def test_trials_have_as_many_arrivals_at_every_point():
    found = lengths([50, 5], 2, 6, 200, 12, 1000)
    assert found[0] * 50 == pytest.approx(found[1] * 5, rel=0.01)
    assert sum(2 * 6 * (each + grid.OVERHEAD) for each in found) == pytest.approx(200, rel=0.02)


def test_the_slowest_points_are_left_out_until_the_others_have_enough_arrivals():
    assert lengths([50, 5, 0.1], 2, 6, 60, 12, 200)[2] == 0
    assert lengths([50, 5, 0.1], 2, 6, 6000, 12, 200)[2] > 0
    assert lengths([0.1], 2, 6, 10, 12, 200) == [0]


def test_cores_are_swept_only_where_there_are_enough():
    chosen, left_out = planned(["cores"], BOTH, ARMS, 2)
    assert chosen == [] and "client and server cores are not swept" in left_out[0]
    chosen, left_out = planned(["cores"], BOTH, ARMS, 8)
    assert left_out == []
    for sweep in chosen:
        assert [point.x for point in sweep.points] == [1, 2, 4]
        assert all(point.client_cores + point.place.cores <= 8 for point in sweep.points)


def test_every_sweep_ascends_and_its_labels_are_unique():
    for sweep in planned(grid.NAMES, BOTH, ARMS, 8)[0]:
        assert all(a.x < b.x for a, b in zip(sweep.points, sweep.points[1:], strict=False))
        assert len({point.label for point in sweep.points}) == len(sweep.points)


def test_a_point_near_a_crossing_is_one_of_the_sweep_and_comes_again_from_its_own_x():
    for sweep in planned(grid.NAMES, BOTH, ARMS, 8)[0]:
        known = [point.x for point in sweep.points]
        if sweep.title == "server cores":
            assert sweep.between is None and sweep.find_closer({"x": 3}, known) is None
            continue
        for x in np.geomspace(known[0], known[-1], 50):
            if point := sweep.find_closer({"x": float(x)}, known):
                assert known[0] < point.x < known[-1] and all(abs(point.x / each - 1) > grid.CLOSE for each in known)
                assert sweep.between(point.x).label == point.label
                assert point.place == sweep.points[0].place
        assert [sweep.between(x).label for x in known if x == int(x)] == [
            point.label for point in sweep.points if point.x == int(point.x)
        ]


def test_near_a_point_there_is_none_to_add():
    [sweep, _] = planned(["network"], BOTH, ARMS, 2)[0]
    assert sweep.find_closer({"x": 102.0}, [10, 100, 1000]) is None
    assert sweep.find_closer({"x": 333.3}, [10, 100, 1000]).mbit == 330
    assert sweep.find_closer({"x": 1000.0}, [10, 100, 1000]) is None


def test_photographs_go_as_tensor_as_bytes_and_as_jpeg():
    [sweep, _] = planned(["network"], BOTH, ARMS, 2)[0]
    models = [form.placements["client"].model for form in sweep.baselines.values()]
    assert models == ["resnet50", "resnet50_uint8"]
    assert {point.x for point in sweep.points} == {10, 100, 1000}


@pytest.mark.parametrize(("width", "height"), image.SIZES)
def test_photographs_have_exactly_the_size_that_was_asked_for(width, height):
    from PIL import Image

    made = image.fitted(width, height)
    assert {Image.open(io.BytesIO(payload.encoded)).size for payload in made} == {(width, height)}
    assert len({payload.encoded for payload in made}) == 2


@pytest.mark.parametrize("rate", audio.RATES)
@pytest.mark.parametrize("seconds", audio.LENGTHS)
def test_clips_have_exactly_the_length_and_the_rate_that_were_asked_for(seconds, rate):
    import soundfile

    made = audio.fitted(seconds, rate)
    for payload in made:
        about = soundfile.info(io.BytesIO(payload.encoded))
        assert (about.frames, about.samplerate, about.channels) == (seconds * rate, rate, 1)
        assert np.abs(soundfile.read(io.BytesIO(payload.encoded))[0]).max() > 0.05
    assert made[0].encoded != made[1].encoded


@pytest.mark.parametrize(
    ("up", "called"),
    [(None, "tiny"), ({"weights": "tiny"}, "tiny"), ({"weights": "none"}, OWN), ({}, OWN)],
    ids=["servers of its own", "ours", "up --only", "a stranger's"],
)
def test_models_that_are_not_ours_are_not_called_by_our_weights(up, called):
    """A line "left out: none, detector: ..." reads as if nothing was."""
    experiment = SimpleNamespace(up=None if up is None else SimpleNamespace(state=up))
    assert SweepExperiment.name_models(experiment, "tiny") == called
