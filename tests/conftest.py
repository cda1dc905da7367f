"""The real server, once per session: started by the launcher, with tiny networks in place of the real ones."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Processes inherit ignored signals: Ctrl-C in the background of a shell, SIGHUP under `nohup`. What tests start heeds
# both. A handler of Python's own is not inherited, so the tests themselves still outlive their terminal under `nohup`.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def launch(*arguments, python=sys.executable, timeout=800, **environment) -> subprocess.CompletedProcess:
    """`python -m serving ...` from the repository's root, to its end."""
    return subprocess.run(
        [python, "-m", "serving", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def ports() -> list[str]:
    """Flags for three ports that are free now."""
    sockets = [socket.socket() for _ in range(3)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    numbers = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return [f"--{kind}-port={number}" for kind, number in zip(("http", "grpc", "metrics"), numbers, strict=True)]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """What `server.json` says of it, and `state` (its directory) and `url`. Leave it as you find it."""
    state = tmp_path_factory.mktemp("server")
    try:
        done = launch("up", "--engine=local", "--weights=tiny", f"--state={state}", *ports())
        assert done.returncode == 0, done.stderr
        record = json.loads((state / "server.json").read_text())
        yield SimpleNamespace(**record, state=state, url=f"http://{record['address']}")
    finally:
        launch("down", f"--state={state}")
