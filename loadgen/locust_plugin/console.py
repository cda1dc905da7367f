"""What the console shows: Locust's tables while a run goes on, and then a few lines of ours on what it came to."""

import logging

from locust import events

log = logging.getLogger("crossover.run")
"""Of what a run comes to: its lines have no time and no name before them."""


class TablesWhileRunning(logging.Filter):
    """Lets Locust's tables of requests through only while a run goes on; its report of errors always.

    Behind the end of a run Locust repeats its table, and adds one of percentiles, which are rounded: what a run
    came to has been said then.
    """

    running = False
    _errors = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line of Locust's is shown."""
        self._errors = not self.running and (self._errors or record.msg == "Error report")
        return self.running or self._errors

    def begin(self, **_) -> None:
        """Let the tables through: a run begins."""
        self.running = True

    def end(self, **_) -> None:
        """Let the report of errors through, and no table."""
        self.running = self._errors = False


def write_plainly() -> None:
    """Let `log` write as Locust writes its tables: also into the page's tab of logs, and a log file if there is one."""
    tables, root = logging.getLogger("locust.stats_logger"), logging.getLogger()
    log.handlers = [*tables.handlers, *(each for each in root.handlers if each.name == "file")]
    log.propagate = not log.handlers
    log.setLevel(logging.INFO)


def install() -> None:
    """Set up the console of this process; call it once, when Locust has set up its logging."""
    write_plainly()
    tables = TablesWhileRunning()
    logging.getLogger("locust.stats_logger").addFilter(tables)
    events.test_start.add_listener(tables.begin)
    events.test_stop.add_listener(tables.end)
