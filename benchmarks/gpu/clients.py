"""The client as several processes, each on a core of its own, which stay from the first load to the last.

One Python process cannot offer the rate that a GPU answers. Each process offers its stripe of one schedule, which
begins LEAD after the last of them is ready, on the clock that all processes of a machine share. They are started afresh
after a load that was cut short.
"""

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

import numpy as np

import arrivals
from benchmarks.gpu.arms import Ask, AskRaw, find_arm
from common.messages import one_line
from loadgen.client.closed_loop import ClosedLoop
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import Sample, tabulate
from serving.server import Unavailable
from workloads import payloads
from workloads.payloads import Payload

POLL = 0.1
"""Seconds between two looks at what goes on meanwhile."""
LEAD = 0.05
"""Seconds from the order to begin until a schedule begins."""
READY = "ready"
"""What a process says once its pipelines are built; it is then told when to begin."""


@dataclass(frozen=True)
class Task:
    """What all processes do together: open-loop `arrivals` (a specification), or `users` who never pause."""

    url: str
    ask: Ask | AskRaw
    payloads: str
    """The digest of payloads that the processes have."""
    seconds: float
    arrivals: str = ""
    users: int = 0
    seed: int = 1
    cap: int = 512
    """Requests in flight, of all processes together."""
    timeout: float = 30.0
    first: int = 0
    stride: int = 1


@dataclass(frozen=True)
class Offered:
    """What the processes' samples say together, and what the client cost."""

    records: np.ndarray
    reasons: list[str]
    cpu_seconds: float
    busiest: float
    """The share of its core, 0 to 1, that the busiest process used."""
    stall: float
    began: float
    """Of the schedule, on the monotonic clock, in seconds."""


class ClientProcesses:
    """Processes on these cores, one on each in turn."""

    def __init__(self, cores: Sequence[int], count: int):
        """Start them; each takes a second or two to be ready."""
        self.cores, self.count = list(cores), count
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._loaded: dict[str, int] = {}
        for number in range(self.count):
            ours, theirs = context.Pipe()
            core = self.cores[number % len(self.cores)]
            process = context.Process(target=serve, args=(theirs, core), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)

    def restart(self) -> None:
        """End the processes, whatever they do, and start others."""
        self.close()
        self._start()

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        self._processes.clear()

    def run(self, task: Task, sent: Sequence[Payload], count: int = 0, watch: Callable[[], object] = int) -> Offered:
        """Carry a task out by `count` processes (0: all), and call `watch` about ten times a second meanwhile.

        Raises Unavailable with the first reason of a process that could not; then they have to be started afresh.
        """
        pipes = self._pipes[: count or self.count]
        digest = payloads.digest(sent)
        if self._loaded.get(digest, 0) < len(pipes):
            self._ask(pipes, [("load", digest, list(sent))] * len(pipes), lambda: None)
            self._loaded[digest] = len(pipes)
        shared = replace(task, payloads=digest, stride=len(pipes), cap=-(-task.cap // len(pipes)))
        said = self._ask(pipes, [("run", replace(shared, first=number)) for number in range(len(pipes))], watch)
        start = time.monotonic_ns() + round(LEAD * 1e9)
        # One that failed before it was ready has said so, by raising.
        assert all(each == READY for each in said)
        parts = self._ask(pipes, [start] * len(pipes), watch)
        reasons = list(dict.fromkeys(itertools.chain([""], *(part[1] for part in parts))))
        for records, own, *_ in parts:
            records["reason"] = np.array([reasons.index(text) for text in own])[records["reason"]]
        cpu = [part[2] for part in parts]
        wall = max(task.seconds, time.monotonic() - start / 1e9)
        return Offered(
            np.concatenate([part[0] for part in parts]),
            reasons,
            sum(cpu),
            max(cpu) / wall,
            max(part[3] for part in parts),
            start / 1e9,
        )

    def _ask(self, pipes: Sequence[Connection], messages: Sequence[object], watch: Callable[[], object]) -> list:
        """Send each process its message, and return their answers in the same order. Raises Unavailable."""
        try:
            for pipe, message in zip(pipes, messages, strict=True):
                pipe.send(message)
            answers: dict[Connection, object] = {}
            while len(answers) < len(pipes):
                ready = wait([each for each in pipes if each not in answers], POLL)
                for pipe in [each for each in pipes if each in ready]:
                    good, answers[pipe] = pipe.recv()
                    if not good:
                        raise Unavailable(f"a client process failed: {answers[pipe]}")
                watch()
        except (EOFError, OSError) as error:
            raise Unavailable(f"a client process ended: {one_line(error) or type(error).__name__}") from None
        return [answers[pipe] for pipe in pipes]


def serve(pipe: Connection, core: int) -> None:
    """Carry out what comes through the pipe, on this core, until it is closed: the whole life of a client process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C: the process that started this one ends it
    os.sched_setaffinity(0, {core})
    loaded: dict[str, list[Payload]] = {}
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):  # whoever started it is gone, perhaps with messages unread
            return
        try:
            if message[0] == "load":
                loaded[message[1]] = message[2]
                pipe.send((True, None))
            else:
                pipe.send((True, carry_out(message[1], loaded[message[1].payloads], pipe)))
        except Exception as error:
            pipe.send((False, one_line(f"{type(error).__name__}: {error}")))


def carry_out(task: Task, sent: list[Payload], pipe: Connection) -> tuple[np.ndarray, list[str], float, float]:
    """Offer this process's stripe of a task, once it is ready and the pipe says when to begin.

    Returns (records, texts of their reasons, CPU seconds, longest stall).
    """

    def wait_for_start() -> int:
        pipe.send((True, READY))
        return pipe.recv()

    samples: list[Sample] = []
    arm = find_arm(task.ask, task.cap)
    loop: OpenLoop | ClosedLoop
    if task.users:
        dues, kinds = np.zeros(0), len(sent)
        order = payloads.order(kinds, 1000 * kinds, task.seed)
        loop = ClosedLoop(task.users, 0.0, task.seconds, arm, task.url, samples.append, task.timeout)
    else:
        dues = arrivals.parse(task.arrivals).schedule(task.seconds, task.seed).times
        order = payloads.order(len(sent), len(dues), task.seed)
        loop = OpenLoop(arm, task.url, samples.append, task.timeout)
    loop.run(Plan(dues, order, sent, wait_for_start, task.first, task.stride))
    records, reasons = tabulate(samples)
    return records, reasons, loop.cpu, loop.hub_stall
