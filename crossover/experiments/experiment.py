"""One life of a run: its directory and run.json, how it resumes, how it is interrupted, its report and exit code.

A `Run` measures something and leaves nothing behind; an `Experiment` leaves a directory and a report; a
`ServerExperiment` is one on a server that is already up. What is measured is each experiment's own `measure`.
"""

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from argparse import Namespace
from pathlib import Path

from common import atomic_write
from common.messages import one_line
from crossover.measurement import host, resume, unloaded_latency
from crossover.measurement.progress import Progress
from crossover.measurement.retry import Retries
from crossover.measurement.run_directory import FORMAT, lock, make_name, now, read_run_trials
from crossover.report import kind as reporting
from crossover.report.format import listed
from crossover.report.kind import BROKEN, GOOD, USAGE, Kind
from loadgen import interrupts
from loadgen.command import INTERRUPTED
from serving import Failure
from serving.server import Server, Unavailable
from workloads import flags
from workloads.model_config import complete
from workloads.prepare_check import check_workload
from workloads.workload import Workload


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
            self.print_error(one_line(error) + self.hint)
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


class Experiment(Run):
    """A run in a directory of its own: trials, run.json and the report made from them.

    `measure` calls `begin` first and `complete` last; what it writes in between is enough to resume.
    """

    kind: Kind
    resumable = True
    """Whether --continue can take up what an interrupted run has measured."""
    identity: tuple[str, ...] = ()
    """The options that make a run this experiment and no other: --continue refuses a run with others."""

    def __init__(self, options: Namespace):
        super().__init__(options)
        self.directory = Path(options.continued or Path(options.reports) / make_name(self.kind.name))
        self.begun = False
        """Whether the directory is this run's."""
        self.described: dict = {}
        """The content of run.json."""
        self._taken: int | None = None  # what keeps others from measuring in the directory
        self.verdicts: list[str] = []
        """The sentences that say what was found, once the report is written."""

    def conduct(self) -> int:
        """Do as every run, and let others measure in the directory then."""
        try:
            return super().conduct()
        finally:
            if self._taken is not None:
                os.close(self._taken)
                self._taken = None

    @property
    def hint(self) -> str:
        """How to go on, if the directory is this run's and can be resumed."""
        return f"; go on with --continue {self.directory}" if self.begun and self.resumable else ""

    @property
    def when_interrupted(self) -> str:
        """What is printed: how to go on, or that there is nothing to go on with."""
        if not self.begun:
            return "interrupted before anything was measured"
        if self.kind.has_trials and not any(self.directory.rglob("round-*.json")):
            return f"interrupted before the first trial, so that there are no results yet{self.hint}"
        return f"interrupted: what follows is what was measured until here{self.hint}"

    def describe(self) -> dict:
        """Return the content of run.json at the beginning. Raises Unavailable."""
        return {
            "created": now(),
            "complete": False,
            "kind": self.kind.name,
            "format": FORMAT,
            "argv": self.options.argv,
            "options": self.options.given,
            "seed": self.options.seed,
            "asked": resume.describe_identity(self.options, self.identity, {}),
            "machine": host.describe(),
        }

    def begin(self) -> None:
        """Make the directory, or take up that of an interrupted run, and write run.json.

        Raises Unavailable before anything is written; ValueError if the interrupted run was another experiment, or if
        the directory cannot be made.
        """
        self.described = self.describe()
        if self.options.continued:
            self._taken = lock(self.directory)
            self.described = resume.resume_run(self.directory, self.kind.name, self.described)
        # A new run shares its directory with no other, not even with one that was begun in the same second.
        try:
            self.directory.mkdir(parents=True, exist_ok=bool(self.options.continued))
        except OSError as error:
            if isinstance(error, FileExistsError) and error.filename == str(self.directory):
                raise
            why = f"cannot make {error.filename}: {error.strerror}"
            raise ValueError(f"--reports {self.options.reports}: {why}") from None
        if self._taken is None:
            self._taken = lock(self.directory)
        self.write()
        # From here on there is something to resume, and to report.
        self.begun = True

    def write(self) -> None:
        """Write run.json, whole or not at all. Raises OSError."""
        atomic_write.write_json(self.directory / "run.json", self.described)

    def complete(self) -> None:
        """Note in run.json that the run came to its end."""
        self.described["complete"] = True
        self.write()

    def remarks(self) -> list[str]:
        """Return lines to print after the results."""
        return []

    def report(self, code: int, began: float) -> int:
        """Make the figures and the page from what lies in the directory, and print them. Returns the exit code.

        A first Ctrl-C waits until the page is written, a second one cuts it short; the page is whole or not there.
        Where nothing was measured there is no report.
        """
        if not self.begun:
            return code
        try:
            with interrupts.defer_interrupts():
                # A run that was cut short before its first trial leaves nothing but its run.json.
                if self.kind.has_trials and not read_run_trials(self.directory, self.described):
                    return code or BROKEN
                result, trials = reporting.write_report(self.kind, self.directory)
                if not self.kind.has_figures(result, trials):
                    return code or BROKEN
                self.verdicts = self.kind.verdicts(result)
                advice = self.kind.advise(result, self.directory)
                text = self.kind.text(result, explain=self.options.explain)
                print("\n" + "\n".join([text, *advice, *self.remarks()]))
                print(f"\nafter {(time.monotonic() - began) / 60:.1f} min, {self.kind.leaves}: {self.directory}")
        except KeyboardInterrupt:
            print(f"\ninterrupted; its report can be made (again) by: crossover report {self.directory}")
            return INTERRUPTED
        except (OSError, ValueError) as error:
            self.print_error(f"no report: {one_line(error)}")
            return code or BROKEN
        return code or self.kind.exit_code(result, trials)

    def document(self) -> dict:
        """Return where the run lies, whether it came to its end, its verdict, and the content of its result's file."""
        if not self.begun:
            return {}
        file = self.directory / self.kind.file
        return {
            "directory": str(self.directory),
            "complete": self.described["complete"],
            "verdict": self.verdicts,
            "result": json.loads(file.read_text()) if self.verdicts or file.is_file() else None,
        }

    def verdict(self) -> str:
        """Return the sentences that say what was found, a line each."""
        return "\n".join(self.verdicts)


class ServerExperiment(Experiment):
    """An experiment on a server that is up, with options that `check_server_options` has completed.

    `inputs` are the payloads of each workload, `cores` those of the client. Its trials go through `retries`, which
    repeat what went wrong and find the server again where it was restarted.
    """

    tried: int | None = 1
    """How many payloads of a user's own workload are prepared before the run; None: all."""

    def __init__(self, options: Namespace):
        super().__init__(options)
        self.retries = Retries(lambda: Server.at(options.url, Path(options.state)), self.progress.print_line)
        self.inputs = flags.load(options.payloads, options.workloads)
        self.cores = host.free_cores(self.server.cores)
        """The client's."""

    @property
    def server(self) -> Server:
        """The server that is measured; another one after it was restarted."""
        return self.retries.server

    def describe(self) -> dict:
        """Return the content of run.json at the beginning, with server, cores and inputs. Raises Unavailable."""
        steps = tuple(dict.fromkeys(step for each in self.options.workloads.values() for step in each.steps))
        return {
            **super().describe(),
            "asked": resume.describe_identity(self.options, self.identity, self.inputs),
            "server": self.server.facts(steps),
            "engine": self.server.state.get("engine"),
            "cores": {"client": self.cores, "server": self.server.cores},
            "workloads": {},
        }

    def begin(self) -> None:
        """Ask the server what the workloads leave to it, begin, take the client's cores, and print the setting.

        Raises ValueError before anything is written if a user's own workload cannot be prepared.
        """
        workloads = self.options.workloads
        # In place: the options hold the same dict, and what is written and measured next is read from there.
        workloads |= {name: complete(each, self.server.url) for name, each in workloads.items()}
        for name, each in workloads.items():
            tried = self.inputs[name][: self.tried]
            check_workload(each, self.prepared(each), tried, self.library(each), self.server.url)
        super().begin()
        host.pin(self.cores)
        print(setting(self.described), flush=True)

    def library(self, workload: Workload) -> str:
        """Return the library of --library, if the workload has it."""
        return flags.choose_library(self.options.library, workload)

    def arms(self, workload: Workload) -> list[str]:
        """Return the placements that are measured, the baseline first."""
        return self.options.arms[workload.name]

    def prepared(self, workload: Workload) -> list[str]:
        """Return the placements that are tried before the run: those that are measured."""
        return self.arms(workload)

    def unloaded_latency(self, workload: Workload) -> dict[str, float]:
        """Measure the mean seconds of a request that has the server to itself, per placement. It warms up as well."""
        sent, arms = self.inputs[workload.name], self.arms(workload)
        return unloaded_latency.measure_unloaded_latency(self.server, workload, arms, self.library(workload), sent)

    def show_unloaded_latency(self, workload: Workload) -> dict[str, float]:
        """Measure the unloaded latency of each placement, and print a line before and after."""
        print(f"\n{workload.name}: one request at a time ...", flush=True)
        means = self.unloaded_latency(workload)
        print(", ".join(f"{placement} {mean * 1e3:.3g} ms" for placement, mean in means.items()), flush=True)
        return means


def setting(run: dict) -> str:
    """Describe from run.json who has which cores, the server and its weights: loudly where predictions mean nothing.

    Returns lines for the terminal.
    """
    server, cores = run["server"], run["cores"]
    if not cores["server"]:
        apart = "not a server of this machine's launcher"
    elif set(cores["client"]) & set(cores["server"]):
        apart = "!! shared by both: a comparison on shared cores is not of equal budgets"
    else:
        apart = "pinned apart"
    lines = [
        f"server: Triton {server['version']} at {server['url']}, engine {run['engine'] or 'unknown'}",
        f"cores: client {listed(cores['client'])}, server {listed(cores['server'])}: {apart}",
    ]
    for model, facts in server["models"].items():
        weights = facts.get("provenance", {})
        if weights:
            lines.append(f"weights: {model}: {weights['weights']} ({weights['source']})")
            if weights["weights"] != "pretrained":
                lines.append(f"         !! {weights['note']}")
    return "\n".join(lines)
