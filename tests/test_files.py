"""What a run leaves behind is whole, whatever ends it."""

import errno
import json
import os
from pathlib import Path

import pytest

from loadgen.samples import atomic_write
from tests.conftest import ROOT


@pytest.fixture
def full_disk(monkeypatch):
    """One that takes half of what is written to it."""

    def half(self: Path, text: str, encoding=None) -> int:
        self.write_bytes(text[: len(text) // 2].encode())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_text", half)


def test_a_file_is_replaced_as_a_whole(tmp_path):
    atomic_write.write_json(tmp_path / "run.json", {"old": 1})
    atomic_write.write_json(tmp_path / "run.json", {"new": 2})
    assert json.loads((tmp_path / "run.json").read_text()) == {"new": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path, full_disk):
    (tmp_path / "run.json").write_bytes(b"{}")
    with pytest.raises(OSError, match="No space"):
        atomic_write.write_json(tmp_path / "run.json", {"much": "x" * 1000})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("run.json", b"{}")]


def test_what_a_run_keeps_is_written_no_other_way():
    sources = (path for folder in ("loadgen", "crossover") for path in (ROOT / folder).rglob("*.py"))
    written = [path.name for path in sources if ".write_text(json" in path.read_text()]
    assert written == []
