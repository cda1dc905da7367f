"""What a measurement is judged by, and what comes of it: the facts of a run, the rules that it broke, VALID or not."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

INTERRUPTED = "interrupted"
UNANSWERED = {INTERRUPTED, "books", "errors", "in-flight cap"}
"""The rules that a run breaks if an arrival has no good answer."""

Violation = tuple[str, str, str] | None  # what was measured, its limit, what to change


@dataclass(frozen=True)
class Facts:
    """What the judge has to know of a run beside its samples."""

    cpu_share: float | None  # CPU seconds of the client's processes / (wall seconds x its cores); None: not known
    hub_stall: float  # the longest time in seconds that the collection of the samples was late; see `client.loop`
    complete: bool  # False if the run was cut short
    cause: str = ""  # why, in words
    ended: float = 0.0  # seconds from the start of the schedule to the end of the run
    steady: bool = True  # False: the rate is meant to change, as in a ramp, so that latency may rise with it
    closed: bool = False  # no schedule: requests wait for answers, so there is no rate or due time to miss
    due: int | None = None  # arrivals in the schedule; None: not known, or no schedule
    cores: str = ""  # machine and cores of this process: those with the same share their cores
    model: str = ""  # a model that the requests pass, the one of which the next two differ most
    counted: int | None = None  # requests that it ended meanwhile, by the server's statistics; None: not known
    own: int = 0  # requests that it had from this run, those included that an earlier one gave up
    replicas: Mapping[str, int | None] | None = None  # replica -> requests that it ended, if known; None: not counted


@dataclass(frozen=True)
class Finding:
    """A rule that a measurement broke, in words."""

    rule: str
    measured: str
    limit: str
    change: str

    def __str__(self) -> str:
        return f"INVALID: {self.rule}: {self.measured} ({self.limit}); {self.change}"


@dataclass(frozen=True)
class Validity:
    """Whether a measurement is valid: it is if there are no findings."""

    findings: tuple[Finding, ...]

    @property
    def valid(self) -> bool:
        """Whether every rule is kept."""
        return not self.findings

    @property
    def exit_code(self) -> int:
        """A command's exit code: 1 if arrivals have no good answer (as Locust's for failures), 3 for another rule."""
        if any(finding.rule in UNANSWERED for finding in self.findings):
            return 1
        return 3 if self.findings else 0

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "VALID"

    def as_dict(self) -> dict:
        """Return `valid` and `findings` as summary.json holds them."""
        return {"valid": self.valid, "findings": [asdict(finding) for finding in self.findings]}
