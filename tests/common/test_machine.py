"""What a run says of its machine, and what it leaves alone."""

import os
import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location

from common import machine


def test_the_revision_is_read_without_a_byte_written_into_the_checkout(tmp_path):
    shutil.copy(machine.__file__, tmp_path / "copied.py")

    def git(*command):
        me = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        return subprocess.run(["git", *me, *command], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    spec = spec_from_file_location("copied_machine", tmp_path / "copied.py")
    copied = module_from_spec(spec)
    spec.loader.exec_module(copied)
    git("init", "-q")
    git("add", "copied.py")
    git("commit", "-qm", "one")
    index, revision = tmp_path / ".git" / "index", git("describe", "--always").strip()
    os.utime(tmp_path / "copied.py", (1, 1))  # git would note in its index that nothing has changed
    before = index.read_bytes()
    assert copied.read_revision() == revision
    assert index.read_bytes() == before
    (tmp_path / "copied.py").write_text("changed")
    assert copied.read_revision() == f"{revision}-dirty"
