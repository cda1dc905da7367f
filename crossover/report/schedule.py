"""Describe a schedule in numbers and as a picture, before anything is sent.

    crossover arrivals gamma:rate=20,cv=3 --seconds 60 --seed 1

It prints the number of arrivals and their mean rate; the coefficient of variation (cv) of the gaps: 0 for
constant spacing, 1 for Poisson, more for bursts; the lag-1 autocorrelation of the gaps: 0 where a gap does not
depend on the one before; and the index of dispersion of counts, variance over mean of the arrivals per window:
1 for Poisson whatever the window, more for bursts of that length, less for regular arrivals. The windows are
1, 10 and 100 mean gaps long. A dash stands for too few arrivals, or gaps that are all equal.
"""

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arrivals.schedule import Schedule
from crossover.analysis.wording import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WINDOWS = (1, 10, 100)
"""Lengths of the windows, in mean gaps."""
ABOVE = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "frameon": False}


def cv(gaps: np.ndarray) -> float:
    """Return standard deviation over mean of the gaps; nan for fewer than two gaps, or none above zero."""
    return gaps.std() / gaps.mean() if len(gaps) > 1 and gaps.any() else math.nan


def lag1(gaps: np.ndarray) -> float:
    """Return the correlation between a gap and the next; nan for fewer than ten gaps, or all equal."""
    return np.corrcoef(gaps[:-1], gaps[1:])[0, 1] if len(gaps) >= 10 and cv(gaps) > 1e-9 else math.nan


def dispersion(times: np.ndarray, seconds: float, window: float) -> float:
    """Return variance over mean of the counts in whole windows; nan for fewer than ten windows or no arrivals.

    `times` are due times in seconds, `seconds` the schedule's length, `window` a window's.
    """
    n = int(seconds / window)
    # Half a nanosecond more, so that an arrival on an edge belongs to the window that begins there.
    places = (times + 5e-10) / window
    counts = np.bincount(np.minimum(places, n).astype(int), minlength=n)[:n]
    return counts.var(ddof=1) / counts.mean() if n >= 10 and counts.any() else math.nan


def compute_figures(schedule: Schedule) -> dict:
    """Return the schedule's figures as JSON can hold them; None stands for too few arrivals, or gaps all equal.

    `dispersion` maps the length of a window, in seconds, to the index of dispersion of counts.
    """
    gaps, rate = np.diff(schedule.times), schedule.rate
    windows = [length / rate for length in WINDOWS] if rate else []
    return {
        "arrivals": schedule.spec,
        "seed": schedule.seed,
        "schedule": schedule.digest,
        "count": len(schedule),
        "seconds": schedule.seconds,
        "rate": rate,
        "cv": or_none(cv(gaps)),
        "lag1": or_none(lag1(gaps)),
        "dispersion": {f"{w:.3g}": or_none(dispersion(schedule.times, schedule.seconds, w)) for w in windows},
        "note": schedule.note,
    }


def or_none(value: float) -> float | None:
    """Return the value, as JSON can hold it; None for nan."""
    return None if math.isnan(value) else float(value)


def describe(schedule: Schedule) -> str:
    """Return the schedule's figures as lines for the terminal."""
    figures = compute_figures(schedule)
    lines = [
        f"{schedule.spec}  seed {schedule.seed}  schedule {schedule.digest}",
        f"{count(len(schedule), 'arrival')} in {schedule.seconds:g} s: {schedule.rate:.4g}/s",
        f"gaps: cv {format_figure(figures['cv'])}, lag-1 autocorrelation {format_figure(figures['lag1'])}",
    ]
    if figures["dispersion"]:
        values = (f"{format_figure(value)} in windows of {w} s" for w, value in figures["dispersion"].items())
        lines.append(f"index of dispersion: {', '.join(values)}")
    if schedule.note:
        lines.append(schedule.note)
    return "\n".join(lines)


def format_figure(value: float | None) -> str:
    """Return three digits, at most three decimals; "-" for None."""
    return "-" if value is None else f"{round(value, 3) + 0:.3g}"


def draw(schedule: Schedule, path: Path) -> None:
    """Draw the rate over time, and the gaps beside those of a Poisson process, into an image file.

    The suffix of `path` names the format. Raises OSError if the file cannot be written.
    """
    from matplotlib.figure import Figure  # takes a second: only those who draw need it

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    title = textwrap.fill(schedule.spec, 100)
    figure.suptitle(f"{title}\n{count(len(schedule), 'arrival')} in {schedule.seconds:g} s, seed {schedule.seed}")
    over_time, histogram = figure.subplots(2)
    draw_rate(over_time, schedule)
    draw_gaps(histogram, np.diff(schedule.times))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format=path.suffix[1:] or "png")


def draw_rate(axes: "Axes", schedule: Schedule) -> None:
    """Draw the arrivals per second in steps of equal length, and their mean."""
    bins = int(np.clip(len(schedule) / 10, 10, 240))  # ten arrivals in each, on average
    counts, edges = np.histogram(schedule.times, bins, (0, schedule.seconds))
    width = schedule.seconds / bins
    axes.stairs(counts / width, edges, fill=True, color="tab:blue", alpha=0.6, label=f"in steps of {width:.3g} s")
    axes.axhline(schedule.rate, color="black", linestyle="--", label=f"mean {schedule.rate:.4g}/s")
    axes.set(xlabel="time, s", ylabel="arrivals per second", xlim=(0, schedule.seconds), ylim=(0, None))
    axes.legend(**ABOVE)


def draw_gaps(axes: "Axes", gaps: np.ndarray) -> None:
    """Draw a histogram of the gaps, in seconds, and the one that a Poisson process of the same mean would have.

    Bins grow with the gap, so that bursts and lulls both show; gaps of (nearly) zero are only counted.
    """
    if not gaps.any():
        axes.text(0.5, 0.5, "no gaps to draw", ha="center", transform=axes.transAxes)
        return
    ms, mean = gaps * 1e3, gaps.mean() * 1e3
    shown = ms[ms >= 1e-4 * mean]
    edges = np.geomspace(0.8 * min(shown.min(), 0.01 * mean), 1.25 * max(shown.max(), 10 * mean), 81)
    left_out = f"; {len(ms) - len(shown)} below {1e-4 * mean:.1g} ms left out" if len(shown) < len(ms) else ""
    axes.hist(shown, edges.tolist(), color="tab:blue", alpha=0.6, label=f"{len(ms)} gaps{left_out}")
    # The exponential distribution's share of each bin.
    expected = len(ms) * -np.diff(np.exp(-edges / mean))
    axes.stairs(expected, edges, color="tab:red", linewidth=1.5, label=f"exponential of the same mean, {mean:.3g} ms")
    axes.set(xscale="log", xlabel="gap, ms", ylabel="gaps", xlim=(edges[0], edges[-1]))
    axes.legend(**ABOVE)
