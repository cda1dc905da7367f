"""What pip's output says of its failure: the real pip, installing a package from an index where nobody listens."""

import subprocess
import sys

import pytest

from common import pip_failure
from models import wheels
from models.checkpoint import Refused
from serving import requirements

HASHED = f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n"


@pytest.fixture
def offline(monkeypatch):
    """An environment in which pip reaches no index."""
    settings = {"INDEX_URL": "http://127.0.0.1:9/simple", "FIND_LINKS": "", "RETRIES": "1", "CONFIG_FILE": "/dev/null"}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)


def test_an_index_that_does_not_answer_is_named_wherever_pip_is_called(offline, tmp_path):
    (tmp_path / "some.txt").write_text(HASHED)
    with pytest.raises(Refused, match=rf"^pip cannot download what .*some.txt names: {pip_failure.OFFLINE}$"):
        wheels.download(tmp_path / "some.txt", tmp_path)
    command = [sys.executable, "-m", "pip", "download", "no-such-package", "-d", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert requirements.find_reason(done.stdout + done.stderr, done.returncode) == f"pip: {pip_failure.OFFLINE}"


def test_any_other_error_is_pips_own(offline, tmp_path):
    (tmp_path / "some.txt").write_text(f"--no-index\n{HASHED}")
    with pytest.raises(Refused, match=r"ERROR: No matching distribution found for no-such-package==1\.0$"):
        wheels.download(tmp_path / "some.txt", tmp_path)
    assert pip_failure.explain("") == "no reason given"
