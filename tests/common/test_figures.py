"""Laws of figures: three digits, one form for every ratio, and no noise."""

import pytest

from common.figures import interval, ratio, significant
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (float("inf"), "-"),
        (-7e-15, "0"),
        (0, "0"),
        (0.00001234, "0.0000123"),
        (0.83, "0.83"),
        (1.9412, "1.94"),
        (120.4, "120"),
        (999.6, "1000"),
        (12345.6, "12346"),
        (-4.306, "-4.31"),
    ],
)
def test_a_number_has_three_digits_and_no_exponent(value, written):
    assert significant(value) == written


def test_more_digits_are_written_where_asked_for():
    assert significant(12.192, 4) == "12.19"


def test_experiments_write_no_figure_with_an_exponent():
    """`{rate:.3g}` writes 1630 as 1.63e+03."""
    written = {path.name: path.read_text() for path in (ROOT / "crossover" / "experiments").rglob("*.py")}
    assert [name for name, text in written.items() if ":.3g}" in text] == []


def test_a_ratio_has_its_interval_or_none():
    assert ratio(1.9412, 1.85, 2.0344) == "1.94 [1.85, 2.03]"
    assert ratio(1.9412) == ratio(1.9412, None, 2.0) == ratio(1.9412, 0.1, float("inf")) == "1.94"
    assert ratio(None) == "-"
    assert interval(0.5, None) == ""
