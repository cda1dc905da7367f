"""Laws of a server for the length of a `with` block: whatever ends the block, nothing of the server is left."""

import os
import signal
import subprocess
import sys

import pytest

from serving import local
from serving.ports import free_ports
from serving.temporary_server import heed_sigterm, temporary_triton
from tests.conftest import ROOT

SCRIPT = """
import os, time
from serving.temporary_server import temporary_triton
with temporary_triton({}, sorted(os.sched_getaffinity(0))) as server:
    print(server.state["name"], flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_block_and_the_server(number):
    # Coverage would put a handler of its own for SIGTERM into the process, and the block leaves that alone.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    name = process.stdout.readline().strip()
    assert local.alive(name)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode and "KeyboardInterrupt" in errors
    assert not local.processes(name)
    assert not list(local.SHM.glob(f"{name}.*"))


def test_an_error_in_the_block_ends_the_server():
    with pytest.raises(ZeroDivisionError), temporary_triton({}, sorted(os.sched_getaffinity(0))) as server:
        assert server.api.is_live()
        1 / 0  # noqa: B018
    assert not local.processes(server.state["name"])


def test_handlers_of_the_program_are_left_alone_and_all_are_as_before():
    def ours(number, frame):
        pass

    before = signal.signal(signal.SIGHUP, ours), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with heed_sigterm():
            assert signal.getsignal(signal.SIGHUP) is ours
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_free_ports_differ():
    assert len(set(free_ports(20))) == 20
