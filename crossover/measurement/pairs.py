"""Measure unloaded pairs: one request at a time, two arms in turns on the same payload, in an order drawn per pair.

Nothing queues and nobody else asks, so a pair's ratio says what a lone user feels; analysis.unloaded_pairs compares
them. The loop sends each request itself, over one connection per arm that is kept open: a run of the open loop for
each of them would take longer than the request.

The samples lie in `<workload>/unloaded/pairs-NN.parquet`, a file for each time that the run was continued, in the
format of all samples. Row 2 n is the baseline's request of pair n, row 2 n + 1 the candidate's; a request is due when
it is taken up. `pairs-NN.json` beside it has the fields of `Pairs`.
"""

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from common import atomic_write, plain_file
from crossover.measurement import step_cpu
from crossover.measurement.samples_file import load_samples
from loadgen import interrupts
from loadgen.arm import Arm
from loadgen.client.loop import pause_gc
from loadgen.client.worker_threads import Client
from loadgen.samples import journal, parquet
from loadgen.samples.sample import COMPLETED, STATUSES, Sample
from serving.server import Server, Unavailable
from workloads.payloads import Payload
from workloads.workload import Preprocessor

FOLDER = "unloaded"
TIMEOUT = 30.0
"""Seconds for one answer."""
EVERY = 0.1
"""Seconds from one pair whose CPU seconds are read to the next: short requests have pairs enough."""
WARM = 100
"""Payloads that are sent to warm up: `payload_check` has sent all of them once before."""
LOST = 10
"""Unanswered requests in a row after which the server is taken to be gone."""


@dataclass
class Pairs:
    """The pairs that were measured at a stretch, as their JSON file holds them; samples are read when needed."""

    arms: list[str]
    """The baseline's name and the candidate's, as `loadgen.arm.Arm` writes itself."""
    began: float
    """Seconds since the epoch."""
    seconds: float
    """That were spent on them."""
    path: Path = field(default=Path(), compare=False)
    step_cpu: dict[str, list[list[float]]] = field(default_factory=dict)
    """Model -> [pair, CPU seconds of its stubs for the baseline's request, for the candidate's] of some pairs; older
    runs have none, and neither has a server whose stubs cannot be looked into."""

    @cached_property
    def records(self) -> np.ndarray:
        """Samples of shape (pairs, 2 arms), of dtype RECORD: only pairs of which both were sent.

        Raises ValueError, in one line, for a file that is missing or damaged, or has other arms' samples.
        """
        records, _, _ = load_samples(self.path, expected={"arms": self.arms})
        whole = len(records) // 2 * 2  # the last pair may have been cut short
        return records[:whole].reshape(-1, 2)

    @property
    def service_ms(self) -> np.ndarray:
        """(pairs, 2 arms) ms from taking a request up to its answer; nan without a good one."""
        answered = self.records["status"] == STATUSES.index(COMPLETED)
        return np.where(answered, (self.records["done"] - self.records["began"]) / 1e6, np.nan)

    @property
    def instants(self) -> np.ndarray:
        """(pairs,) seconds from the beginning at which each pair began."""
        return self.records["due"].min(axis=1) / 1e9

    def sum_cpu(self, models: Sequence[str]) -> np.ndarray:
        """Return the CPU seconds of these models together: (pairs, 2 arms), of the pairs that have those of each."""
        each = [{pair: spent for pair, *spent in self.step_cpu.get(model, [])} for model in models]
        common = [pair for pair in each[0] if all(pair in other for other in each)] if each else []
        every = np.array([np.sum([model[pair] for model in each], axis=0) for pair in common]).reshape(-1, 2)
        return every[(every > 0).all(axis=1)]

    def write(self) -> None:
        """Write the JSON file, whole or not at all. Raises OSError."""
        content = {key: value for key, value in asdict(self).items() if key != "path"}
        atomic_write.write_json(self.path.with_suffix(".json"), content)


def read_pairs(directory: Path, workload: str) -> list[Pairs]:
    """Read a workload's pairs from a run's directory, oldest first. Raises ValueError for a damaged file."""
    result = []
    for path in sorted((directory / workload / FOLDER).glob("pairs-*.json")):
        try:
            result.append(Pairs(**json.loads(plain_file.read_written(path)), path=path))
        # TypeError: fields are missing, or there are others.
        except (ValueError, TypeError) as error:
            names = ", ".join(each.name for each in fields(Pairs))
            raise ValueError(f"{path} has no pairs: {error}; it has {names}") from None
    return sorted(result, key=lambda pairs: pairs.began)


def pool_service_ms(measured: Sequence[Pairs]) -> np.ndarray:
    """Return the service times of all pairs that both arms answered: (pairs, 2 arms) ms."""
    every = np.concatenate([np.empty((0, 2)), *(each.service_ms for each in measured)])
    return every[np.isfinite(every).all(axis=1)]


def measure_pairs(
    server: Server,
    arms: tuple[Arm, Arm],
    payloads: Sequence[Payload],
    directory: Path,
    seconds: float,
    seed: int,
    show: Callable[[float], object] = lambda share: None,
) -> Pairs:
    """Measure pairs for so many seconds, and at least one, after each arm was sent WARM payloads once to warm up.

    Args:
        server: The server to ask.
        arms: The baseline and the candidate; their mode plays no part.
        payloads: The inputs; every one comes as often as every other, in an order drawn anew each time round.
        directory: Where the files are written: a run's `<workload>/unloaded`.
        seconds: How long pairs are measured; warming up comes on top.
        seed: Draws the order of payloads and arms.
        show: Called after each pair with the share of the time that is over, 0 to 1.

    Returns:
        The pairs. After an interruption they are written, too, before the exception goes on.

    Raises:
        Unavailable: LOST requests in a row were not answered.
        OSError: The disk is full, or the directory cannot be written.
    """
    number = len(list(directory.glob("pairs-*.json"))) + 1
    lone = LoneRequests(server, arms)  # takes seconds: what ends it leaves no file
    samples = journal.Journal(directory / f"pairs-{number:02}.journal")
    rng, began, start = random.Random(f"pairs {seed} {number}"), time.time(), 0.0
    cpu = PairCpu(server)
    try:
        lone.warm_up(payloads)
        began, start = time.time(), time.monotonic()
        lone.restart_clock()
        with pause_gc():
            for pair, chosen in enumerate(draw(len(payloads), rng)):
                cpu.begin()
                for arm in rng.sample((0, 1), 2):
                    samples.write(lone.send(arm, payloads[chosen], 2 * pair + arm, chosen))
                    cpu.note(arm)
                cpu.end(pair)
                elapsed = time.monotonic() - start
                show(min(1.0, elapsed / seconds) if seconds else 1.0)
                if elapsed >= seconds:
                    break
    finally:
        with interrupts.defer_interrupts():
            lone.close()
            samples.close()
            spent = time.monotonic() - start if start else 0.0
            written = parquet.to_parquet(
                samples.path, [payload.name for payload in payloads], {"arms": [str(arm) for arm in arms], "seed": seed}
            )
            pairs = Pairs([str(arm) for arm in arms], began, spent, written.with_suffix(".json"), cpu.spent)
            pairs.write()
    return pairs


class PairCpu:
    """Reads the CPU seconds of each model's stubs for both requests of a pair, EVERY seconds at most.

    It takes about a millisecond between two requests, which then have nothing to do with it.
    """

    def __init__(self, server: Server):
        self.stubs = step_cpu.find_stubs(server)
        self.spent: dict[str, list[list[float]]] = {}
        """As `Pairs.step_cpu`."""
        self._last = float("-inf")
        self._before: dict[str, float] = {}
        self._arms: dict[int, dict[str, float]] = {}

    def begin(self) -> None:
        """Read before a pair, if it is time."""
        self._arms, self._before = {}, {}
        if time.monotonic() - self._last >= EVERY:
            self._last, self._before = time.monotonic(), step_cpu.read_stubs(self.stubs)

    def note(self, arm: int) -> None:
        """Read after the request of an arm, 0 or 1."""
        if self._before:
            now = step_cpu.read_stubs(self.stubs)
            self._arms[arm] = {model: now[model] - before for model, before in self._before.items() if model in now}
            self._before = now

    def end(self, pair: int) -> None:
        """Keep what both requests of the pair of this number took."""
        for model, baseline in self._arms.get(0, {}).items():
            if model in self._arms.get(1, {}):
                self.spent.setdefault(model, []).append([pair, baseline, self._arms[1][model]])


def warm_up(server: Server, arms: Sequence[Arm], payloads: Sequence[Payload]) -> None:
    """Send each arm's WARM payloads once, and write nothing down. Raises Unavailable as `measure_pairs` does."""
    lone = LoneRequests(server, arms)
    try:
        lone.warm_up(payloads)
    finally:
        lone.close()


def draw(count: int, rng: random.Random) -> Iterator[int]:
    """Yield numbers below `count` without end: all of them in drawn order, again and again."""
    while True:
        yield from rng.sample(range(count), count)


class LoneRequests:
    """Sends one request after the other, each over its arm's own connection."""

    def __init__(self, server: Server, arms: Sequence[Arm]):
        """Make preprocessors and connections; instants count from now."""
        self.restart_clock()
        self.lost = 0
        self.clients = [Client(arm, self.now) for arm in arms]
        self.preprocessors: list[Preprocessor] = [arm.preprocessor() for arm in arms]
        self.connections = [arm.connect(server.url, TIMEOUT) for arm in arms]

    def now(self) -> int:
        """Return the ns since the clock began."""
        return time.monotonic_ns() - self.origin

    def restart_clock(self) -> None:
        """Let instants count from now."""
        self.origin = time.monotonic_ns()

    def warm_up(self, payloads: Sequence[Payload]) -> None:
        """Send WARM payloads, or all if they are fewer, once by every arm. Raises Unavailable as `send` does."""
        for number, payload in enumerate(payloads[:WARM]):
            for arm in range(len(self.clients)):
                self.send(arm, payload, 0, number)

    def send(self, arm: int, payload: Payload, index: int, number: int) -> Sample:
        """Send a payload by the arm of that number, and wait for its outcome. Returns its sample.

        Raises Unavailable where LOST requests in a row had no good answer.
        """
        sample = self.ask(arm, payload, index, number)
        self.lost = 0 if sample.status == COMPLETED else self.lost + 1
        if self.lost >= LOST:
            asked = self.clients[arm].arm
            raise Unavailable(f"{asked}: {LOST} requests in a row were not answered: {sample.reason}")
        return sample

    def ask(self, arm: int, payload: Payload, index: int, number: int, only_prepare: bool = False) -> Sample:
        """Do what `send` does without giving up; with `only_prepare` the payload counts as answered unsent."""
        instant = self.now()
        sample = Sample(index, number, due=instant, fired=instant)
        if request := self.clients[arm].prepare(self.preprocessors[arm], sample, payload):
            if only_prepare:
                sample.status = COMPLETED
            else:
                self.clients[arm].exchange(self.connections[arm], sample, request)
        return sample

    def close(self) -> None:
        """Close the connections."""
        for connection in self.connections:
            connection.close()
