"""The open loop inside Locust: its command line, its web form, its statistics.

Locust runs one user per process; that user's only task offers the whole schedule. Users, spawn rate and
wait times, Locust's own way to make load, are closed loops and have no part in it: the shape below asks
for the one user and ends the run when every arrival has its sample.
"""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import gevent
from locust import LoadTestShape, User, events, task
from locust.runners import MasterRunner, WorkerRunner

from loadgen.client.closed_loop import ClosedLoop
from loadgen.client.open_loop import OpenLoop
from loadgen.locust_plugin import distributed, precise_stats, signals
from loadgen.locust_plugin import web_ui as web
from loadgen.locust_plugin.options import Settings, declare
from loadgen.locust_plugin.run_recorder import Meter, Report
from loadgen.samples.journal import Journal
from loadgen.samples.sample import COMPLETED, Sample
from loadgen.samples.validity import Facts
from workloads.workload import Workload

log = logging.getLogger("crossover")


class Shape(LoadTestShape):
    """One user per process until every process has offered its share, then stop."""

    over: ClassVar[bool] = False
    """Set where the one process there is has offered its schedule."""
    master: ClassVar[distributed.Master | None] = None
    started: ClassVar[bool] = False
    interrupted: ClassVar[bool] = False

    @classmethod
    def interrupt(cls) -> None:
        """End the run at the next tick, within a second."""
        Shape.interrupted = True

    def tick(self):
        if Shape.interrupted:
            return None
        if Shape.started and (Shape.master.finished if Shape.master else Shape.over):
            return None
        return max(1, len(Shape.master.alive)) if Shape.master else 1, 100


class OpenLoopUser(User):
    """Subclasses name the workload; `install` connects it with Locust."""

    abstract = True
    workload: Workload
    worker: ClassVar[distributed.Worker | None] = None
    host = "http://localhost:8000"

    @task
    def offer(self):
        try:
            if self.worker:
                self.offer_a_share(self.worker.share())
            else:
                self.offer_all()
        except ValueError as error:  # a worker that lacks the files that the others have
            print(error, file=sys.stderr)
            self.environment.process_exit_code = 1
        except OSError as error:  # of the samples' file; whatever the server does is a sample
            print(f"{error.filename or 'samples'}: {error.strerror or error}; the run ends here", file=sys.stderr)
            self.environment.process_exit_code = 1
        finally:
            Shape.over = True
        gevent.sleep(3600)  # until the shape stops this user, within a second

    def offer_all(self):
        settings = Settings.of(self.workload, self.environment.parsed_options)
        settings.arm.preprocessor()  # its library's import is not part of the run
        report = Report(settings, self.environment.parsed_options.reports)

        def record(sample: Sample) -> None:
            report.record(sample)
            self.tell_locust(settings, sample)

        facts = None
        try:
            facts = self.run_loop(settings, record, report.journal)
        finally:
            self.environment.process_exit_code = report.close(facts or self.facts(False)).exit_code

    def offer_a_share(self, share: distributed.Share):
        directory = Path(self.environment.parsed_options.reports) / share.name
        try:
            settings = Settings.of(self.workload, self.environment.parsed_options)
            journal = self.worker.journal = Journal(directory / distributed.journal_name(share.index))
        except BaseException:  # also where it is stopped here: the master need not wait
            self.worker.over(Facts(None, 0.0, complete=False))
            raise

        def record(sample: Sample) -> None:
            self.worker.record(sample)
            self.tell_locust(settings, sample)

        facts = None
        try:
            facts = self.run_loop(settings, record, journal, share)
        finally:
            self.worker.over(facts or self.facts(False))
            journal.close()

    def run_loop(self, settings: Settings, record, journal: Journal, share: distributed.Share | None = None):
        """Offer it all, or this process's share of it."""
        host = self.environment.host or self.host
        client = settings.arm, host, record, settings.timeout, journal, gevent.sleep
        plan = settings.plan()
        if share:
            plan = replace(plan, start=share.start, first=share.index, stride=share.count)
        self.meter = Meter(plan.start / 1e9) if plan.start else Meter()
        if settings.schedule is None:
            process = settings.process
            self.loop = ClosedLoop(int(process.users), process.think, settings.seconds, *client)
        else:
            self.loop = OpenLoop(*client)
        self.loop.run(plan)
        return self.facts(True)

    def facts(self, complete: bool):
        return self.meter.facts(self.loop, complete, isinstance(self.loop, ClosedLoop))

    def tell_locust(self, settings: Settings, sample: Sample) -> None:
        """One request of Locust's statistics. Only a good answer has a response time there: a refusal is quick, and
        would make the server look so; it counts as a request and as a failure."""
        good = sample.status == COMPLETED
        self.environment.events.request.fire(
            request_type=settings.arm.placement,
            name=str(settings.arm),
            response_time=sample.latency * 1e3 if good else None,
            response_length=sample.bytes_down,
            exception=None if good else RuntimeError(f"{sample.status}: {sample.reason}"),
            context={},
        )


def install(workload: Workload) -> None:
    """Register the workload's arguments, their checks and the messages between processes with Locust."""
    signals.install(Shape.interrupt)

    @events.init_command_line_parser.add_listener
    def arguments(parser):
        declare(parser, workload)

    @events.init.add_listener
    def check(environment, runner, web_ui, **_):
        precise_stats.install()
        if isinstance(runner, WorkerRunner):
            OpenLoopUser.worker = distributed.Worker(runner)
            return
        if isinstance(runner, MasterRunner):
            Shape.master = distributed.Master(runner)
        if web_ui:
            web.extend(web_ui, environment, lambda options: Settings.of(workload, options))
        try:
            Settings.of(workload, environment.parsed_options)
        except ValueError as error:
            print(error, file=sys.stderr)
            sys.exit(2)

    @events.test_start.add_listener
    def begin(environment, **_):
        if Shape.master:
            settings = Settings.of(workload, environment.parsed_options)
            try:
                Shape.master.start(Report(settings, environment.parsed_options.reports, distributed.LEAD))
            except OSError as error:  # nothing is waited for, so that the run ends at once
                log.error("%s: %s; nothing is sent", error.filename, error.strerror)
                environment.process_exit_code = 1
        Shape.started, Shape.over = True, False

    @events.test_stop.add_listener
    def end(environment, **_):
        Shape.started = False
        if Shape.master and (verdict := Shape.master.stop()):
            environment.process_exit_code = verdict.exit_code
