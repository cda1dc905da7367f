"""Locust ended by SIGTERM or SIGHUP as by Ctrl-C, at every moment from the import of the locustfile on.

Locust's own SIGTERM handler comes when a headless run is over already; until then SIGTERM ends the process at once, and
in the process of a page it writes no HTML report. Its Ctrl-C stops a master before the workers have sent what they
have. So a signal here ends a run as its shape does: the workers are told to stop, and the master waits for them.
"""

import atexit
import logging
import signal
import sys
from collections.abc import Callable

import gevent
import psutil
from locust import events
from locust.runners import STATE_INIT, STATE_STOPPED, MasterRunner, WorkerRunner

from loadgen import command, interrupts

gevent.hub.Hub.NOT_ERROR = (*gevent.hub.Hub.NOT_ERROR, KeyboardInterrupt)  # who catches Ctrl-C says so, not the hub
log = logging.getLogger("crossover")
GRACE = 5.0  # seconds in which a worker that was signalled waits for its master, which may end the run for all


class Ending:
    """What a request to end does, by how far Locust has come; `stop_run` asks a run's shape to end it."""

    def __init__(self, stop_run: Callable[[], None]):
        self.stop_run = stop_run
        self.environment = None
        self.begun = False
        """Has a run begun, ever?"""

    def __call__(self, count: int) -> None:
        on_interrupt = signal.getsignal(signal.SIGINT)  # ignored where a script started us in the background
        if callable(on_interrupt) and on_interrupt is not interrupts.handle:  # Locust's, of a parent of workers
            for child in psutil.Process().children():
                child.send_signal(signal.SIGTERM)
        elif count > 1 or self.environment is None:
            self.give_up()
        elif isinstance(self.environment.runner, WorkerRunner):
            gevent.spawn(self.end_worker)
        elif self.environment.parsed_options.headless and not self.begun:
            self.give_up()
        else:
            gevent.spawn(self.end_run)

    def give_up(self) -> None:
        """End this process; what is running is not waited for."""
        runner = self.environment and self.environment.runner
        if not self.begun:
            print("interrupted before anything was sent", file=sys.stderr)
            if isinstance(runner, MasterRunner):
                atexit.register(runner.quit)  # its workers would wait for ever
        sys.exit(command.INTERRUPTED)

    def end_run(self) -> None:
        """Of the master, or of the only process. Headless Locust ends by itself when its run has; a page does not."""
        runner, options = self.environment.runner, self.environment.parsed_options
        log.info("interrupted: the run ends here")
        self.stop_run()
        if options.headless:
            return
        while runner.shape_greenlet or runner.state not in (STATE_INIT, STATE_STOPPED):
            gevent.sleep(0.1)
        gevent.sleep(0.5)  # so that Locust's main function has gone on to wait for the page
        raise KeyboardInterrupt  # which it takes for Ctrl-C

    def end_worker(self) -> None:
        """Send the master what there is, and stay until it has said that it needs nothing more."""
        log.info("interrupted: this worker ends here")
        runner = self.environment.runner
        runner.stop()
        if not runner.greenlet.join(timeout=GRACE):  # its quit ends all of them
            raise KeyboardInterrupt


def install(stop_run: Callable[[], None]) -> None:
    """In the process that imports the locustfile; those that it forks inherit it."""
    ending, install_handler = Ending(stop_run), gevent.signal_handler
    interrupts.install(ending)

    def install_others(number: int, *arguments, **options):
        return None if number == signal.SIGTERM else install_handler(number, *arguments, **options)

    gevent.signal_handler = install_others  # Locust's for SIGTERM, which would come on top of ours

    @events.init.add_listener
    def ready(environment, **_):
        ending.environment = environment

    @events.test_start.add_listener
    def begin(**_):
        ending.begun = True
