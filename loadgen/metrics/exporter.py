"""The page that Prometheus fetches: http://HOST:PORT/metrics, while this process runs.

`start` opens it, `begin_run` connects a run with it. Without a page both cost nothing, and runs know no difference.
"""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import ThreadingWSGIServer, make_wsgi_app
from prometheus_client.registry import Collector

from common.messages import one_line
from loadgen.arm import Arm
from loadgen.metrics import families
from loadgen.metrics.arm_metrics import ArmMetrics, Source
from loadgen.samples.sample import Sample
from loadgen.samples.verdict import Validity

LOOPBACK = "127.0.0.1"
PATIENCE, LONGEST = 15.0, 60.0
"""Seconds that the end of a process waits for a fetch where only one has come before, and at most."""


class Metrics(Collector):
    """All metrics of this process, as `prometheus_client` collects them for each fetch."""

    def __init__(self) -> None:
        self.arms: dict[tuple[str, str], ArmMetrics] = {}
        """(workload, arm) -> its figures."""
        self.count_workers: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Returns (workers that are connected, workers that were lost until now)."""
        self.fetched: list[float] = []
        """When the last two fetches came, in seconds of the monotonic clock."""

    def collect(self) -> Iterator[Metric]:
        """Yield every metric with its values of this instant."""
        self.fetched = [*self.fetched, time.monotonic()][-2:]
        started = {family: family.start() for family in families.FAMILIES}

        def put(family: families.Family, value: float, *labels: str) -> None:
            started[family].add_metric(labels, value)

        for labels, arm in list(self.arms.items()):
            # In this order, so that no fetch shows more ended than fired, or more fired than due.
            for status, count in arm.finished.items():
                put(families.FINISHED, count, *labels, status.replace(" ", "_"))
            put(families.IN_FLIGHT, arm.in_flight, *labels)
            put(families.FIRED, arm.fired, *labels)
            put(families.DUE, arm.due, *labels)
            for family, histogram in ((families.LAG, arm.lag), (families.LATENCY, arm.latency)):
                started[family].add_metric(labels, histogram.buckets(), histogram.sum)
            put(families.ACTIVE, arm.active, *labels)
            if arm.valid is not None:
                put(families.VALID, arm.valid, *labels)
            for validity, count in arm.runs.items():
                put(families.RUNS, count, *labels, validity)
            for rule, count in list(arm.broken.items()):
                put(families.BROKEN, count, *labels, rule)
        connected, lost = self.count_workers()
        put(families.CONNECTED, connected)
        put(families.LOST, lost)
        yield from started.values()


class Handler(WSGIRequestHandler):
    """Answers a fetch without a line in the log, and closes a connection that is silent for five seconds."""

    timeout = 5

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


class Exporter:
    """The page of one process, served by a thread of its own; under Locust by a greenlet."""

    def __init__(self, host: str, port: int):
        """Listen. Raises ValueError with one line if that port cannot be had."""
        self.metrics, registry = Metrics(), CollectorRegistry()
        registry.register(self.metrics)
        ProcessCollector(registry=registry)

        class Server(ThreadingWSGIServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def server_bind(self) -> None:  # http.server's also asks the DNS for the host's full name
                socketserver.TCPServer.server_bind(self)
                self.server_name, self.server_port = host, self.server_address[1]
                self.setup_environ()

        try:
            self._server = make_server(host, port, make_wsgi_app(registry), Server, Handler)
        except (OSError, OverflowError) as error:
            raise ValueError(f"cannot serve metrics on {host}:{port}: {explain(error)}") from None
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait_for_fetch(self, say: Callable[[str], object], sleep: Callable[[float], object] = time.sleep) -> None:
        """Wait until the final figures have been fetched, if fetches came before; at most 1.5 of their intervals.

        What ended since the last fetch would otherwise never reach Prometheus, which asks and is not told. `say` takes
        a line that says so.
        """
        seen = self.metrics.fetched
        if not seen:
            return
        patience = 1.5 * (seen[1] - seen[0]) + 1 if len(seen) > 1 else PATIENCE
        patience = min(patience, LONGEST)
        say(f"waiting for Prometheus to fetch the final metrics, at most {patience:.0f} s")
        end = time.monotonic() + patience
        while self.metrics.fetched[-1] == seen[-1] and time.monotonic() < end:
            sleep(0.05)
        sleep(0.2)  # until the answer is written

    def close(self) -> None:
        """Stop to listen; runs that begin from now on are not exported."""
        global current
        if current is self:
            current = None
        self._server.shutdown()
        self._server.server_close()


class Unexported(ArmMetrics):
    """Stands for an arm's figures where no page shows them."""

    def begin(self, dues: np.ndarray | None, source: Source) -> None:
        """Do nothing."""

    def add(self, sample: Sample) -> None:
        """Do nothing."""

    def end(self, verdict: Validity | None = None) -> None:
        """Do nothing."""


UNEXPORTED = Unexported()
current: Exporter | None = None
"""The page of this process; None without one."""


def start(host: str, port: int) -> Exporter:
    """Open this process's page, once. Raises ValueError with one line if that port cannot be had."""
    global current
    current = Exporter(host, port)
    return current


def find_arm(arm: Arm) -> ArmMetrics:
    """Return the figures of an arm, to which its runs add."""
    if current is None:
        return UNEXPORTED
    labels = arm.workload.name, str(arm).removeprefix(f"{arm.workload.name} ")
    return current.metrics.arms.setdefault(labels, ArmMetrics())


def explain(error: Exception) -> str:
    """Say why a port cannot be had, in a few words."""
    return one_line(str(getattr(error, "strerror", None) or "a port is a number from 0 to 65535").lower())
