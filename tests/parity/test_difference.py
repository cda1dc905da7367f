"""Laws of the comparison of two answers: what another library does by the same rule passes, another rule does not."""

import numpy as np
import pytest

from crossover.parity.check import SAME, Pair
from crossover.parity.difference import LARGEST, MEAN, judge, match_outputs, measure_distance
from crossover.parity.wording import describe_pair

RNG = np.random.default_rng(1)
LOGITS = RNG.normal(3, 2, (1, 1000)).astype(np.float32)


def compare(*pairs):
    return judge("y", [measure_distance(f"p{i}", *pair) for i, pair in enumerate(pairs)])


def test_equal_numbers_agree_and_have_no_worst_payload():
    found = compare((LOGITS, LOGITS.copy()), (LOGITS[0], LOGITS))  # a dimension of 1 in front plays no part
    assert (found.agrees, found.same, found.mean, found.largest, found.top1, found.worst) == (True, 2, 0, 0, 1, "")


@pytest.mark.parametrize(("share", "agrees"), [(0.9 * MEAN, True), (1.1 * MEAN, False)])
def test_the_mean_difference_counts_as_a_share_of_the_spread_whatever_the_scale(share, agrees):
    for scale, shift in ((1, 0), (1e-6, 0), (1e6, 0), (1, 100)):
        logits = LOGITS.astype(float) * scale + shift
        found = compare((logits, logits + share * logits.std()))
        assert found.agrees == agrees and found.mean == pytest.approx(share) and found.top1 == 1


def test_one_number_that_is_far_off_is_not_hidden_by_the_mean():
    other = LOGITS.copy()
    other[0, 5] += 1.1 * LARGEST * LOGITS.std()
    found = compare((LOGITS, other))
    assert not found.agrees and found.mean < MEAN < LARGEST < found.largest


def test_one_payload_that_differs_is_found_and_named():
    found = compare(*[(LOGITS, LOGITS)] * 9, (LOGITS, LOGITS[:, ::-1]))
    assert (found.payloads, found.same, found.agrees, found.worst) == (10, 9, False, "p9")
    assert found.mean > MEAN and found.top1 == 0.9


def test_the_spread_is_that_of_all_payloads_as_a_single_number_has_none():
    pairs = [(np.array([p]), np.array([p + 0.01])) for p in (0.1, 0.5, 0.9)]
    assert compare(*pairs).agrees
    assert not compare(*pairs, (np.array([0.2]), np.array([0.9]))).agrees
    assert compare((np.zeros(3), np.zeros(3))).agrees
    assert not compare((np.zeros(3), np.full(3, 1e-9))).agrees  # against nothing anything is much
    assert compare((np.full(3, 7.0), np.full(3, 7.1))).agrees and not compare((np.full(3, 7.0), np.full(3, 9.0))).agrees


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, object])
def test_whole_numbers_truth_values_and_text_must_be_equal(dtype):
    one = np.array([b"a", b"b"], object) if dtype is object else np.array([1, 0], dtype)
    found = compare((one, one.copy()), (one, one[::-1]))
    assert (found.same, found.agrees, found.worst, found.mean, found.top1) == (1, False, "p1", None, None)


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        (np.zeros((1, 3)), np.zeros((1, 4)), "its shape is [4] instead of [3]"),
        (np.array([b"a"], object), np.array([1.0]), "one is text, the other has numbers"),
        (np.array([1.0, np.nan]), np.array([np.nan, 1.0]), "not the same values are infinite or not a number"),
        (np.array([1.0, np.inf]), np.array([1.0, -np.inf]), "not the same values are infinite or not a number"),
    ],
)
def test_what_cannot_be_compared_by_numbers_is_a_difference_with_its_reason(first, second, fault):
    found = compare((LOGITS, LOGITS), (first, second))
    assert (found.agrees, found.same, found.worst, found.fault) == (False, 1, "p1", fault)
    assert found.mean is None and found.largest is None


def test_values_that_are_not_finite_in_the_same_places_are_no_difference():
    one = np.array([1.0, np.nan, np.inf, 3.0])
    assert compare((one, one.copy())).agrees and compare((np.array([np.nan]), np.array([np.nan]))).agrees


def test_half_precision_agrees_with_single():
    assert compare((LOGITS, LOGITS.astype(np.float16))).agrees


def test_outputs_are_matched_by_name_or_as_the_only_ones():
    one, two = {"a": LOGITS}, {"b": LOGITS, "a": LOGITS}
    assert match_outputs(one, two) == [("a", "a")] and match_outputs(one, {"z": LOGITS}) == [("a", "z")]
    assert match_outputs(two, {"c": LOGITS}) == []


def test_a_declared_loss_names_what_differs_and_does_not_deny_that_the_answers_agree():
    answers = compare((LOGITS, LOGITS.copy()))
    pixels = judge("pixels (client's for preprocess)", [measure_distance("p", LOGITS, -LOGITS)])
    for tensors, differs in (([pixels], "pixels differ, as declared"), ([], "a loss is declared")):
        pair = Pair(("server", "small"), "small: resized", 1, [answers], tensors, [], [])
        assert pair.verdict == SAME
        first, *_ = describe_pair("image", pair.as_dict())
        assert first == f"image server and small: answers agree; {differs} (small: resized)"
