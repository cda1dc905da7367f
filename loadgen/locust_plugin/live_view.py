"""The live view: what the page shows of each run of the session, while it goes on and after it: a row, and charts.

All figures follow from the samples' own instants, so it does not matter which process sends them, or when within a
second. Memory is bounded: raw numbers for a few seconds, histograms and a bounded series for what is older, and after
the end a row and the text of the series.
"""

import json
import time
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from loadgen.locust_plugin.histograms import BINS, NEVER, STAGES, add_times, make_histograms, read_quantile
from loadgen.locust_plugin.time_series import SECOND, TimeSeries, to_digits
from loadgen.samples.early_stopping import required_requests
from loadgen.samples.sample import COMPLETED, DROPPED, FAILED, REJECTED, STATUSES, TIMED_OUT, UNFINISHED, Sample
from loadgen.samples.verdict import Validity

WINDOW = 10 * SECOND
"""The row of a running run covers this many ns."""
LATE = 1 * SECOND
"""The row shows the state one second ago, because workers' samples may reach the master that late."""
KEPT = (WINDOW + 2 * LATE) // SECOND
"""Seconds whose samples are kept as numbers; what has not come within them comes too late for a second's quantiles."""
RUNS_PER_ARM, RUNS = 5, 40
"""So many runs of an arm, and of all arms, stay in the list."""
GOOD = STATUSES.index(COMPLETED)
PERCENTS = {"lag": (50, 99), "latency": (50, 95, 99)}
"""Stage -> its percentiles in a row; of the others the median."""
RUNNING, ENDED, STOPPED = "running", "ended", "stopped"


def describe_findings(verdict: Validity) -> str:
    """Return what a row says of an INVALID run: the rules that it broke, with what was measured."""
    return "INVALID: " + "; ".join(f"{found.rule}: {found.measured}" for found in verdict.findings)


class LiveRun:
    """The figures of one run. `add` takes every finished sample, from a single thread."""

    runs: ClassVar[list["LiveRun"]] = []
    """The session's runs, oldest first: the last RUNS_PER_ARM of each arm."""
    _begun: ClassVar[int] = 0
    _arms: ClassVar[dict[str, int]] = {}

    def __init__(self, arm: str, dues: np.ndarray | None, seconds: float, start_ns: int = 0, number: int = 1, **asked):
        """Begin an empty run that is `seconds` long.

        `dues` are its due times in seconds from `start_ns` (monotonic clock, ns); None for a closed loop, whose row
        then lacks the offered rate and what is in flight. `number` counts the session's runs. `asked` are columns of
        the row that do not change, as its arrivals and its seed.
        """
        self.arm, self.seconds, self.start_ns, self.number = arm, seconds, start_ns, number
        self.asked = asked
        self.verdict = RUNNING
        """In a few words: `running`, `VALID up to p95`, `INVALID` or `stopped`."""
        self.validity: Validity | None = None
        """The findings, once the run is judged."""
        self.directory: Path | None = None
        """Where its files are."""
        self.state = RUNNING
        """RUNNING, ENDED, or STOPPED by its user."""
        self.colour = 0
        """The number of its arm in the session, by which the charts choose its colour."""
        self.counts = dict.fromkeys(STATUSES, 0)
        self._dues = None if dues is None else np.sort(np.asarray(dues, float) * SECOND)
        self._recent: dict[int, array] = {}  # second -> per sample: when it finished, its status, and the five stages
        self._older = np.zeros((len(STAGES), BINS), int)
        self._series = TimeSeries(self._dues, seconds)
        self._final: dict | None = None
        self._chart = ""

    @classmethod
    def begin(cls, arm: str, dues: np.ndarray | None, seconds: float, start_ns: int, **asked) -> "LiveRun":
        """Add a new run to the session's list; end one that is still running. For the arguments see `__init__`."""
        for run in cls.runs:
            run.end()
        for run in [run for run in cls.runs if run.arm == arm][: 1 - RUNS_PER_ARM]:
            cls.runs.remove(run)
        del cls.runs[: max(0, len(cls.runs) + 1 - RUNS)]
        cls._begun += 1
        cls.runs.append(cls(arm, dues, seconds, start_ns, cls._begun, **asked))
        cls.runs[-1].colour = cls._arms.setdefault(arm, len(cls._arms))
        return cls.runs[-1]

    def add(self, sample: Sample) -> None:
        """Count a finished sample; its instants are in ns from the start of the run."""
        status, due, fired = sample.status, sample.due, sample.fired
        self.counts[status] += 1
        # An unfinished request has no instant at which it finished.
        if status == UNFINISHED or self._final:
            return
        # The last instant that the request reached.
        finished = sample.done or sample.sent or sample.prepared or sample.began or fired or due
        recent = self._recent.get(finished // SECOND)
        if recent is None:
            recent = self._open_second(finished // SECOND)
        lag = fired - due if fired else NEVER
        if status == COMPLETED:
            began, done = sample.began, sample.done
            stages = (lag, began - due, sample.prepared - began, done - sample.sent, done - due)
            recent.extend((finished, GOOD, *stages))
        else:
            recent.extend((finished, STATUSES.index(status), lag, NEVER, NEVER, NEVER, NEVER))

    def row(self, now_ns: int | None = None) -> dict:
        """Return the figures of the last ten seconds, or of the whole run once it has ended; in ms and per second.

        In flight means due and not finished, wherever the request waits; after the end, what never finished. Failed,
        rejected, timed out and dropped requests count from the start. Stages are those of completed requests, the lag
        is that of all.
        """
        if self._final:
            return {**self._final, "verdict": self.verdict}
        now = self._at(now_ns) - LATE
        table = self._table(self._recent)
        window = table[(table[:, 0] > now - WINDOW) & (table[:, 0] <= now)]
        length, due = min(now, WINDOW), self._due(-SECOND, now)
        # Samples that have been added may have finished after `now`.
        finished = sum(self.counts.values()) - self.counts[UNFINISHED] - int(np.count_nonzero(table[:, 0] > now))
        return self._figures(
            state=f"{max(0, now) / SECOND:.0f} / {self.seconds:g}",
            offered=per_second(self._due(now - WINDOW, now), length),
            completed=per_second(int(np.count_nonzero(window[:, -1] != NEVER)), length),
            in_flight=None if due is None else max(0, due - finished),
            histograms=make_histograms(window[:, 2:]),
        )

    def end(self, now_ns: int | None = None, stopped: float | None = None, broken: bool = False) -> None:
        """End the run: every sample is in, and the row no longer changes.

        It was `stopped` after so many seconds if it did not run to its end: by its user, or, if `broken`, by a fault.
        """
        if self._final:
            return
        now, table = self._at(now_ns) if stopped is None else int(stopped * SECOND), self._table(self._recent)
        length = min(now, max(self.seconds * SECOND, table[:, 0].max(initial=0)))
        how = "ended" if stopped is None else f"{'broken off' if broken else 'stopped'}, of {self.seconds:g}"
        self._final = self._figures(
            state=f"{length / SECOND:.3g}, {how}",
            offered=per_second(self._due(-SECOND, now), min(now, self.seconds * SECOND)),
            completed=per_second(self.counts[COMPLETED], length),
            in_flight=self.counts[UNFINISHED],
            histograms=self._older + make_histograms(table[:, 2:]),
        )
        self.state = STOPPED if stopped is not None and not broken else ENDED
        self._chart = json.dumps({"settled": None, **self._series.read(int(length), self._seconds(), ended=True)})
        self._recent, self._older, self._dues = {}, np.zeros(0, int), None
        self._series = TimeSeries(None, self.seconds)

    def settle(self, latency: Mapping[str, float | None]) -> None:
        """Show the percentiles of all samples of the ended run, in ms, instead of those read from histograms.

        `latency` is that of its summary, which the terminal and the report show, too.
        """
        if self._final:
            self._final |= {f"latency_p{percent}": latency[f"p{percent}"] for percent in PERCENTS["latency"]}

    def observe(self, name: str, value: float, now_ns: int | None = None) -> None:
        """Add what was measured beside the samples, such as the client's CPU, to the charts of a running run."""
        if not self._final:
            self._series.observe(name, self._at(now_ns), value)

    def chart(self, since: int = 0, now_ns: int | None = None) -> str:
        """Return the run's series as JSON: `settled`, and `recent` and `whole` of `TimeSeries.read`.

        Points before the second `since` are left out while the run goes on; what is `settled` no longer changes, so
        that it is the next `since`.
        """
        if self._final:
            return self._chart
        now = self._at(now_ns) - LATE
        settled = max(0, now // SECOND - KEPT)
        return json.dumps({"settled": settled, **self._series.read(max(0, now), self._seconds(), since)})

    def _at(self, now_ns: int | None) -> int:
        return (time.monotonic_ns() if now_ns is None else now_ns) - self.start_ns

    def _open_second(self, second: int) -> array:
        """Begin a new second; turn those that no row needs any more into histograms."""
        # Not only the oldest: a worker that was silent may send several seconds at once.
        oldest = max(self._recent, default=second) - KEPT
        expired = {each: self._recent.pop(each) for each in sorted(self._recent) if each < oldest}
        add_times(self._older, self._table(expired)[:, 2:])
        for each, numbers in expired.items():
            self._series.settle(each, self._table({each: numbers}))
        return self._recent.setdefault(second, array("q"))

    def _seconds(self) -> dict[int, np.ndarray]:
        return {second: self._table({second: numbers}) for second, numbers in list(self._recent.items())}

    @staticmethod
    def _table(seconds: dict[int, array]) -> np.ndarray:
        # A copy of the values: samples may arrive while the web page asks for the row.
        raw = b"".join(numbers.tobytes() for numbers in list(seconds.values()))
        return np.frombuffer(raw, np.int64).reshape(-1, 2 + len(STAGES))

    def _due(self, after: int, until: int) -> int | None:
        return None if self._dues is None else int(np.diff(np.searchsorted(self._dues, (after, until), "right"))[0])

    def _figures(self, histograms: np.ndarray, **row) -> dict:
        ms = {
            f"{stage}_p{percent}": read_quantile(counts, percent / 100)
            for stage, counts in zip(STAGES, histograms, strict=True)
            for percent in PERCENTS.get(stage, (50,))
        }
        answers = histograms[STAGES.index("latency")].sum()
        few = [f"latency_p{q}" for q in PERCENTS["latency"] if answers < required_requests(q)]
        ended_badly = {s.replace(" ", "_"): self.counts[s] for s in (FAILED, REJECTED, TIMED_OUT, DROPPED)}
        known = {"number": self.number, "arm": self.arm, "verdict": self.verdict, **self.asked}
        return {**known, **row, **ended_badly, **ms, "few": few}


def per_second(count: int | None, ns: float) -> float | None:
    """Return a count over `ns` as a rate, to four digits; None where either is missing."""
    return None if count is None or ns <= 0 else to_digits(count / ns * SECOND)
