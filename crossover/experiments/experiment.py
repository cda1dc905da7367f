"""One life of a run: its directory and run.json, how it resumes, how it is interrupted, its report and exit code.

A `Run` (base_run.py) measures something and leaves nothing behind; an `Experiment` leaves a directory and a report; a
`ServerExperiment` (server_experiment.py) is one on a server that is already up. What is measured is each experiment's
own `measure`.
"""

import json
import os
import shlex
import time
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from common import atomic_write
from common.messages import name_program, one_line
from crossover.experiments.base_run import Run
from crossover.measurement import host, resume
from crossover.measurement.run_directory import FORMAT, lock, make_name, now, read_run_trials
from crossover.measurement.trial import Trial
from crossover.report import kind as reporting
from crossover.report.kind import BROKEN, Kind
from loadgen import interrupts
from loadgen.command import INTERRUPTED


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
        self.advice: list[str] = []
        """The command that may decide what is undecided, once the report is written: the last line that is printed."""
        self.warnings: list[str] = []
        """What must not be overlooked of it, once the report is written."""

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
        """The whole command that goes on, if the directory is this run's and can be resumed."""
        command = self.options.command.replace("crossover", name_program(), 1)
        directory = shlex.quote(str(self.directory))
        return f"; go on with: {command} --continue {directory}" if self.begun and self.resumable else ""

    @property
    def when_interrupted(self) -> str:
        """What is printed: how to go on, or that there is nothing to go on with."""
        if not self.begun:
            return "interrupted before anything was measured"
        if self.kind.has_trials and not has_answers(read_run_trials(self.directory, self.described)):
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
                read = read_run_trials(self.directory, self.described)
                # A run that was cut short in its first trial leaves nothing to report, one whose requests fail does.
                if self.kind.has_trials and not (has_answers(read) if code == INTERRUPTED else read):
                    return code or BROKEN
                result, trials = reporting.write_report(self.kind, self.directory)
                if not self.kind.has_figures(result, trials):
                    return code or BROKEN
                self.verdicts, self.warnings = self.kind.verdicts(result), self.kind.warnings(result, trials)
                self.advice = self.kind.advise(result, self.directory)
                text = self.kind.write_output(result, trials, self.options.explain)
                print("\n" + "\n".join([text, *self.remarks()]))
                print(f"\nafter {(time.monotonic() - began) / 60:.1f} min, {self.kind.leaves}: {self.directory}")
                print("".join(f"\n{line}" for line in self.advice), end="\n" * bool(self.advice))
        except KeyboardInterrupt:
            report = f"{name_program()} report {shlex.quote(str(self.directory))}"
            print(f"\ninterrupted; its report can be made (again) by: {report}")
            return INTERRUPTED
        except (OSError, ValueError) as error:
            self.print_error(f"no report: {one_line(error)}")
            return code or BROKEN
        return code or self.kind.exit_code(result, trials)

    def document(self) -> dict:
        """Return where the run lies, whether it came to its end, verdict, warnings, and its result's file's content."""
        if not self.begun:
            return {}
        file = self.directory / self.kind.file
        return {
            "directory": str(self.directory),
            "complete": self.described["complete"],
            "verdict": self.verdicts,
            "warnings": self.warnings,
            "result": json.loads(file.read_text()) if self.verdicts or file.is_file() else None,
        }

    def verdict(self) -> str:
        """Return a line each: what must not be overlooked, what was found, and the command that may decide the rest."""
        return "\n".join([*self.warnings, *self.verdicts, *self.advice])


def has_answers(trials: Iterable[Trial]) -> bool:
    """Return whether any request of these trials was answered well."""
    return any(trial.completed for trial in trials)
