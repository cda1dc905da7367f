"""Laws of Locust's own numbers: it shows what it can, of good answers only, and nothing of it is replaced."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace

from serving.ports import free_ports
from tests import forks
from tests.conftest import ROOT


def python(program: str) -> subprocess.CompletedProcess:
    """In another process, because importing Locust patches the standard library."""
    return forks.run("locust", script=program)


def fetch(url: str, body: str | None = None) -> str:
    return urllib.request.urlopen(url, body and body.encode(), timeout=120).read().decode()


def within(seconds: float, ask):
    """The first answer that is not empty."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := ask():
                return answer
        except urllib.error.URLError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"no answer within {seconds} s")


@contextmanager
def locust(folder, locustfile: str, *arguments):
    """The real Locust with its web page at `url`; `output` is what it printed, once it has ended."""
    port, master = free_ports(2)
    (folder / "locustfile.py").write_text(locustfile)
    ports = [f"--web-port={port}", f"--master-bind-port={master}", f"--master-port={master}"]
    process = forks.start(
        *("locust", "-f", folder / "locustfile.py", "--web-host=127.0.0.1", *ports, *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        start_new_session=True,
    )
    run = SimpleNamespace(url=f"http://127.0.0.1:{port}", output="")
    try:
        yield run
    finally:
        time.sleep(0.5)  # the last answer may still be on its way out
        process.send_signal(signal.SIGINT)
        run.output, _ = process.communicate(timeout=300)
        print(run.output)


def test_nothing_of_locust_s_is_replaced_but_its_handler_of_sigterm():
    """Its statistics, its report and its scripts are its own, so that another version of it changes nothing of ours."""
    program = """
import inspect, pkgutil, importlib, locust, sys
from locust import html, main, stats, web, runners
modules = (html, main, stats, web, runners)
def members():
    for module in modules:
        for name, value in vars(module).items():
            yield (module.__name__, name), value
            if inspect.isclass(value) and value.__module__ == module.__name__:
                yield from (((module.__name__, name, each), held) for each, held in vars(value).items())
before = dict(members())
sys.argv = ["locust"]
import loadgen.image
from types import SimpleNamespace
from locust import events
from loadgen.locust_plugin import console
console.install()
after = dict(members())
print([name for name in before if inspect.isroutine(before[name]) and before[name] is not after.get(name)])
"""
    done = python(program)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_the_console_has_locust_s_tables_while_a_run_goes_on_and_then_only_its_errors():
    program = """
import logging
from locust import events
from loadgen.locust_plugin import console
logger = logging.getLogger("locust.stats_logger")
logger.setLevel(logging.INFO)
logger.addHandler(logging.StreamHandler(__import__("sys").stdout))
console.install()
say = logger.info
say("table before a run")
events.test_start.fire(environment=None)
say("table"); say("Error report")
events.test_stop.fire(environment=None)
say("table at the end"); say("Error report"); say("3 times"); say("")
events.test_start.fire(environment=None)
say("table of the next")
events.test_stop.fire(environment=None)
say("its table at the end")
"""
    done = python(program)
    assert done.stdout.splitlines() == ["table", "Error report", "Error report", "3 times", "", "table of the next"]
