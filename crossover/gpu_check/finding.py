"""What a check found: one line for people, and the same as data."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

OK, SKIPPED, PROBLEM = "ok", "skipped", "problem"
REPORT = "open an issue with this output"
SEE_LOG = "see the end of the server's log (--json has it)"
NAMES = 18  # characters that names take in the lines


@dataclass(frozen=True)
class Finding:
    """One line of `gpu-check`: what was looked at, how it stands, and what to do where it is a problem."""

    name: str
    state: str
    """OK, SKIPPED or PROBLEM."""
    text: str
    remedy: str = ""
    """What to do; only a problem has one."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What was measured, unrounded, as JSON can hold it."""

    def __str__(self) -> str:
        text = f"{self.text} -> {self.remedy}" if self.remedy else self.text
        return f"{self.name:<{NAMES}}{self.state}: {text}"


def ok(name: str, text: str, /, **figures: Any) -> Finding:
    """Return a finding of what is as it should be."""
    return Finding(name, OK, text, figures=figures)


def skipped(name: str, why: str, /, **figures: Any) -> Finding:
    """Return a finding of what was not looked at."""
    return Finding(name, SKIPPED, why, figures=figures)


def problem(name: str, text: str, remedy: str = REPORT, /, **figures: Any) -> Finding:
    """Return a finding of what is wrong, with what to do."""
    return Finding(name, PROBLEM, text, remedy, figures)


def judge(name: str, good: bool, text: str, remedy: str = REPORT, /, **figures: Any) -> Finding:
    """Return an ok finding if it is good, else a problem with the remedy."""
    return ok(name, text, **figures) if good else problem(name, text, remedy, **figures)


def summarise(findings: Iterable[Finding], seconds: float, card: bool) -> str:
    """Return the last line: how many findings of each state there are, and how long the check took.

    Without a `card` it says so: nothing is known of one then, whatever the counts say.
    """
    states = [finding.state for finding in findings]
    problems = states.count(PROBLEM)
    counts = f"{states.count(OK)} ok, {states.count(SKIPPED)} skipped, {problems} problem{'s' * (problems != 1)}"
    return f"{'summary':<{NAMES}}{counts}, in {seconds:.0f} s{'' if card else '; no card was checked'}"
