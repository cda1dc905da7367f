"""A block that is valid, if it can be had: measured again where another try may mend it, on a server that came back."""

import time
from collections.abc import Callable
from pathlib import Path

from crossover.measurement.measure import measure
from crossover.measurement.trial import Block
from loadgen.arm import Arm
from loadgen.arrivals.schedule import Schedule
from serving.server import Server, Unavailable
from workloads.payloads import Payload

ATTEMPTS = 3  # at a block: itself and two repetitions
HOPELESS = {"too few samples", "latency rises", "backlog", "in-flight cap"}  # what another try would not mend
PATIENCE = 20.0  # seconds for a server that died to come back
SPARE = 1.25  # times the time that is planned: what experiments may take with repetitions


class Attempts:
    """Of one run, whose `server` it keeps: `find` finds it again, as another may have taken its place."""

    def __init__(self, find: Callable[[], Server], say: Callable[[str], None]):
        self.server, self.find, self.say = find(), find, say
        self.until(0)

    def until(self, seconds: float) -> None:
        """Time for what comes now; after it no block is repeated for what it came to."""
        self.end, self.repeated = time.monotonic() + seconds, 0

    @property
    def over(self) -> bool:
        return time.monotonic() > self.end

    def block(
        self,
        arm: Arm,
        schedule: Schedule,
        sent: list[Payload],
        path: Path,
        cores: int,
        turn: int,
        every: bool = False,
    ) -> Block:
        """Measured at most ATTEMPTS times: until all arrivals have answers, or `every` rule is kept that can be.

        Those that were invalid are kept beside it. Raises Unavailable if the server is gone for good, OSError.
        """

        def once(attempt: int) -> Block:
            return measure(self.server, arm, schedule, sent, path, cores, turn, attempt)

        return self.good(once, lambda found: rules(found) if every else found.wrong)

    def good(self, once: Callable[[int], Block], wrong: Callable[[Block], list[str]]) -> Block:
        """What `once` measures for the first, second or third time, until no rule is broken that another may mend."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                found = once(attempt)
            except Unavailable as gone:
                if attempt == ATTEMPTS:
                    raise Unavailable(f"given up after {ATTEMPTS} attempts: {gone}") from None
                self.once_more(str(gone))
                continue
            curable = [rule for rule in wrong(found) if rule not in HOPELESS]
            if not curable:
                break
            why = f"{curable[0]}: {rules(found)[curable[0]]}"
            if attempt == ATTEMPTS or self.over:
                self.say(f"still invalid after {attempt} attempt{'s' * (attempt > 1)}: {why}")
                break
            for suffix in (".json", ".parquet"):
                aside = found.path.with_name(f"invalid-{found.round:02}-{attempt}{suffix}")
                found.path.with_suffix(suffix).replace(aside)
            self.once_more(why)
        return found

    def once_more(self, why: str) -> None:
        """Says so, and waits for a server that is gone. Raises Unavailable."""
        self.repeated += 1
        self.say(f"invalid, once more: {why}")
        self.server.wait(PATIENCE)
        self.server = self.find()


def rules(block: Block) -> dict[str, str]:
    """Those that it breaks -> what was measured."""
    return {finding["rule"]: finding["measured"] for finding in block.findings}
