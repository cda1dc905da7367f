"""The open loop as a Locust user, with its command line, its web form and its statistics.

Locust runs one user per process; that user's only task offers the whole schedule. Users, spawn rate and wait times,
Locust's own ways to make load, are closed loops and play no part: the shape below asks for the one user and ends the
run when every arrival has its sample.
"""

import logging
import os
import platform
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import gevent
from locust import LoadTestShape, User, events, task
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

import arrivals
from common import access, address, login
from loadgen.client.closed_loop import ClosedLoop
from loadgen.client.loop import Loop
from loadgen.client.open_loop import OpenLoop
from loadgen.locust_plugin import console, distributed, flags, signals
from loadgen.locust_plugin.options import Settings, check_options, find_out
from loadgen.locust_plugin.run_recorder import Meter, RunRecorder
from loadgen.locust_plugin.web_ui import extend
from loadgen.metrics import exporter
from loadgen.samples.journal import Journal
from loadgen.samples.sample import COMPLETED, Sample
from loadgen.samples.verdict import Facts
from workloads.model_config import check_answers
from workloads.workload import Workload

log = logging.getLogger("crossover")


class Shape(LoadTestShape):
    """Asks for one user per process until every process has offered its share, then ends the run.

    Its state is the class's: Locust makes the object, and a process has one run at a time.
    """

    over: ClassVar[bool] = False
    """True once the only process has offered its schedule."""
    master: ClassVar[distributed.Master | None] = None
    """Gathers the workers' samples; None in a process that is no master."""
    started: ClassVar[bool] = False
    """True between the start of a run and its end."""
    interrupted: ClassVar[bool] = False
    """True after a signal: no further run starts."""

    @classmethod
    def interrupt(cls) -> None:
        """End the run at the next tick, within a second."""
        Shape.interrupted = True

    def tick(self) -> tuple[int, int] | None:
        """Return (users, spawn rate) once a second, as Locust asks; None ends the run."""
        if Shape.interrupted:
            return None
        if Shape.master and not Shape.started and not Shape.master.alive:
            return None  # else it would begin by itself once two workers have come
        if Shape.started and (Shape.master.finished if Shape.master else Shape.over):
            return None
        return max(1, len(Shape.master.alive)) if Shape.master else 1, 100


class OpenLoopUser(User):
    """The user that offers the schedule. Subclasses name the workload; `install` connects it with Locust."""

    abstract = True
    workload: Workload
    worker: ClassVar[distributed.Worker | None] = None
    """The connection to the master; None in a process that is no worker."""
    host = address.find_started()

    @task
    def offer(self) -> None:
        """Offer the schedule, or a worker's share of it; an error ends the process with exit code 1."""
        try:
            if self.worker:
                self.offer_share(self.worker, self.worker.wait_for_share())
            else:
                self.offer_all()
        # A worker lacks the files that the others have, or a server cannot say what the workload leaves open.
        except (ValueError, ConnectionError) as error:
            print(error, file=sys.stderr)
            self.environment.process_exit_code = 1
        except OSError as error:  # from writing samples; whatever the server does is a sample
            print(f"{distributed.name_fault(error)}; the run ends here", file=sys.stderr)
            self.environment.process_exit_code = 1
        finally:
            Shape.over = True
        gevent.sleep(3600)  # the shape stops this user within a second

    def read_settings(self) -> Settings:
        """Return what was asked for, with what only the server knows. Raises ConnectionError if it does not answer."""
        options, url = self.environment.parsed_options, self.environment.host or self.host
        access.grant_without_login(url, options.cacert, options.insecure)  # to a worker its master names the host
        settings = Settings.from_options(self.workload, options)
        return replace(settings, arm=find_out(settings.arm, url, options))

    def offer_all(self) -> None:
        """Offer the whole schedule as the only process, record it, and set the exit code by its verdict."""
        settings = self.read_settings()
        settings.arm.preprocessor()  # imports its library before the run
        recorder = RunRecorder(settings, self.environment.parsed_options.reports)
        recorder.observe(find_shown_server(self.environment), own=True)
        facts = None
        try:
            facts = self.run_loop(settings, recorder.record, recorder.journal)
        except OSError as error:  # first of all: what follows is of the samples that were written before
            log.error("%s; the run ends here", distributed.name_fault(error))
            facts = self.facts(False, distributed.name_fault(error))
        finally:
            self.environment.process_exit_code = recorder.close(facts or self.facts(False)).exit_code

    def offer_share(self, worker: distributed.Worker, share: distributed.Share) -> None:
        """Offer this worker's share of the schedule, with a journal of its own, and report its end to the master.

        The end is reported whatever happens, so that the master does not wait. Raises ValueError if the options are
        wrong on this machine, OSError if the journal cannot be written.
        """
        directory = Path(self.environment.parsed_options.reports) / share.name
        try:
            settings = self.read_settings()
            share.compare(settings)
            journal = worker.journal = Journal(directory / distributed.journal_name(share.index))
        except BaseException as error:  # also a stop by Locust: the master need not wait
            cause = distributed.name_fault(error) if isinstance(error, OSError) else str(error)
            where = f"worker {share.index} on {platform.node()}: "
            worker.report_end(Facts(None, 0.0, complete=False, cause=where + cause if cause else ""))
            raise

        facts = None
        try:
            facts = self.run_loop(settings, worker.record, journal, share)
        except OSError as error:
            facts = self.facts(False, distributed.name_fault(error))
            raise
        finally:
            worker.report_end(facts or self.facts(False))
            journal.close()

    def run_loop(
        self,
        settings: Settings,
        take: Callable[[Sample], None],
        journal: Journal,
        share: distributed.Share | None = None,
    ) -> Facts:
        """Offer the whole schedule, or this process's share of it; return what the run is judged by.

        `take` is called for every sample, in this greenlet; the journal gets it first, and Locust's statistics last.
        Raises OSError if the journal cannot be written.
        """

        def record(sample: Sample) -> None:
            take(sample)
            self.fire_request_event(settings, sample)

        host = self.environment.host or self.host
        client = settings.arm, host, record, settings.timeout, journal, gevent.sleep
        plan = settings.plan()
        if share:
            plan = replace(plan, start=share.start, first=share.index, stride=share.count)
        self.meter = Meter(plan.start / 1e9) if isinstance(plan.start, int) else Meter()
        self.loop: Loop
        if isinstance(process := settings.process, arrivals.Closed):
            self.loop = ClosedLoop(int(process.users), process.think, settings.seconds, *client)
        else:
            self.loop = OpenLoop(*client)
        exporter.find_arm(settings.arm).begin(settings.dues, self.loop)
        if self.worker:
            self.worker.count_fired = lambda: self.loop.fired
        self.loop.run(plan)
        return self.facts(True)

    def facts(self, complete: bool, cause: str = "") -> Facts:
        """Return the facts of this process's loop so far; `complete` unless it was cut short, by that `cause`."""
        return self.meter.facts(self.loop, complete, cause, isinstance(self.loop, ClosedLoop))

    def fire_request_event(self, settings: Settings, sample: Sample) -> None:
        """Count the sample in Locust's statistics.

        Only a good answer has a response time there; anything else counts as a request and as a failure. A rejection
        is fast and would make the server look so.
        """
        good = sample.status == COMPLETED
        self.environment.events.request.fire(
            request_type=settings.arm.placement,
            name=str(settings.arm),
            response_time=sample.latency * 1e3 if good else None,
            response_length=sample.bytes_down,
            exception=None if good else RuntimeError(f"{sample.status}: {sample.reason}"),
            context={},
        )


def check_start(environment: Environment, patience: float = 5.0) -> None:
    """Raise ValueError, with one line, if the page cannot start a run now; one that is ending gets `patience` seconds.

    Locust itself says that it has started one, and ignores the form, or drops the run that is ending.
    """
    runner, deadline = environment.runner, time.monotonic() + patience
    while Shape.started or (runner and runner.shape_greenlet):
        going_on = runner and runner.state in (STATE_SPAWNING, STATE_RUNNING)
        if going_on or time.monotonic() > deadline:
            raise ValueError("a run is under way: stop it, or wait for its end, before the next one")
        gevent.sleep(0.05)
    if Shape.master and not Shape.master.alive:
        raise ValueError("no worker is connected: start one with --worker first")


def find_shown_server(environment: Environment) -> str:
    """Return the address of the server whose queues a page shows; "" where Locust has no page."""
    return (environment.host or OpenLoopUser.host) if environment.web_ui else ""


def reach_host(options: Namespace) -> None:
    """Give the login of the environment to the server of --host, and to no other that a form or a master may name.

    Raises ValueError as `access.grant` does.
    """
    if options.host:
        access.grant(options.host, options.cacert, options.insecure)
    elif options.cacert or options.insecure:
        raise ValueError("--cacert and --insecure are about the server of --host https://..., and there is no --host")
    elif login.read_authorization(os.environ):
        log.warning("without --host, no server is sent the login of the environment; a worker needs it, too")


def warn_of_silence(url: str) -> None:
    """Print a line if no server answers at `url`: the page starts nevertheless, as one may come or another be named."""
    try:
        check_answers(url)
    except (ValueError, ConnectionError) as error:  # ValueError: it wants another login
        print(f"!! {error}; the page starts, and sends nothing before a server answers", file=sys.stderr)


_installed: list[str] = []  # the workload of the run, once its locustfile has been read


def install(workload: Workload) -> None:
    """Register the workload's options, their checks and the messages between processes with Locust.

    Call it once in a locustfile, at import. Locust exits with 2, and one line, if the options are wrong, or if it reads
    a second locustfile.
    """
    if _installed:
        both = f"{_installed[0]} and {workload.name}"
        print(f"two locustfiles ({both}): a run sends one workload, so give -f one file", file=sys.stderr)
        sys.exit(2)
    _installed.append(workload.name)
    signals.handler.stop_run = Shape.interrupt
    events.init_command_line_parser.add_listener(partial(flags.extend, workload=workload))

    check = partial(check_options, workload, OpenLoopUser.host)

    @events.init.add_listener
    def prepare(environment, runner, web_ui, **_) -> None:
        console.install()
        options = environment.parsed_options
        try:
            reach_host(options)
        except ValueError as error:
            print(error, file=sys.stderr)
            signals.leave(runner, 2)
            return
        if isinstance(runner, WorkerRunner):
            OpenLoopUser.worker = distributed.Worker(runner, workload.name)
            return
        if isinstance(runner, MasterRunner):
            Shape.master = distributed.Master(runner)
            environment.dispatcher_class = distributed.OneUserEach
        if options.metrics_port:
            try:
                metrics = exporter.start(options.metrics_host, options.metrics_port).metrics
            except ValueError as error:  # somebody took the port since it was tried
                print(error, file=sys.stderr)
                signals.leave(runner, 2)
            if Shape.master:
                metrics.count_workers = Shape.master.count_workers
        if web_ui:

            def check_form(form: Namespace) -> None:
                check(form)
                check_start(environment)

            extend(web_ui, environment, check_form, workload.subject or workload.name, workload.name)
        try:
            at_once = options.headless or options.autostart
            check(options, answers=at_once)
            if not at_once:
                warn_of_silence(options.host or OpenLoopUser.host)
        except (ValueError, ConnectionError) as error:
            print(error, file=sys.stderr)
            signals.leave(runner, 2 if isinstance(error, ValueError) else 1)

    @events.test_start.add_listener
    def start_run(environment, **_) -> None:
        if Shape.master:
            settings = Settings.from_options(workload, environment.parsed_options)
            try:
                recorder = RunRecorder(settings, environment.parsed_options.reports, distributed.LEAD)
                recorder.observe(find_shown_server(environment), own=False)
                Shape.master.start(recorder)
            except OSError as error:  # the master then waits for no worker, and the run ends at once
                log.error("%s; nothing is sent", distributed.name_fault(error))
                environment.process_exit_code = 1
        Shape.started, Shape.over = True, False

    @events.test_stop.add_listener
    def stop_run(environment, **_) -> None:
        try:
            if Shape.master and (verdict := Shape.master.stop()):
                environment.process_exit_code = verdict.exit_code
        except OSError as error:  # the disk is full: the journals stay
            log.error("%s", distributed.name_fault(error))
            environment.process_exit_code = 1
        finally:
            Shape.started = False

    @events.quitting.add_listener
    def leave_metrics(environment, **_) -> None:
        if exporter.current and not Shape.interrupted:
            exporter.current.wait_for_fetch(log.info, gevent.sleep)
