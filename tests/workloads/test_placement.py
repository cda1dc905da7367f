"""A placement: what prepares, for one thread or all, and what is refused."""

import re

import pytest

from workloads.workload import Placement, UnsoundWorkload, per_thread


def test_per_thread_makes_one_each_and_a_function_is_shared():
    def prepare(encoded):
        return encoded

    assert Placement("m", prepare).preprocessor() is Placement("m", prepare).preprocessor() is prepare
    made = Placement("m", per_thread(lambda: list))
    assert made.prepares and made.preprocessor()(b"\x01") == [1]
    assert not Placement("m").prepares and Placement("m").preprocessor()(b"\x01\x02").tolist() == [1, 2]
    libraries = Placement("m", {"first": prepare, "second": per_thread(lambda: bytes.upper)})
    assert libraries.preprocessor() is prepare and libraries.preprocessor("second")(b"x") == b"X"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inputs": "x"}, "inputs of the placement of m must be a tuple, not 'x'"),
        ({"inputs": (3,)}, "inputs of the placement of m are names, or Input(...), not 3"),
        ({"outputs": "x"}, "outputs of the placement of m must be a tuple, not 'x'"),
        ({"extra": ("x",)}, "extra of the placement of m must map names to arrays"),
    ],
)
def test_an_unsound_placement_is_refused(given, says):
    with pytest.raises(UnsoundWorkload, match=f"^{re.escape(says)}$"):
        Placement("m", **given)
