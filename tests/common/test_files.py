"""What a run leaves behind is whole, whatever ends it."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common import atomic_write
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
    with pytest.raises(OSError, match="No space") as raised:
        atomic_write.write_json(tmp_path / "run.json", {"much": "x" * 1000})
    assert raised.value.filename == str(tmp_path / "run.json")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("run.json", b"{}")]


def test_a_file_that_cannot_be_made_is_named_and_not_its_unfinished_form(tmp_path):
    for path in (tmp_path / "none" / "run.json", tmp_path / "full"):
        (tmp_path / "full" / "x").mkdir(parents=True, exist_ok=True)  # a directory cannot be replaced by a file
        with pytest.raises(OSError) as raised:
            atomic_write.write(path, "text")
        assert (raised.value.filename, ".part" in str(raised.value)) == (str(path), False)


def test_a_file_for_its_owner_alone_is_so_before_anything_is_in_it(tmp_path):
    with atomic_write.replace_file(tmp_path / "server.json", 0o600) as unfinished:
        assert unfinished.stat().st_mode & 0o777 == 0o600
        assert unfinished.stat().st_size == 0
    assert (tmp_path / "server.json").stat().st_mode & 0o777 == 0o600


def test_two_processes_that_write_one_file_do_not_share_its_unfinished_form(tmp_path):
    with atomic_write.replace_file(tmp_path / "model.onnx") as ours:
        script = f"from common import atomic_write; from pathlib import Path; p = Path({str(tmp_path)!r}, 'model.onnx')"
        subprocess.run([sys.executable, "-c", f"{script}; atomic_write.write(p, 'theirs')"], cwd=ROOT, check=True)
        ours.write_text("ours")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.onnx", "ours")]


def test_what_is_kept_is_replaced_in_one_place():
    folders = ("transport", "arrivals", "loadgen", "crossover", "serving", "models", "benchmarks", "workloads")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    other_ways = re.compile(r"write_text\(json|part\.replace|\.rename\(")
    assert [path.name for path in sources if other_ways.search(path.read_text())] == []
