"""Plots of a run of Locust's: latency and load over time, and the histogram of latency."""

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import NullLocator

from crossover.report.plots import BASELINE, CANDIDATE, INK, THIRD, WIDTH, draw_svg, plain
from loadgen.samples.sample import COMPLETED, STATUSES
from loadgen.samples.summary import milliseconds

SIZE = (WIDTH, 3.0)
MARKED = (50, 95, 99)
FEW = 20  # answers of a stretch of time, in the mean: fewer have no p95 worth drawing
ABOVE = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3, "borderaxespad": 0.2}


def over_time(records: np.ndarray, label: str) -> Markup:
    """Draw p50, p95 and maximum of latency over the due time, and where arrivals have no good answer.

    `records` are the samples of a run, one at least completed; `label` says what is to be seen, for those who cannot.
    """
    return draw_svg(draw_over_time, label, SIZE, records=records)


def draw_over_time(axes, records: np.ndarray) -> None:
    """Draw a line for each of the three, over stretches of equal length, and a mark for each bad arrival.

    There are so many stretches that one has FEW answers in the mean, and 120 at most; one without any has no point.
    """
    done = records["status"] == STATUSES.index(COMPLETED)
    due, latency = records["due"][done] / 1e9, milliseconds(records, "due", "done", done)
    count = int(np.clip(len(due) / FEW, 1, 120))
    edges = np.linspace(0, max(records["due"].max() / 1e9, 1e-3), count + 1)
    place = np.clip(np.searchsorted(edges, due, "right") - 1, 0, count - 1)
    filled = [number for number in range(count) if (place == number).any()]
    middles = [(edges[number] + edges[number + 1]) / 2 for number in filled]
    looks = {"maximum": (CANDIDATE, ":"), "p95": (CANDIDATE, "-"), "p50": (BASELINE, "-")}
    shares = {"maximum": 100, "p95": 95, "p50": 50}
    for name, (colour, dashes) in looks.items():
        values = [np.percentile(latency[place == number], shares[name]) for number in filled]
        mark = "o" if len(filled) == 1 else ""
        axes.plot(middles, values, color=colour, linestyle=dashes, linewidth=1.6, label=name, marker=mark)
    if not done.all():
        bad = records["due"][~done] / 1e9
        axes.plot(bad, np.full(len(bad), latency.min()), "x", color=INK, markersize=4, label="no good answer")
    axes.set(yscale="log", xlabel="due time, s", ylabel="latency, ms")
    plain(axes.yaxis, latency.min() / 1.1, latency.max() * 1.1)
    axes.legend(**{**ABOVE, "ncols": 4})


def histogram(records: np.ndarray, label: str) -> Markup:
    """Draw how often each latency occurred, with its percentiles."""
    return draw_svg(draw_histogram, label, SIZE, records=records)


def draw_histogram(axes, records: np.ndarray) -> None:
    """Draw bars whose width grows with the latency, and a line for each of MARKED.

    The latency is that of completed requests, from the due time, on a logarithmic axis.
    """
    latency = milliseconds(records, "due", "done", records["status"] == STATUSES.index(COMPLETED))
    low, high = latency.min() / 1.1, latency.max() * 1.1
    axes.hist(latency, np.geomspace(low, high, 50).tolist(), color=BASELINE, alpha=0.65)
    for percentile, dashes in zip(MARKED, ("-", "--", ":"), strict=True):
        axes.axvline(np.percentile(latency, percentile), color=INK, linestyle=dashes, label=f"p{percentile}")
    axes.set(xscale="log", xlabel="latency from the due time, ms", ylabel="requests")
    plain(axes.xaxis, low, high)
    axes.legend(**ABOVE)


def load(records: np.ndarray, seconds: float, label: str) -> Markup:
    """Draw arrivals and answers per second over time; `seconds` is how long it lasted."""
    return draw_svg(draw_load, label, SIZE, records=records, seconds=seconds)


def draw_load(axes, records: np.ndarray, seconds: float) -> None:
    """Draw steps of equal length, ten arrivals each in the mean."""
    done = records["status"] == STATUSES.index(COMPLETED)
    instants = {
        "arrivals": (records["due"] / 1e9, INK),
        "good answers": (records["done"][done] / 1e9, THIRD),
        "no good answer": (records["due"][~done] / 1e9, CANDIDATE),
    }
    end = max([seconds, *(times.max() for times, _ in instants.values() if len(times))])
    count = int(np.clip(len(records) / 10, 5, 120))
    for name, (times, colour) in instants.items():
        if len(times):
            counts, edges = np.histogram(times, count, (0, end))
            axes.stairs(counts / (end / count), edges, color=colour, linewidth=1.6, label=name)
    axes.set(xlabel="time, s", ylabel="per second", ylim=(0, None), xlim=(0, end))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(**ABOVE)
