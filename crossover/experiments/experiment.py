"""What capacity, efficiency and study share: a directory of blocks, the flags, and how a run ends, whatever ends it."""

import argparse
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from common import atomic_write
from common.messages import one_line
from crossover import report_command as report
from crossover.experiments.compare import tables
from crossover.measurement import host, resume
from crossover.measurement.progress import Progress
from crossover.measurement.retry import Attempts
from crossover.measurement.run_directory import FORMAT, make_name
from crossover.measurement.unloaded_latency import measure_unloaded_latency
from loadgen import command, interrupts
from loadgen.arm import Arm, Mode
from loadgen.arrivals import Arrivals, Schedule
from loadgen.arrivals.checks import check_positive
from serving.server import Server, Unavailable
from workloads import payloads
from workloads.workload import IMAGE, WORKLOADS, Workload

ASKED = ("workloads", "seconds", "library")  # what makes it this experiment and no other, beside its own


class Experiment:
    """A directory in which blocks are measured, and its run.json."""

    continues = True
    """Whether it can go on with what an interrupted run has measured."""
    own: tuple[str, ...] = ()
    """The flags that only this experiment has, or differently."""

    def __init__(self, options, kind: str):
        self.options, self.kind = options, kind
        self.progress = Progress()
        self.attempts = Attempts(lambda: Server.at(options.url, Path(options.state)), self.progress.print_line)
        self.sent = {name: payloads.load(WORKLOADS[name], getattr(options, name)) for name in options.workloads}
        self.cores = host.free_cores(self.server.cores)
        self.directory: Path | None = None

    @property
    def server(self) -> Server:
        return self.attempts.server

    @property
    def further(self) -> str:
        """How to go on with it after an interruption."""
        return f"; go on with --continue {self.directory}" if self.directory and self.continues else ""

    def begin(self) -> None:
        """Raises Unavailable, ValueError if what is to be continued was another experiment."""
        steps = tuple(step for name in self.options.workloads for step in WORKLOADS[name].steps)
        self.described = {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "complete": False,
            "kind": self.kind,
            "format": FORMAT,
            "argv": ["python", "-m", f"loadgen.{self.kind}", *sys.argv[1:]],
            "seed": self.options.seed,
            "asked": resume.asked(self.options, (*ASKED, *self.own), self.sent),
            "server": self.server.facts(steps),
            "engine": self.server.state.get("engine"),
            "cores": {"client": self.cores, "server": self.server.cores},
            "machine": host.describe(),
            "workloads": {},
        }
        if before := self.options.continued:
            self.described = resume.again(Path(before), self.kind, self.described)
        host.pin(self.cores)
        self.directory = Path(before or Path(self.options.reports) / make_name(self.kind))
        self.directory.mkdir(parents=True, exist_ok=bool(before))
        if not before:
            self.write({})
        print(tables.setting(self.described), flush=True)

    def write(self, result: dict) -> None:
        """run.json, and the result so far."""
        for name, content in (("run", self.described), (self.kind, result)):
            atomic_write.write_json(self.directory / f"{name}.json", content)

    def library(self, workload: Workload) -> str:
        return self.options.library if workload is IMAGE else ""

    def back_to_back(self, workload: Workload) -> dict[str, float]:
        print(f"\n{workload.name}: one request at a time ...", flush=True)
        means = measure_unloaded_latency(self.server, workload, self.library(workload), self.sent[workload.name])
        print(", ".join(f"{placement} {mean * 1e3:.3g} ms" for placement, mean in means.items()), flush=True)
        return means


def exactly(make: Callable[[float], Arrivals], rate: float, n: int, seed: int) -> Schedule:
    """n arrivals in n / rate seconds, of the process that `make` gives for a rate, which only scales its time.

    The rate is set so that the seed's arrival n + 1 would be the first beyond the end. Of Poisson arrivals that is the
    process given its count; a bursty one's count would otherwise be off by cv / sqrt(n), and so would the load.
    """
    seconds = 2.0 * n
    while len(times := make(1.0).schedule(seconds, seed).times) <= n:
        seconds *= 2
    end = times[n] - 1e-6 * max(times[n] - times[n - 1], 1e-3)
    return make(rate * end / n).schedule(n / rate, seed)


def flags(parser: argparse.ArgumentParser, seconds: float, what: str) -> None:
    """Those that all experiments share; those that can go on after an interruption have continued.flag, too."""
    parser.add_argument("workloads", nargs="*", default=[], metavar="image|audio", help="default: both")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--state", default=".run", help="the launcher's state directory")
    parser.add_argument("--seconds", type=float, default=seconds, help=what)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", default="", help=f"of the image clients: {', '.join(IMAGE.libraries)}")
    parser.add_argument("--image", metavar="DIR", default="", help="photographs to send instead of the built-in ones")
    parser.add_argument("--audio", metavar="DIR", default="", help="clips to send instead of the built-in ones")
    parser.add_argument("--reports", default="reports")
    parser.set_defaults(continued="")


def checked(options) -> None:
    """Raises ValueError."""
    options.workloads = list(dict.fromkeys(options.workloads)) or list(WORKLOADS)
    if unknown := [name for name in options.workloads if name not in WORKLOADS]:
        raise ValueError(f"unknown workload {unknown[0]!r}; try one of {', '.join(WORKLOADS)}")
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, not {options.seed}")
    check_positive(seconds=options.seconds)
    resume.check(options)
    Arm(IMAGE, "client", Mode("sequential"), options.library)


def conducted(experiment: Experiment) -> int:
    """Run it; what was measured is printed and becomes a report, however it ends."""
    code = 0
    began = time.monotonic()
    try:
        experiment.run()
    except KeyboardInterrupt:
        experiment.progress.finish_line()
        print(f"\ninterrupted: what follows is what was measured until here{experiment.further}")
        code = command.INTERRUPTED
    except ValueError as error:
        print(one_line(error), file=sys.stderr)
        return 1
    except (OSError, Unavailable) as error:
        experiment.progress.finish_line()
        print(one_line(error) + experiment.further, file=sys.stderr)
        code = 1
    if not experiment.directory:
        return code
    try:
        with interrupts.defer_interrupts():
            print("\n" + report.text(experiment.directory, report.write(experiment.directory)))
            minutes = (time.monotonic() - began) / 60
            print(f"\nafter {minutes:.1f} min: {experiment.directory}, with {experiment.kind}.json and report.html")
    except KeyboardInterrupt:
        print(f"\ninterrupted; its report can be made (again) by: python -m loadgen.report {experiment.directory}")
        return command.INTERRUPTED
    except (OSError, ValueError) as error:
        print(f"no report: {one_line(error)}", file=sys.stderr)
        return code or 1
    return code
