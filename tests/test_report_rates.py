"""An overload in the short blocks of a comparison: its report neither hides it nor calls it VALID."""

import pytest

from crossover import report_command as report
from tests import blocks_on_disk


def test_pooled_blocks_achieve_what_the_server_answered_and_an_overload_is_invalid(tmp_path, monkeypatch):
    monkeypatch.setitem(blocks_on_disk.RATES, "image", 30)  # of 13/s
    measured = [blocks_on_disk.block(tmp_path, "image", "client", turn, seconds=4) for turn in range(1, 5)]
    arm = report.arm("image client async:1", measured)
    assert arm["offered"] == pytest.approx(30, rel=0.2)
    assert arm["achieved"] == pytest.approx(13, rel=0.1)
    assert not arm["valid"]
    assert {found["round"] for found in arm["findings"] if found["rule"] == "backlog"} == {1, 2, 3, 4}


def test_what_was_not_offered_too_much_achieves_it(tmp_path):
    measured = [blocks_on_disk.block(tmp_path, "image", "client", turn, seconds=4) for turn in range(1, 5)]
    arm = report.arm("image client async:1", measured)
    assert arm["achieved"] == pytest.approx(arm["offered"], rel=0.1)
    assert "backlog" not in {found["rule"] for found in arm["findings"]}
