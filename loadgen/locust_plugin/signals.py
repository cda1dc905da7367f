"""End Locust on SIGTERM and SIGHUP as on Ctrl-C, at every moment from the import of the locustfile on.

Locust installs its own SIGTERM handler only when a headless run is over already; until then SIGTERM ends the process at
once, and with a web page no HTML report is written. Its Ctrl-C stops a master before the workers have sent what they
have. Here a signal ends a run as its shape does: the workers are told to stop, and the master waits for them.
"""

import logging
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import gevent
import psutil
from locust import events
from locust.env import Environment
from locust.runners import STATE_INIT, STATE_STOPPED, MasterRunner, Runner, WorkerRunner

from loadgen import command, interrupts
from loadgen.locust_plugin import first_signals

gevent.hub.Hub.NOT_ERROR = (*gevent.hub.Hub.NOT_ERROR, KeyboardInterrupt)  # who catches Ctrl-C says so, not the hub
log = logging.getLogger("crossover")
GRACE = 5.0
"""Seconds that a worker waits after a signal for its master, which may have got the signal, too, and end the run."""


class SignalHandler:
    """Ends this process in the way that fits how far Locust has come."""

    def __init__(self):
        """Begin where Locust has only begun to read the locustfile."""
        self.stop_run: Callable[[], None] = lambda: None
        """Asks the run's shape to end it."""
        self.environment: Environment | None = None
        """Locust's environment; None until Locust has made it."""
        self.has_run = False
        """True once a run has begun."""

    def __call__(self, count: int) -> None:
        """Handle the `count`-th signal; from the second on, nothing is waited for."""
        on_interrupt = signal.getsignal(signal.SIGINT)  # ignored where a script started us in the background
        if callable(on_interrupt) and on_interrupt is not interrupts.handle:  # Locust's, of a parent of workers
            for child in psutil.Process().children():
                child.send_signal(signal.SIGTERM)
        elif count > 1 or self.environment is None:
            self.give_up()
        elif isinstance(self.environment.runner, WorkerRunner):
            gevent.spawn(self.end_worker, self.environment.runner)
        elif is_headless(self.environment) and not self.has_run:
            self.give_up()
        else:
            gevent.spawn(self.end_run, self.environment)

    def give_up(self) -> None:
        """End this process without waiting for what is running.

        Before a run no exception is raised for it, which could be lost: a workload's functions are guarded against
        `exit()`, and some libraries swallow SystemExit while they are imported.
        """
        if self.has_run:
            sys.exit(command.INTERRUPTED)
        runner = self.environment.runner if self.environment else None
        if isinstance(runner, MasterRunner) and gevent.getcurrent() is gevent.get_hub():
            gevent.spawn(give_up_first, runner)  # the hub cannot wait until the workers are told
        else:
            give_up_first(runner)

    def end_run(self, environment: Environment) -> None:
        """End the run of the master, or of the only process; with a web page, end Locust, too.

        Headless Locust ends by itself after its run; a page does not.
        """
        runner = environment.runner
        log.info("interrupted: the run ends here")
        self.stop_run()
        if runner is None or is_headless(environment):
            return
        while runner.shape_greenlet or runner.state not in (STATE_INIT, STATE_STOPPED):
            gevent.sleep(0.1)
        gevent.sleep(0.5)  # so that Locust's main function has gone on to wait for the page
        raise KeyboardInterrupt  # which it takes for Ctrl-C

    def end_worker(self, runner: WorkerRunner) -> None:
        """Stop the worker's share, which sends the master what there is, and wait until the master ends the run."""
        log.info("interrupted: this worker ends here")
        runner.stop()
        if not runner.greenlet.join(timeout=GRACE):  # its quit ends all of them
            raise KeyboardInterrupt


def leave(runner: Runner | None, code: int) -> NoReturn:
    """End this process and its workers, which have nothing to tell yet: Locust would let them wait for a minute."""
    end_workers(runner)
    sys.exit(code)


def give_up_first(runner: Runner | None) -> NoReturn:
    """End this process and its workers on a signal before anything was sent."""
    end_workers(runner)
    first_signals.give_up(1)


def end_workers(runner: Runner | None) -> None:
    """End the workers that this process has started, and a master's on other machines."""
    for worker in psutil.Process().children():
        worker.kill()
    if isinstance(runner, MasterRunner):
        runner.quit()


def is_headless(environment: Environment) -> bool:
    """Return True if Locust runs without a web page."""
    return bool(environment.parsed_options and environment.parsed_options.headless)


handler = SignalHandler()


def install() -> None:
    """Handle signals in the process that imports the locustfile; the processes that it forks inherit the handler.

    Call it in a locustfile before all imports that take long.
    """
    install_handler = gevent.signal_handler
    interrupts.install(handler)

    def install_others(number: int, *arguments, **options):
        return None if number == signal.SIGTERM else install_handler(number, *arguments, **options)

    # Locust would install a SIGTERM handler of its own, in addition to this one.
    setattr(gevent, "signal_handler", install_others)  # noqa: B010  # gevent declares it as a class

    @events.init.add_listener
    def ready(environment, **_):
        handler.environment = environment

    @events.test_start.add_listener
    def begin(**_):
        handler.has_run = True
