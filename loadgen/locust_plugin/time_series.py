"""A run over time, for charts: a point per second of the last minutes, and a bounded number for the whole run.

Memory does not grow with the run: seconds are forgotten after RECENT of them, and the points of the whole run are as
wide as its length asks for. Each point is a fold over the samples that finished in it, so quantiles are those of the
samples themselves, never averages of quantiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from loadgen.locust_plugin.histograms import BINS, NEVER, STAGES, add_times, read_quantile
from loadgen.samples.sample import COMPLETED, DROPPED, FAILED, REJECTED, STATUSES, TIMED_OUT

SECOND = 10**9
RECENT = 300
"""Seconds of the last minutes."""
POINTS, TAIL = 240, 60
"""The whole run has so many points at most, and so many more for answers that come after its schedule."""
OUTCOMES = {"completed": (COMPLETED,), "refused": (REJECTED,), "lost": (FAILED, TIMED_OUT, DROPPED)}
"""Column -> the statuses that it counts."""
QUANTILES = {
    "latency": {50: "latency_p50", 95: "latency_p95", 99: "latency_p99"},
    "wait": {50: "wait"}, "prepare": {50: "prepare"}, "server": {50: "server"}, "lag": {99: "lag_p99"},
}  # fmt: skip
"""Stage -> percentile -> column, in ms."""
TIMES = [column for columns in QUANTILES.values() for column in columns.values()]
EMPTY = np.zeros((len(STAGES), BINS), int)
Table = np.ndarray
"""A row per sample: when it finished, its status in STATUSES, and the ns of each of STAGES."""


@dataclass
class Point:
    """What finished within one stretch of time, and what was observed in it."""

    counts: list[int] = field(default_factory=lambda: [0] * len(STATUSES))
    """How many ended in each status."""
    quantiles: dict[str, float | None] = field(default_factory=dict)
    """A value for each of TIMES, in ms."""
    observed: dict[str, list] = field(default_factory=dict)
    """Name -> sum and number of what was observed."""


def count_statuses(table: Table, before: Sequence[int]) -> list[int]:
    """Return how many samples ended in each status, with those counted before."""
    return [a + b for a, b in zip(before, np.bincount(table[:, 1], minlength=len(STATUSES)).tolist(), strict=True)]


def find_quantiles(table: Table) -> dict[str, float | None]:
    """Return the TIMES of samples, interpolated linearly as in a run's summary; None where there are none."""
    found: dict[str, float | None] = dict.fromkeys(TIMES)
    for stage, columns in QUANTILES.items():
        times = table[:, 2 + STAGES.index(stage)]
        if len(times := times[times != NEVER]):
            ms = np.percentile(times, list(columns)) / 1e6
            found |= dict(zip(columns.values(), map(to_digits, ms.tolist()), strict=True))
    return found


def read_quantiles(histograms: np.ndarray) -> dict[str, float | None]:
    """Return the TIMES of `make_histograms`' result."""
    return {
        column: read_quantile(histograms[STAGES.index(stage)], percentile / 100)
        for stage, columns in QUANTILES.items()
        for percentile, column in columns.items()
    }


class TimeSeries:
    """The points of one run. `settle` takes the samples of a second in which no more are expected."""

    def __init__(self, dues: np.ndarray | None, seconds: float):
        """Begin empty. `dues` are the sorted due times in ns, None for a closed loop; the schedule lasts `seconds`."""
        self._dues, self._seconds = dues, seconds
        self.width = max(1, int(np.ceil(seconds / POINTS)))
        """Seconds of a point of the whole run; where it is 1, the seconds of the last minutes are the whole run."""
        self._recent: dict[int, Point] = {}
        self._whole: dict[int, Point] = {}
        self._open: dict[int, np.ndarray] = {}  # of the whole run's points that may get more samples: histograms
        self._forgotten = 0  # samples that finished before the seconds in _recent
        self._fresh: dict[int, tuple[int, dict]] = {}  # second -> how many samples it had when read, their quantiles

    def settle(self, second: int, table: Table) -> None:
        """Add the samples that finished within a second.

        A second that comes a second time, as a worker was silent for long, adds to the counts; its quantiles stay.
        """
        self._recent[second] = self._join(second, table)
        self._fresh.pop(second, None)
        self._forget(max(self._recent))
        if self.width == 1:
            return
        place = self._place(second)
        whole = self._whole.setdefault(place, Point())
        whole.counts = count_statuses(table, whole.counts)
        if not whole.quantiles:
            add_times(self._open.setdefault(place, np.zeros_like(EMPTY)), table[:, 2:])
        for each in [each for each in self._open if each < place]:
            self._whole[each].quantiles = read_quantiles(self._open.pop(each))

    def observe(self, name: str, instant: int, value: float) -> None:
        """Add a value that was measured at an instant of the run, in ns, to its points, which show the mean."""
        second = max(0, instant // SECOND)
        wide = [] if self.width == 1 else [(self._whole, self._place(second))]
        for points, place in [(self._recent, second), *wide]:
            observed = points.setdefault(place, Point()).observed.setdefault(name, [0.0, 0])
            observed[0] += value
            observed[1] += 1
        self._forget(second)

    def read(self, now: int, fresh: Mapping[int, Table], since: int = 0, ended: bool = False) -> dict:
        """Return the columns `recent` and `whole` up to `now` (ns from the start), from the second `since` on.

        `fresh` are the seconds that have not been settled. A column is a list with a value or None for each point; `t`
        is the end of each point in seconds, and `width` the seconds of a point. A run that has `ended` may have a last
        point that is shorter. `whole` is None where the points of the whole run are seconds, too.
        """
        last = -(-now // SECOND) if ended else now // SECOND
        latest = now if ended else last * SECOND
        fresh = {second: table for second, table in fresh.items() if second < last}
        recent = self._recent | {second: self._join(second, table) for second, table in fresh.items()}
        places = range(max(since, last - RECENT, 0), last)
        return {
            "recent": self._columns(recent, places, 1, latest, self._forgotten),
            "whole": None if self.width == 1 else self._read_whole(fresh, since, last, latest),
        }

    def _read_whole(self, fresh: Mapping[int, Table], since: int, last: int, latest: int) -> dict:
        whole = dict(self._whole)
        for place in {*map(self._place, fresh), *self._open}:
            whole[place] = self._widen(place, [each for second, each in fresh.items() if self._place(second) == place])
        places = range(self._place(since), self._place(max(last - 1, 0)) + 1)
        return self._columns(whole, places, self.width, latest, 0)

    def _place(self, second: int) -> int:
        return min(second // self.width, POINTS + TAIL - 1)

    def _forget(self, newest: int) -> None:
        for second in [each for each in self._recent if each < newest - RECENT]:
            self._forgotten += sum(self._recent.pop(second).counts)

    def _join(self, second: int, table: Table) -> Point:
        """Return the point of a second with its samples so far; their quantiles are computed once."""
        known = self._recent.get(second, Point())
        count, quantiles = self._fresh.get(second, (-1, {}))
        if known.quantiles:
            quantiles = known.quantiles
        elif count != len(table):
            quantiles = find_quantiles(table)
            self._fresh[second] = len(table), quantiles
        return Point(count_statuses(table, known.counts), quantiles, known.observed)

    def _widen(self, place: int, tables: Sequence[Table]) -> Point:
        """Return a point of the whole run that may get more samples, with those of the fresh seconds."""
        known, histograms = self._whole.get(place, Point()), self._open.get(place, EMPTY)
        if not tables:
            return Point(known.counts, known.quantiles or read_quantiles(histograms), known.observed)
        table = np.concatenate(tables)
        quantiles = known.quantiles or read_quantiles(add_times(histograms.copy(), table[:, 2:]))
        return Point(count_statuses(table, known.counts), quantiles, known.observed)

    def _columns(self, points: Mapping[int, Point], places: range, width: int, latest: int, before: int) -> dict:
        """Return the columns of those places; `before` samples finished before all points that are known."""
        observed = sorted({name for place in places if place in points for name in points[place].observed})
        columns: dict[str, list] = {name: [] for name in ("t", "offered", *OUTCOMES, "in_flight", *TIMES, *observed)}
        begins = np.array(places, int) * width * SECOND
        begins = begins[begins < latest]
        ends = np.minimum(begins + width * SECOND, latest)
        offered, due = self._count_due(begins, ends), self._count_due(np.full_like(ends, -SECOND), ends + 1)
        finished = before + sum(sum(each.counts) for place, each in points.items() if place < places.start)
        for number, place in enumerate(places[: len(begins)]):
            point, length = points.get(place, Point()), int(ends[number] - begins[number])
            finished += sum(point.counts)
            columns["t"].append(round(int(ends[number]) / SECOND, 3))
            columns["in_flight"].append(None if due is None else max(0, int(due[number]) - finished))
            scheduled = min(length, int(self._seconds * SECOND) - int(begins[number]))
            columns["offered"].append(None if offered is None else find_rate(int(offered[number]), scheduled))
            for name, statuses in OUTCOMES.items():
                count = sum(point.counts[STATUSES.index(status)] for status in statuses)
                columns[name].append(find_rate(count, length))
            for name in TIMES:
                columns[name].append(point.quantiles.get(name))
            for name in observed:
                total, count = point.observed.get(name, (0.0, 0))
                columns[name].append(to_digits(total / count) if count else None)
        return {"width": width, **columns}

    def _count_due(self, begins: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
        """Return how many arrivals were due from each beginning to before its end; None for a closed loop."""
        return None if self._dues is None else np.searchsorted(self._dues, ends) - np.searchsorted(self._dues, begins)


def find_rate(count: int, ns: int) -> float | None:
    """Return a count over `ns` per second; None for less than half a second, which says little."""
    return to_digits(count / ns * SECOND) if ns >= SECOND / 2 else None


def to_digits(value: float) -> float:
    """Return a figure to four digits."""
    return float(f"{value:.4g}")
