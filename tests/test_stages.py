"""Where the time goes: the parts add up, and nothing is counted twice."""

import numpy as np
import pytest

from loadgen import blocks
from loadgen.stages import OUTPUT, UNEXPLAINED, once, stages
from loadgen.workloads import IMAGE
from tests import blocks_on_disk


def step(queue: float, infer: float, output: float) -> dict[str, float]:
    return {"queue": queue, "compute_input": 0.1, "compute_infer": infer, OUTPUT: output}


def whole(steps: list[dict]) -> float:
    return sum(sum(ms.values()) for ms in steps)


def test_what_two_steps_claim_is_taken_off_the_output_of_the_first():
    """A merged batch of the real server: preprocessing's output clock ran 33 ms on while the network computed."""
    told = [step(8.4, 146.1, 33.2), step(89.9, 1061.4, 0.6)]
    first, last = once(told, whole(told) - 15.8)
    assert first[OUTPUT] == pytest.approx(33.2 - 15.8)
    assert (first["queue"], first["compute_infer"], last) == (8.4, 146.1, told[1])


def test_steps_in_a_row_are_left_as_told():
    told = [step(0.1, 7.0, 1.0), step(0.1, 76.0, 0.2)]
    assert once(told, whole(told) + 0.3) == told


def test_more_than_the_outputs_cannot_overlap_and_stays_visible():
    told = [step(0, 7, 1), step(0, 3, 2), step(0, 1, 5)]
    kept = once(told, whole(told) - 10)
    assert [ms[OUTPUT] for ms in kept] == [0, 0, 5]
    assert whole(kept) - (whole(told) - 10) == pytest.approx(7)


@pytest.mark.parametrize("told", [[], [step(1, 2, 3)]])
def test_a_single_step_overlaps_with_nothing(told):
    assert once(told, 1.0) == told


@pytest.mark.parametrize("placement", ["client", "server"])
@pytest.mark.parametrize("more", [0.0, 4.0, -0.15], ids=["as told", "a gap", "an overlap"])
def test_the_parts_of_an_arm_add_up_to_its_mean_latency(tmp_path, placement, more):
    block = blocks_on_disk.block(tmp_path, "image", placement, 1)
    model = getattr(IMAGE, placement).model
    if placement == "server":
        own = [told for name, told in block.steps.items() if name != model]
        block.steps[model]["total"] = sum(sum(told["ms"].values()) for told in own) + more
    block.write()
    parts = stages(blocks.read(tmp_path), model, IMAGE.steps)
    assert sum(parts.values()) == pytest.approx(np.mean(block.latency))
    if placement == "server":
        assert parts[UNEXPLAINED] == pytest.approx(max(0, more), abs=1e-9)
