"""The client's threads, locks and sockets are the operating system's, whatever has been patched before."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import threading
from common import real_threads
queue = real_threads.SimpleQueue()
real_threads.start_thread(lambda: queue.put(threading.get_native_id()), ())
assert queue.get(timeout=300) != threading.get_native_id()  # a greenlet would not run while this thread waits
handed_out = (real_threads.start_thread, real_threads.Lock, real_threads.sleep, real_threads.Socket)
print(*sorted({each.__module__ for each in handed_out}))
"""


@pytest.mark.parametrize(
    "before",
    ["", "from gevent import monkey; monkey.patch_all()", "import gevent.monkey", "import gevent"],
)
def test_what_is_handed_out_is_the_original(before):
    command = [sys.executable, "-c", f"{before}\n{SCRIPT}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("_thread socket time\n", "")
