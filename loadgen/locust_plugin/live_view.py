"""What happens right now: one row per run for the web page, the last seconds while it goes on, the whole of it after.

Everything follows from the samples' own instants: it does not matter which process they come from, or when within a
second. Memory is bounded: raw numbers for a few seconds, histograms for what is older, a single row once it ended.
"""

import time
from array import array
from typing import ClassVar

import numpy as np

from loadgen.samples.sample import COMPLETED, DROPPED, FAILED, REJECTED, STATUSES, TIMED_OUT, UNFINISHED, Sample

SECOND = 10**9
WINDOW = 10 * SECOND
LATE = 1 * SECOND
"""A worker's samples may reach the master this late: a row tells of the moment that long ago, when all are there."""
STAGES = ("lag", "wait", "prepare", "server", "latency")
KEPT = 5
PER_DECADE, LONGEST = 1000, 10**13
NEVER = -1


class Live:
    """The last seconds of one run. `add` takes every finished sample, from one thread; instants count from `start_ns`.

    `dues` are the due times of the whole run in seconds; a closed loop has none, and with them goes what was offered.
    """

    runs: ClassVar[list["Live"]] = []
    """Of this session, oldest first: the last KEPT of each arm."""
    _begun: ClassVar[int] = 0

    def __init__(self, arm: str, dues: np.ndarray | None, seconds: float, start_ns: int = 0, number: int = 1):
        self.arm, self.seconds, self.start_ns, self.number = arm, seconds, start_ns, number
        self.counts = dict.fromkeys(STATUSES, 0)
        self._dues = None if dues is None else np.sort(np.asarray(dues, float) * SECOND)
        self._recent: dict[int, array] = {}  # second -> when settled and the five stages, sample after sample
        self._older = np.zeros((len(STAGES), BINS), int)
        self._final: dict | None = None

    @classmethod
    def begin(cls, arm: str, dues: np.ndarray | None, seconds: float, start_ns: int) -> "Live":
        """A new run in the session's list; one that still goes on is over."""
        for run in cls.runs:
            run.end()
        for run in [run for run in cls.runs if run.arm == arm][: 1 - KEPT]:
            cls.runs.remove(run)
        cls._begun += 1
        cls.runs.append(cls(arm, dues, seconds, start_ns, cls._begun))
        return cls.runs[-1]

    def add(self, sample: Sample) -> None:
        status, due, fired = sample.status, sample.due, sample.fired
        self.counts[status] += 1
        if status == UNFINISHED or self._final:
            return
        settled = sample.done or sample.sent or sample.prepared or sample.began or fired or due
        recent = self._recent.get(settled // SECOND)
        if recent is None:
            recent = self._another(settled // SECOND)
        lag = fired - due if fired else NEVER
        if status == COMPLETED:
            began, done = sample.began, sample.done
            recent.extend((settled, lag, began - due, sample.prepared - began, done - sample.sent, done - due))
        else:
            recent.extend((settled, lag, NEVER, NEVER, NEVER, NEVER))

    def row(self, now_ns: int | None = None) -> dict:
        """The figures of the last ten seconds, in ms and per second; of the whole run, once it has ended.

        In flight: due and not finished, wherever it waits; after the end, what never finished. Failed, rejected, timed
        out and dropped count from the start. The stages are those of completed requests, the lag that of all.
        """
        if self._final:
            return self._final
        now = self._at(now_ns) - LATE
        table = self._table(self._recent)
        window = table[(table[:, 0] > now - WINDOW) & (table[:, 0] <= now)]
        length = min(now, WINDOW)
        return self._figures(
            state=f"{max(0, now) / SECOND:.0f} / {self.seconds:g}",
            offered=rate(self._due(now - WINDOW, now), length),
            completed=rate(np.count_nonzero(window[:, -1] != NEVER), length),
            in_flight=self._in_flight(now, np.count_nonzero(table[:, 0] > now)),
            histograms=histograms(window),
        )

    def end(self, now_ns: int | None = None) -> None:
        """Every sample is in: from here on the row stays as it is."""
        if self._final:
            return
        now, table = self._at(now_ns), self._table(self._recent)
        length = min(now, max(self.seconds * SECOND, table[:, 0].max(initial=0)))
        self._final = self._figures(
            state=f"{length / SECOND:.3g}, ended",
            offered=rate(self._due(-SECOND, now), min(now, self.seconds * SECOND)),
            completed=rate(self.counts[COMPLETED], length),
            in_flight=self._in_flight(now, 0),
            histograms=self._older + histograms(table),
        )
        self._recent, self._older, self._dues = {}, None, None

    def _at(self, now_ns: int | None) -> int:
        return (time.monotonic_ns() if now_ns is None else now_ns) - self.start_ns

    def _another(self, second: int) -> array:
        """A new second begins; those that no row can ask for any more become histograms."""
        oldest = max(self._recent, default=second) - (WINDOW + 2 * LATE) // SECOND
        gone = {each: self._recent.pop(each) for each in list(self._recent) if each < oldest}
        self._older += histograms(self._table(gone))
        return self._recent.setdefault(second, array("q"))

    @staticmethod
    def _table(seconds: dict[int, array]) -> np.ndarray:
        raw = b"".join(numbers.tobytes() for numbers in list(seconds.values()))
        return np.frombuffer(raw, np.int64).reshape(-1, 1 + len(STAGES))

    def _due(self, after: int, until: int) -> int | None:
        return None if self._dues is None else int(np.diff(np.searchsorted(self._dues, (after, until), "right"))[0])

    def _in_flight(self, now: int, later: int) -> int | None:
        """`later` samples finished only after `now`."""
        finished = sum(self.counts.values()) - self.counts[UNFINISHED] - later
        due = self._due(-SECOND, now)
        return None if due is None else max(0, due - finished)

    def _figures(self, histograms: np.ndarray, **row) -> dict:
        ms = {
            f"{stage}_p{percent}": quantile(counts, percent / 100)
            for stage, counts in zip(STAGES, histograms, strict=True)
            for percent in ((50, 99) if stage in ("lag", "latency") else (50,))
        }
        ended_badly = {s.replace(" ", "_"): self.counts[s] for s in (FAILED, REJECTED, TIMED_OUT, DROPPED)}
        return {"number": self.number, "arm": self.arm, **row, **ended_badly, **ms}


BINS = round(np.log10(LONGEST) * PER_DECADE) + 1


def histograms(table: np.ndarray) -> np.ndarray:
    """One per stage, of logarithmic bins: a quantile read from it is off by 0.12 % at most."""

    def histogram(ns: np.ndarray) -> np.ndarray:
        place = np.rint(np.log10(np.clip(ns[ns != NEVER], 1, LONGEST)) * PER_DECADE)
        return np.bincount(place.astype(int), minlength=BINS)

    return np.array([histogram(table[:, 1 + i]) for i in range(len(STAGES))])


def quantile(counts: np.ndarray, q: float) -> float | None:
    """In ms, to three digits, down to 0.1 microseconds; None of nothing."""
    if not (total := counts.sum()):
        return None
    ns = 10 ** (np.searchsorted(counts.cumsum(), q * total) / PER_DECADE)
    return round(float(f"{ns / 1e6:.3g}"), 4)


def rate(count: int | None, ns: float) -> float | None:
    return None if count is None or ns <= 0 else float(f"{count / ns * SECOND:.4g}")
