"""The real server, once per session: started by the launcher, with tiny networks in place of the real ones."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.environment import throwaway
from serving.ports import PORTS, free_ports
from serving.temporary_server import temporary_server
from tests.order import order_files

ROOT = Path(__file__).resolve().parent.parent

# Processes inherit ignored signals: Ctrl-C in the background of a shell, SIGHUP under `nohup`. What tests start heeds
# both. A handler of Python's own is not inherited, so the tests themselves still outlive their terminal under `nohup`.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Name the test module that imports Locust, which patches threads: xdist's workers would stop in the middle."""
    report = yield
    monkey = sys.modules.get("gevent.monkey")
    if monkey and monkey.is_module_patched("threading"):
        raise pytest.UsageError(f"{collector.nodeid} imports Locust; import it in a process of its own")
    return report


def pytest_collection_modifyitems(config, items):
    """Where several workers run them, order whole files as `order_files` says."""
    if hasattr(config, "workerinput"):
        files = {name: number for number, name in enumerate(order_files(list({each.location[0]: 0 for each in items})))}
        items.sort(key=lambda each: files[each.location[0]])


def launch(
    *arguments, python=sys.executable, module="crossover", timeout=800, **environment
) -> subprocess.CompletedProcess:
    """`crossover ...` from the repository's root, to its end; or another module, `python -m serving ...`."""
    return subprocess.run(
        [python, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def ports() -> list[str]:
    """Flags for three ports that are free now."""
    return [f"--{kind}-port={number}" for kind, number in zip(PORTS, free_ports(), strict=True)]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """What `server.json` says of it, and `state` (its directory) and `url`. Leave it as you find it."""
    state = tmp_path_factory.mktemp("server")
    with temporary_server(state, "tiny") as running:
        yield SimpleNamespace(**running.state, state=state, url=running.url)


@pytest.fixture(scope="session")
def environment():
    """The path of a Python with torch, in an environment that all tests of exports share."""
    with throwaway() as python:
        yield python
