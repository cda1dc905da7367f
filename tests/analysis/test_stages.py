"""Where the time goes: the parts add up, and nothing is counted twice."""

import numpy as np
import pytest

from crossover.analysis.latency_breakdown import (
    NETWORK,
    OUTPUT,
    UNEXPLAINED,
    break_down_latency,
    remove_double_counting,
)
from crossover.measurement.trial import read_trials
from tests import trials_on_disk
from workloads.image import IMAGE


def step(queue: float, infer: float, output: float) -> dict[str, float]:
    return {"queue": queue, "compute_input": 0.1, "compute_infer": infer, OUTPUT: output}


def whole(steps: list[dict]) -> float:
    return sum(sum(ms.values()) for ms in steps)


def test_what_two_steps_claim_is_taken_off_the_output_of_the_first():
    """A merged batch of the real server: preprocessing's output clock ran 33 ms on while the network computed."""
    told = [step(8.4, 146.1, 33.2), step(89.9, 1061.4, 0.6)]
    first, last = remove_double_counting(told, whole(told) - 15.8, 1)
    assert first[OUTPUT] == pytest.approx(33.2 - 15.8)
    assert (first["queue"], first["compute_infer"], last) == (8.4, 146.1, told[1])


def test_steps_in_a_row_are_left_as_told():
    told = [step(0.1, 7.0, 1.0), step(0.1, 76.0, 0.2)]
    assert remove_double_counting(told, whole(told) + 0.3, 1) == told


def test_more_than_the_outputs_cannot_overlap_and_stays_visible():
    told = [step(0, 7, 1), step(0, 3, 2), step(0, 1, 5)]
    kept = remove_double_counting(told, whole(told) - 10, 2)
    assert [ms[OUTPUT] for ms in kept] == [0, 0, 5]
    assert whole(kept) - (whole(told) - 10) == pytest.approx(7)


@pytest.mark.parametrize("told", [[], [step(1, 2, 3)]])
def test_a_step_without_another_after_it_overlaps_with_nothing(told):
    assert remove_double_counting(told, 1.0, 0) == told


@pytest.mark.parametrize("placement", ["client", "server"])
@pytest.mark.parametrize(
    ("more", "network", "unexplained"),
    [(0.0, 0.6, 0.0), (0.3, 0.6, 0.3), (-0.15, 0.6, 0.0), (-0.3, 0.6, -0.1)],
    ids=["as told", "a gap", "an overlap", "more than outputs"],
)
def test_the_parts_of_an_arm_add_up_to_its_mean_latency(tmp_path, placement, more, network, unexplained):
    """Of steps whose outputs take 0.2 ms each."""
    trial, own = told(tmp_path, placement)
    whole = trial.steps[(model := IMAGE.placements[placement].model)]
    answer = trial.summary["wire"]["mean"]
    longer = own[-1]["ms"]  # the network's queue takes what is left
    longer["queue"] += answer - network - more - sum(sum(each["ms"].values()) for each in own)
    whole["total"] = answer - network
    trial.write()
    parts = break_down_latency(read_trials(tmp_path), model, IMAGE.steps)
    assert sum(parts.values()) == pytest.approx(np.mean(trial.latency))
    assert parts[NETWORK] == pytest.approx(network)
    if placement == "server":
        assert parts[UNEXPLAINED] == pytest.approx(unexplained, abs=1e-9)


@pytest.mark.parametrize("placement", ["client", "server"])
def test_an_answer_that_came_before_the_servers_clock_ended_leaves_nothing_to_the_network(tmp_path, placement):
    trial, own = told(tmp_path, placement)
    model, answer = IMAGE.placements[placement].model, trial.summary["wire"]["mean"]
    own[-1]["ms"]["queue"] += answer + 0.1 - sum(sum(each["ms"].values()) for each in own)
    trial.steps[model]["total"] = answer + 0.1
    trial.write()
    parts = break_down_latency(read_trials(tmp_path), model, IMAGE.steps)
    assert sum(parts.values()) == pytest.approx(np.mean(trial.latency))
    assert (parts[NETWORK], parts[UNEXPLAINED]) == (0, pytest.approx(0, abs=1e-9))


def test_a_step_that_a_health_check_passed_in_one_of_three_trials_is_no_part(tmp_path):
    """Its mean over two requests was added to the latency of all the others."""
    for number in (1, 2, 3):
        trial = trials_on_disk.trial(tmp_path, "image", "client", number)
        if number == 1:
            trial.steps["image_preprocess"] = {**trial.steps["resnet50"], "requests": 2}
        trial.write()
    parts = break_down_latency(read_trials(tmp_path), "resnet50", IMAGE.steps)
    assert not any("image_preprocess" in stage for stage in parts)


@pytest.mark.parametrize(("counted", "known"), [(0.95, True), (0.5, False)])
def test_a_model_that_counts_anew_since_it_was_loaded_again_says_nothing_of_a_trial(tmp_path, counted, known):
    """A stub that died had counted 19 of 78 requests since, with queues longer than the whole latency."""
    trial, _ = told(tmp_path, "server")
    trial.steps["image"]["requests"] = int(counted * trial.completed)
    trial.write()
    parts = break_down_latency(read_trials(tmp_path), "image", IMAGE.steps)
    assert ("server and network" not in parts) == known == ("resnet50 compute" in parts)
    assert sum(parts.values()) == pytest.approx(np.mean(trial.latency))


def told(directory, placement):
    """(a trial, what its server tells of the steps, in their order)."""
    trial = trials_on_disk.trial(directory, "image", placement, 1)
    return trial, [trial.steps[step] for step in IMAGE.steps if step in trial.steps]
