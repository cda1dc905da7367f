"""The open loop inside Locust: its command line, its web form, its statistics.

Locust runs one user per process; that user's only task offers the whole schedule. Users, spawn rate and
wait times, Locust's own way to make load, are closed loops and have no part in it: the shape below asks
for the one user and ends the run when every arrival has its sample.
"""

import json
import logging
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

import gevent
from gevent.event import Event
from locust import LoadTestShape, User, events, task
from locust.runners import MasterRunner, WorkerRunner

from loadgen import arrivals, payloads, web
from loadgen.arms import MODES, PLACEMENTS, Arm, Mode
from loadgen.openloop import OpenLoop
from loadgen.samples import COMPLETED, Sample, Writer, books, sentence, summary
from loadgen.workloads import Workload

log = logging.getLogger("crossover")


@dataclass(frozen=True)
class Settings:
    """One run as asked for, from the command line or the web form (where every value is text)."""

    arm: Arm
    schedule: arrivals.Schedule
    payloads: list[payloads.Payload]
    timeout: float

    @classmethod
    def of(cls, workload: Workload, options) -> "Settings":
        """Raises ValueError with one line that says which option is wrong and what it takes."""
        workers = 1 if options.mode == "sequential" else number("workers", options.workers, int)
        mode = Mode(options.mode, workers, number("in-flight-cap", options.in_flight_cap, int))
        seconds, timeout = number("seconds", options.seconds), number("timeout", options.timeout)
        arrivals.positive(timeout=timeout)
        return cls(
            Arm(workload, options.placement, mode, options.library),
            arrivals.parse(options.arrivals).schedule(seconds, number("seed", options.seed, int)),
            payloads.load(workload, options.payloads),
            timeout,
        )


def number(name: str, text, kind=float):
    try:
        value = kind(text)
        if value < 0:
            raise ValueError
        return value
    except (TypeError, ValueError):
        what = "whole number" if kind is int else "number"
        raise ValueError(f"{name} must be a {what} that is not negative, not {text!r}") from None


LOCAL = "local"


class Shape(LoadTestShape):
    """One user per process until every process has offered its share, then stop."""

    waiting_for: ClassVar[set[str]] = set()
    """Processes that have not said they are done: worker ids, or LOCAL where there are no workers."""
    started: ClassVar[bool] = False

    def tick(self):
        alive = set(self.runner.clients) if isinstance(self.runner, MasterRunner) else {LOCAL}
        if Shape.started and not Shape.waiting_for & alive:
            return None
        return max(1, len(alive)), 100

    @classmethod
    def start(cls, processes):
        cls.waiting_for, cls.started = set(processes), True

    @classmethod
    def stop(cls, **_):
        cls.started = False


class OpenLoopUser(User):
    """Subclasses name the workload; `install` connects it with Locust."""

    abstract = True
    workload: Workload
    host = "http://localhost:8000"

    @task
    def offer_the_schedule(self):
        runner = self.environment.runner
        distributed = isinstance(runner, WorkerRunner)
        index, count, start = Slice.wait() if distributed else (0, 1, None)
        settings = Settings.of(self.workload, self.environment.parsed_options)
        dues = settings.schedule.times[index::count]
        chosen = payloads.order(settings.payloads, len(settings.schedule), settings.schedule.seed)[index::count]
        report = Report(settings, self.environment, suffix=f"-{index}" if distributed else "")
        loop = OpenLoop(settings.arm, self.environment.host or self.host, report.record, settings.timeout)
        try:
            loop.run(dues, chosen, start)
        finally:
            report.close()
            if distributed:
                runner.send_message("over")
            Shape.waiting_for.discard(LOCAL)
        gevent.sleep(3600)  # until the shape stops this user, within a second


class Report:
    """Where one run's samples go: a CSV file, Locust's statistics, and a closing line."""

    def __init__(self, settings: Settings, environment, suffix: str = ""):
        self._settings, self._request = settings, environment.events.request
        stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S.%f")[:-3]
        self.directory = Path(environment.parsed_options.reports) / f"{stamp}-{settings.arm.slug}{suffix}"
        self._writer = Writer(self.directory / "samples.csv")
        self._samples: list[Sample] = []
        described = {
            "arm": str(settings.arm),
            "arrivals": settings.schedule.spec,
            "seconds": settings.schedule.seconds,
            "seed": settings.schedule.seed,
            "schedule": settings.schedule.digest,
            "payloads": [payload.name for payload in settings.payloads],
        }
        (self.directory / "run.json").write_text(json.dumps(described, indent=2) + "\n")
        log.info("%s  %s  schedule %s", settings.arm, settings.schedule.spec, settings.schedule.digest)

    def record(self, sample: Sample) -> None:
        self._samples.append(sample)
        self._writer.write(sample)
        problem = None if sample.status == COMPLETED else f"{sample.status}: {sample.reason}"
        self._request.fire(
            request_type=self._settings.arm.placement,
            name=str(self._settings.arm),
            response_time=sample.latency * 1e3 if sample.done else None,
            response_length=sample.bytes_down,
            exception=RuntimeError(problem) if problem else None,
            context={},
        )

    def close(self) -> None:
        self._writer.close()
        result = summary(self._samples, self._settings.schedule.seconds)
        (self.directory / "summary.json").write_text(json.dumps(result, indent=2) + "\n")
        log.info("books: %s", sentence(books(self._samples)))
        log.info("samples: %s", self.directory / "samples.csv")


class Slice:
    """A worker's share of the schedule, told by the master: every count-th arrival from the index-th on."""

    _told = Event()
    _value: tuple[int, int, int]

    @classmethod
    def tell(cls, environment, msg, **_):
        index, count, epoch = msg.data
        cls._value = index, count, time.monotonic_ns() + round((epoch - time.time()) * 1e9)
        cls._told.set()

    @classmethod
    def wait(cls) -> tuple[int, int, int]:
        cls._told.wait()
        cls._told.clear()
        return cls._value


def install(workload: Workload) -> None:
    """Register the workload's arguments, their checks and the messages between workers with Locust."""

    @events.init_command_line_parser.add_listener
    def arguments(parser):
        add, libraries = parser.add_argument, list(workload.libraries)
        examples = ", ".join(arrivals.EXAMPLES.values())
        add("--placement", choices=PLACEMENTS, default="server", help="where the input is decoded and preprocessed")
        add("--mode", choices=MODES, default="async", help="how the client works off its arrivals")
        add("--workers", type=int, default=1, help="client threads; in mode async they only preprocess")
        add("--arrivals", default="poisson:rate=5", help=f"e.g. {examples}")
        add("--seconds", type=float, default=30.0, help="length of the schedule")
        add("--seed", type=int, default=1, help="of the schedule and of the order of the payloads")
        add("--payloads", default="", help="a directory of files to send; empty: the built-in ones")
        add("--library", choices=libraries, default=libraries[0], help="that preprocesses in the client arm")
        add("--in-flight-cap", type=int, default=512, help="mode async: arrivals above it are dropped and counted")
        add("--timeout", type=float, default=30.0, help="deadline of one request, in seconds")
        add("--reports", default="reports", include_in_web_ui=False, help="where samples are written")

    @events.init.add_listener
    def check(environment, runner, web_ui, **_):
        if isinstance(runner, WorkerRunner):
            runner.register_message("slice", Slice.tell)
            return
        if isinstance(runner, MasterRunner):
            runner.register_message("over", lambda msg, **_: Shape.waiting_for.discard(msg.node_id))
        if web_ui:
            web.extend(web_ui, environment, lambda options: Settings.of(workload, options))
        try:
            Settings.of(workload, environment.parsed_options)
        except ValueError as error:
            print(error, file=sys.stderr)
            sys.exit(2)

    events.test_stop.add_listener(Shape.stop)

    @events.test_start.add_listener
    def share_out(environment, **_):
        runner = environment.runner
        if not isinstance(runner, MasterRunner):
            Shape.start({LOCAL})
            return
        workers, epoch = list(runner.clients), time.time() + 1
        Shape.start(workers)
        for index, worker in enumerate(workers):
            runner.send_message("slice", [index, len(workers), epoch], worker)
