"""Laws of the thread plan and of the choice of cores."""

import pytest

from serving.model_loader import ENSEMBLES, STEPS, names
from serving.thread_plan import NEXT, SLO, format_cores, plan_threads, server_cores


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
def test_no_model_gets_more_threads_than_the_server_has_cores(cores):
    for share in plan_threads(cores).values():
        assert 1 <= share["instances"] * share["threads"] <= cores


def test_the_plan_names_every_model_that_computes():
    assert sorted(plan_threads(1)) == names(STEPS)


def test_only_a_server_with_native_backends_has_the_step_that_looks_before_dali():
    assert set(names(STEPS, guarded=True)) - set(names(STEPS)) == {"image_check"}
    assert names(ENSEMBLES, guarded=True) == names(ENSEMBLES) == ["audio", "image"]


def test_the_two_steps_of_a_pipeline_that_can_have_a_queue_have_one_slo():
    shares = plan_threads(2, slo=3000)
    for first, network in NEXT.items():
        assert shares[first]["next"] == network
        assert shares[first]["slo_ms"] == shares[network]["slo_ms"] == 3000
    assert "slo_ms" not in shares["ctc_decode"]


def test_without_an_slo_nothing_is_bounded_and_with_one_no_thread_is_moved():
    assert not any({"slo_ms", "next"} & share.keys() for share in plan_threads(4, slo=0).values())
    bounded, free = plan_threads(4, SLO), plan_threads(4, 0)
    assert all(bounded[model].items() >= free[model].items() for model in free)


@pytest.mark.parametrize(
    ("spec", "available", "cores"),
    [
        (None, {0, 1}, [1]),
        (None, {0, 1, 2, 3}, [2, 3]),
        (None, {4, 6, 9}, [6, 9]),
        (None, {5}, [5]),
        ("all", {0, 2}, [0, 2]),
        ("0-3,6", set(range(8)), [0, 1, 2, 3, 6]),
        ("3,1,1", set(range(8)), [1, 3]),
    ],
)
def test_the_server_takes_the_upper_half_of_the_cores_unless_told_which(spec, available, cores):
    assert server_cores(spec, available) == cores


@pytest.mark.parametrize("spec", ["", "some", "3-1", "0,,1", "-1", "8", "0-8", "1-2-3"])
def test_cores_that_cannot_be_had_are_refused_with_those_that_can(spec):
    with pytest.raises(ValueError, match=r"0-3,6 out of 0-7"):
        server_cores(spec, set(range(8)))


@pytest.mark.parametrize("text", ["0", "0-1", "0-3,6", "1,3,5-7"])
def test_cores_are_written_as_they_are_read(text):
    assert format_cores(server_cores(text, set(range(8)))) == text
