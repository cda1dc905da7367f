"""Ctrl-C at any instant of a measurement ends it: none is swallowed, whatever code it comes into."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.long
@pytest.mark.parametrize(("kind", "count"), [("trials", 300), ("pairs", 100)])
def test_no_request_to_end_is_lost(server, kind, count):
    command = [sys.executable, "-m", "tests.faults.interrupted_trials", kind, server.url, server.state, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert done.stdout.splitlines()[-1:] == [f"lost 0 of {count}"], done.stdout + done.stderr
