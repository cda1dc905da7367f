"""Retries trials of one run: measures again what another attempt may mend, on a server that came back."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from arrivals.schedule import Schedule
from crossover.measurement.measure import measure
from crossover.measurement.trial import Trial
from loadgen.arm import Arm
from loadgen.samples.sample import FAILED, UNFINISHED
from serving.server import Server, Unavailable
from transport.message import TIMED_OUT
from workloads.payloads import Payload

ATTEMPTS = 3  # at a trial: the first and two repetitions
INCURABLE = {"too few samples", "latency rises", "backlog", "in-flight cap"}  # what another attempt would not mend
PATIENCE = 20.0  # seconds for a server that died to come back
SPARE = 1.25  # times the planned time: what experiments may take with repetitions


class Retries:
    """Measures the trials of one run, and holds the `server` that they are measured on.

    `connect` finds the server again after it was gone: another may have taken its place. `print_line` shows the user
    why a trial is repeated.
    """

    def __init__(self, connect: Callable[[], Server], print_line: Callable[[str], None]):
        self.server, self.connect, self.print_line = connect(), connect, print_line
        self.given_up = 0
        """How many requests of earlier trials had no answer yet when these ended: the server may answer them later."""
        self.set_deadline(0)

    def set_deadline(self, seconds: float) -> None:
        """Allow this much time for what comes now; after it no trial is repeated because it was INVALID."""
        self.deadline, self.repeated = time.monotonic() + seconds, 0

    @property
    def time_is_up(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() > self.deadline

    def measure(
        self,
        arm: Arm,
        schedule: Schedule,
        payloads: Sequence[Payload],
        path: Path,
        core_count: int,
        round_number: int,
    ) -> Trial:
        """Measure a trial as `measure.measure` does, at most ATTEMPTS times.

        It is repeated until every arrival has an answer. INVALID attempts stay beside it as
        `invalid-<round>-<attempt>`. Raises Unavailable if the server is gone for good, OSError if the disk is full.
        """

        def measure_once(attempt: int) -> Trial:
            earlier = self.given_up
            trial = measure(
                self.server, arm, schedule, payloads, path, core_count, round_number, attempt, given_up=earlier
            )
            self.note_given_up(trial)
            return trial

        return self.measure_until_valid(measure_once, unanswered)

    def note_given_up(self, trial: Trial) -> None:
        """Add what a trial has given up; one that has answers to all says that nothing is left of those before it."""
        books = trial.summary["books"]
        left = books[TIMED_OUT] + books[UNFINISHED]
        self.given_up = self.given_up + left if left else 0

    def measure_until_valid(
        self, measure_once: Callable[[int], Trial], find_faults: Callable[[Trial], Iterable[str]]
    ) -> Trial:
        """Call `measure_once(attempt)`, from 1 on, until `find_faults` names no broken rule that may be mended.

        Stops after ATTEMPTS or at the deadline, with the last trial. Raises Unavailable if the server is gone.
        """
        earlier: list[list[int]] = []
        for attempt in range(1, ATTEMPTS + 1):
            try:
                trial = measure_once(attempt)
            except Unavailable as error:
                if attempt == ATTEMPTS:
                    raise Unavailable(f"given up after {ATTEMPTS} attempts: {error}") from None
                self.prepare_retry(str(error))
                continue
            if earlier:
                trial.earlier = earlier
                trial.write()
            curable = [rule for rule in find_faults(trial) if rule not in INCURABLE]
            if not curable:
                break
            reason = f"{curable[0]}: {broken_rules(trial)[curable[0]]}"
            if attempt == ATTEMPTS or self.time_is_up:
                self.print_line(f"still invalid after {attempt} attempt{'s' * (attempt > 1)}: {reason}")
                break
            set_aside(trial, attempt)
            earlier = [*earlier, [trial.scheduled, trial.scheduled - trial.completed]]
            self.prepare_retry(reason)
        return trial

    def prepare_retry(self, reason: str) -> None:
        """Print the reason, and wait for a server that is gone. Raises Unavailable if it does not come back."""
        self.repeated += 1
        self.print_line(f"invalid, measuring again: {reason}")
        self.server.wait(PATIENCE)
        self.server = self.connect()


def set_aside(trial: Trial, attempt: int) -> None:
    """Rename the files of an INVALID trial, so that the next attempt takes its place."""
    for suffix in (".json", ".parquet"):
        aside = trial.path.with_name(f"invalid-{trial.round:02}-{attempt}{suffix}")
        trial.path.with_suffix(suffix).replace(aside)


def broken_rules(trial: Trial) -> dict[str, str]:
    """Return rule -> what was measured, of every rule that makes the trial INVALID.

    A trial that was given up breaks one rule, whatever else was wrong: its failures are counted all the same.
    """
    found = {finding["rule"]: finding["measured"] for finding in trial.findings}
    if failed := trial.summary["books"][FAILED]:
        why = "".join(f", most common reason {reason!r}" for reason in list(trial.summary["reasons"])[:1])
        found.setdefault("errors", f"{failed} of {trial.scheduled} failed{why}")
    return found


def unanswered(trial: Trial) -> list[str]:
    """Return the broken rules that say that not every arrival has a good answer."""
    return trial.unanswered
