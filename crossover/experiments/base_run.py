"""A measurement with options, from its beginning to its exit code: whatever ends it is one line."""

import sys
import time
from abc import ABC, abstractmethod
from argparse import Namespace

from common import address
from common.messages import end_clause, one_line
from crossover.measurement.progress import Progress
from crossover.report.kind import BROKEN, GOOD, USAGE
from loadgen.command import INTERRUPTED
from serving import Failure
from serving.server import Unavailable


class Run(ABC):
    """A measurement with options, from its beginning to its exit code; `options.command` is what errors begin with.

    A subclass says what is measured in `measure`; `conduct` calls it and turns whatever ends it into one line and a
    code:

    - Ctrl-C, SIGTERM and SIGHUP: a line on stdout, INTERRUPTED;
    - ValueError, from options that do not fit what is there: a line on stderr, USAGE, no report;
    - Unavailable, Failure, OSError, from a server, a launcher or a disk: a line on stderr, BROKEN.

    Other exceptions are faults of this program, and keep their traceback.
    """

    def __init__(self, options: Namespace):
        self.options = options
        self.progress = Progress()

    @abstractmethod
    def measure(self) -> None:
        """Measure. Raises Unavailable, Failure or OSError if something breaks, ValueError for wrong usage."""

    @property
    def hint(self) -> str:
        """How to go on after an interruption; follows what is printed then."""
        return ""

    @property
    def when_interrupted(self) -> str:
        """What is printed after Ctrl-C, SIGTERM or SIGHUP."""
        return "interrupted"

    def conduct(self) -> int:
        """Measure, and report what was measured however that ends. Returns the exit code, as in `report.kind`."""
        began = time.monotonic()
        code = GOOD
        try:
            self.measure()
        except KeyboardInterrupt:
            self.progress.finish_line()
            print(f"\n{self.when_interrupted}")
            code = INTERRUPTED
        except ValueError as error:
            self.progress.finish_line()
            self.print_error(one_line(error))
            return USAGE
        except (OSError, Unavailable, Failure) as error:
            self.progress.finish_line()
            text, death = end_clause(error), address.find_death(getattr(self.options, "url", ""))
            self.print_error(text + (f"; {death}" if death and death not in text else "") + self.hint)
            code = BROKEN
        return self.report(code, began)

    def print_error(self, text: str) -> None:
        """Print a line on standard error, after the command's path, as every error of the command line."""
        print(f"{self.options.command}: {text}", file=sys.stderr)

    def report(self, code: int, began: float) -> int:
        """Report a run that ended with this exit code so far. Returns the final one.

        `began` is when it did, in seconds of the monotonic clock. A plain Run has nothing to report.
        """
        return code

    def document(self) -> dict:
        """Return what --json prints of the run, beside its exit code."""
        return {}

    def verdict(self) -> str:
        """Return what --quiet prints: the sentences that say what was found; empty if nothing was."""
        return ""
