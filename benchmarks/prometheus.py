"""A real Prometheus for the length of a `with` block, with the configuration and the rules of deploy/observe.

It is the `prometheus` of the PATH (Debian: apt install prometheus).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from arrivals.checks import check_positive
from common import access, atomic_write
from crossover.measurement import host
from serving import ROOT, Failure
from serving.ports import free_ports
from serving.server import Unavailable

FOLDER = ROOT / "deploy" / "observe"
INTERVAL = "5s"
"""How often the committed configuration fetches and evaluates."""


class Value(NamedTuple):
    """One series of an answer: its labels, and (seconds since 1970, value) for each of its points."""

    labels: dict[str, str]
    points: list[tuple[float, float]]

    @property
    def last(self) -> float:
        """The value of its last point."""
        return self.points[-1][1]


class Prometheus:
    """A Prometheus that answers at `url`. Its methods raise Failure, with its own words, if it refuses a query."""

    def __init__(self, url: str):
        self.url = url

    def ask(self, path: str, **parameters: object) -> dict:
        """Return the data of one answer of its HTTP API."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with access.open_url(url, 30) as answer:
                return json.load(answer)["data"]
        except OSError as error:
            words = error.read().decode() if hasattr(error, "read") else str(error)
            raise Failure(f"{path}: {words}") from None

    def query(self, expression: str, at: float | None = None) -> list[Value]:
        """Return the series of an expression now, or at that second since 1970."""
        found = self.ask("query", query=expression, **({} if at is None else {"time": at}))["result"]
        return [Value(each["metric"], [(each["value"][0], float(each["value"][1]))]) for each in found]

    def query_range(self, expression: str, start: float, end: float, step: float = 1.0) -> list[Value]:
        """Return the series of an expression from `start` to `end`, as a chart asks for them; in seconds since 1970."""
        found = self.ask("query_range", query=expression, start=start, end=end, step=step)["result"]
        return [Value(each["metric"], [(at, float(value)) for at, value in each["values"]]) for each in found]

    def wait_for(self, expression: str, seconds: float = 30.0) -> list[Value]:
        """Return the series of an expression as soon as there are any. Raises Failure if none comes."""
        end = time.monotonic() + seconds
        while not (found := self.query(expression)):
            if time.monotonic() > end:
                raise Failure(f"Prometheus has no {expression} after {seconds:g} s")
            time.sleep(0.1)
        return found


def is_here() -> bool:
    """Return whether there is a Prometheus on the PATH, with its promtool."""
    return bool(shutil.which("prometheus") and shutil.which("promtool"))


@contextmanager
def run_prometheus(targets: Mapping[str, Sequence[str]], interval: str = INTERVAL) -> Iterator[Prometheus]:
    """Run Prometheus on loopback, and leave nothing of it.

    `targets`: job of the configuration -> addresses to fetch from (host:port). `interval` replaces the committed one,
    as "500ms". Raises Failure if there is no Prometheus or it does not start.
    """
    if not is_here():
        raise Failure("there is no prometheus here; Debian: apt install prometheus")
    with tempfile.TemporaryDirectory(prefix="crossover-") as folder:
        config = write_config(Path(folder), targets, interval)
        [port] = free_ports(1)
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data", "--log.level=warn"]
        with (Path(folder) / "log").open("w+") as log:
            process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
            )
            try:
                while not is_ready(f"http://127.0.0.1:{port}/-/ready"):
                    if process.poll() is not None:
                        log.seek(0)
                        raise Failure(f"prometheus ended: {(log.read().splitlines() or ['without a word'])[-1]}")
                    time.sleep(0.05)
                yield Prometheus(f"http://127.0.0.1:{port}")
            finally:
                process.terminate()
                process.wait()


def write_config(folder: Path, targets: Mapping[str, Sequence[str]], interval: str) -> Path:
    """Copy the committed configuration with these targets and this interval, and return its path."""
    (folder / "targets").mkdir()
    shutil.copy(FOLDER / "rules.yml", folder)
    config = folder / "prometheus.yml"
    config.write_text((FOLDER / config.name).read_text().replace(f"interval: {INTERVAL}", f"interval: {interval}"))
    for job, addresses in targets.items():
        atomic_write.write_json(folder / "targets" / f"{job}.yml", [{"targets": list(addresses)}])
    return config


def is_ready(url: str) -> bool:
    """Return whether a page answers with 200."""
    try:
        with access.open_url(url, 5):
            return True
    except OSError:
        return False


def share_cores() -> tuple[list[int], list[int]]:
    """Return the cores of client and server, half of them each, and keep this process to the client's."""
    cores = host.free_cores([])
    client, servers = (cores[: len(cores) // 2] or cores), (cores[len(cores) // 2 :] or cores)
    host.pin(client)
    return client, servers


def conduct(
    parser: argparse.ArgumentParser,
    arguments: list[str] | None,
    positive: Sequence[str],
    measure: Callable[[argparse.Namespace], None],
) -> int:
    """Check the options of a benchmark that needs a Prometheus, `positive` ones among them, and measure.

    Exits with code 2 for bad ones, or without a Prometheus. Returns 1 if something fails, else 0.
    """
    options = parser.parse_args(arguments)
    try:
        check_positive(**{each: min(np.atleast_1d(getattr(options, each))) for each in positive})
        if not is_here():
            raise ValueError("there is no prometheus here; Debian: apt install prometheus")
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    try:
        measure(options)
    except (Failure, Unavailable, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0
