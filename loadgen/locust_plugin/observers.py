"""What is measured beside the samples, for the charts: the client's CPU, and the queues of the server's steps.

Neither touches the threads that send: a greenlet reads a clock of the kernel's once a second, and asks the server for
its statistics every other second, only where there is a page to show them.
"""

import json
import os
import platform
import time
from collections.abc import Collection, Mapping
from http.client import HTTPException
from typing import Any

import gevent

from common import access, address
from loadgen.locust_plugin.live_view import LiveRun
from loadgen.samples.worker_facts import add_shares

EVERY, QUEUES_EVERY = 1.0, 2.0
TIMEOUT = 2.0
"""Seconds that the server has to give its statistics; what comes later is left out of the charts."""
MODELS = 12
"""Models that the charts show of a server whose steps are not known."""


class CpuClock:
    """Reads what this process has spent since it was last read."""

    def __init__(self):
        """Begin now."""
        self._cores = os.sched_getaffinity(0)
        self.cores = f"{platform.node()} {sorted(self._cores)}"
        """The machine and the cores that the process may use: processes with the same ones share them."""
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def read(self) -> float:
        """Return the share of its cores, 0 to 1, that this process has used since the last reading."""
        wall, cpu = time.monotonic(), time.process_time()
        share = (cpu - self._cpu) / max(wall - self._wall, 1e-9) / len(self._cores)
        self._wall, self._cpu = wall, cpu
        return share


class Observers:
    """The greenlets that measure while one run goes on."""

    def __init__(self, live: LiveRun, url: str = "", steps: Collection[str] = (), own: bool = True):
        """Begin to measure for a run; `url` is the server whose `steps` are asked for, by default all; "": none.

        `own` says whether the load comes from this process: a master's comes from its workers.
        """
        self.shares: dict[str, tuple[str, float]] = {}
        """Worker -> (cores, share), its last reading, which the master fills in."""
        self._own = own
        self._live, self._url, self._steps = live, address.parse(url).url if url else "", steps
        watched = [self._watch_cpu, *([self._watch_queues] if url else [])]
        self._greenlets = [gevent.spawn(each) for each in watched]

    def stop(self) -> None:
        """End them; a question to the server that is under way is given up."""
        gevent.killall(self._greenlets)

    def _watch_cpu(self) -> None:
        clock = CpuClock()
        while True:
            gevent.sleep(EVERY)
            readings = [(clock.cores, clock.read())] if self._own else list(self.shares.values())
            if (share := add_shares(readings)) is not None:
                self._live.observe("cpu", 100 * share)

    def _watch_queues(self) -> None:
        before: dict[str, tuple[int, int]] = {}
        while True:
            try:
                with access.open_url(f"{self._url}/v2/models/stats", TIMEOUT) as response:
                    after = read_queues(json.load(response), self._steps)
            except (OSError, ValueError, KeyError, TypeError, HTTPException):  # a server without statistics, or busy
                after = {}
            for step, ms in compare_queues(before, after).items():
                self._live.observe(f"queue {step}", ms)
            before = after or before
            gevent.sleep(QUEUES_EVERY)


def read_queues(statistics: Mapping[str, Any], steps: Collection[str] = ()) -> dict[str, tuple[int, int]]:
    """Return step -> (requests, ns that they waited in the step's queue) since it was loaded, from Triton's statistics.

    The fields are those of Triton's statistics extension. Without `steps`, it is every model, up to MODELS. Raises
    KeyError or TypeError if it is no such answer.
    """
    models = {model["name"]: model["inference_stats"]["queue"] for model in statistics["model_stats"]}
    asked = [name for name in models if name in steps] if steps else list(models)[:MODELS]
    return {name: (int(models[name]["count"]), int(models[name]["ns"])) for name in asked}


def compare_queues(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """Return step -> mean ms in its queue, of the requests that ended between two readings; without steps idle then."""
    both = [step for step in after if step in before]
    passed = {step: (after[step][0] - before[step][0], after[step][1] - before[step][1]) for step in both}
    return {step: ns / count / 1e6 for step, (count, ns) in passed.items() if count > 0 and ns >= 0}
