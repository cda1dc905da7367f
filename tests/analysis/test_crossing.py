"""Where a sweep turns, with its interval, and the sentence that says so."""

from pathlib import Path

import numpy as np
import pytest

from crossover.analysis.crossing_point import find_crossing
from crossover.analysis.verdict import BASELINE, CANDIDATE
from crossover.experiments.sweep import plots
from crossover.experiments.sweep import result as crossings
from tests.analysis.test_comparison import trial
from workloads.image import IMAGE


def crossing(x, ratios, error=0.05, n=400):
    """The crossing of points that are all known with this error of their logarithm."""
    logs = np.log(ratios)
    drawn = logs + np.random.default_rng(1).normal(0, error, (n, len(ratios)))
    return find_crossing(x, ratios, sides(logs, 1.96 * error), drawn)


def sides(logs, half):
    return ["" if abs(log) < half else BASELINE if log > 0 else CANDIDATE for log in logs]


def test_a_crossing_is_interpolated_on_logarithmic_axes():
    assert crossing([1, 100], [2, 1 / 2])["x"] == pytest.approx(10)
    assert crossing([1, 1000], [1 / 2, 4])["x"] == pytest.approx(10)


def test_its_interval_holds_it_and_narrows_with_the_error():
    widths = []
    for error in (0.02, 0.08):
        found = crossing([1, 2, 4, 8], [1.4, 1.1, 0.8, 0.6], error)
        assert found["low"] < found["x"] < found["high"]
        widths.append(found["high"] / found["low"])
    assert widths[0] < widths[1]


def test_only_where_it_is_certain_to_turn_is_a_crossing():
    """From 1.01 to 0.99 is noise; from 1.2 to 0.7 it turns."""
    x, at = [1, 2, 4, 8], crossing([4, 8], [1.2, 0.7])
    found = crossing(x, [1.01, 0.99, 1.2, 0.7])
    assert found["x"] == pytest.approx(at["x"]) and 4 < found["low"] < found["x"] < found["high"] < 8
    assert crossing(x, [1.2, 0.7, 1.01, 0.99])["high"] < 2
    assert crossing(x, [1.01, 0.99, 1.01, 0.99]) is None


def test_undecided_points_between_the_certain_ones_widen_the_interval():
    near, far = crossing([1, 8], [1.3, 0.7]), crossing([1, 2, 4, 8], [1.3, 0.99, 1.01, 0.7])
    assert 1 < far["low"] < near["low"] and near["high"] < far["high"] < 8
    assert 2 < far["x"] < 4


@pytest.mark.parametrize("ratios", [[1.3, 0.7, 1.3], [1.3, 1, 0.7, 1, 1.3], [1.3, 0.7, 1.3, 0.7]])
def test_where_it_turns_more_than_once_there_is_no_one_crossing(ratios):
    assert crossing(2.0 ** np.arange(len(ratios)), ratios) is None


@pytest.mark.parametrize("middle", [0.11, 0.03], ids=["a line", "nearly a shelf"])
@pytest.mark.parametrize("error", [0.05, 0.3])
def test_its_interval_covers_the_truth_as_often_as_it_says(middle, error):
    """The truth falls, is as far from even at 3 as at 9, and so crosses halfway; 8 rounds, each point drawn with a
    known error."""
    random, x, hits, given = np.random.default_rng(7), np.array([1, 3, 9, 27]), 0, 0
    truth = np.array([0.4, middle, -middle, -0.4])
    for _ in range(400):
        rounds = truth + random.normal(0, error, (8, 4))
        picks = random.integers(0, 8, (200, 8, 4))
        resampled, own = np.take_along_axis(rounds[None], picks, 1).mean(1), rounds.mean(0)
        wide = own + (resampled - own) * 2.365 / 1.96 * np.sqrt(8 / 7)
        decided = sides(own / rounds.std(0, ddof=1), 2.365 / np.sqrt(8))
        if found := find_crossing(x, np.exp(own), decided, wide):
            given += 1
            hits += (found["low"] or 0) <= np.sqrt(27) <= (found["high"] or np.inf)
    assert given > 200 and hits / given > 0.93


def test_one_side_throughout_is_no_crossing():
    for ratios in ([1.1, 2, 3], [0.9, 0.5, 0.8]):
        assert crossing([1, 2, 3], ratios) is None


def test_a_limit_beyond_the_sweep_is_left_open():
    logs = np.log([1.5, 0.9])
    drawn = logs + np.random.default_rng(1).normal(0, 0.1, (400, 2))
    found = find_crossing([1, 2], [1.5, 0.9], [BASELINE, CANDIDATE], drawn)
    assert 1 < found["low"] < found["x"] < 2 and found["high"] is None
    assert find_crossing([1, 2], [0.9, 1.5], [CANDIDATE, BASELINE], drawn[:, ::-1])["low"] is None


@pytest.mark.parametrize("limits", [(1.5, 3), (None, 3), (1.5, None), (None, None)])
def test_an_open_limit_of_the_crossing_is_shaded_to_the_edge(limits):
    from matplotlib.figure import Figure

    given = entry((1, 1.1, 1.3), (4, 0.7, 0.9), cross={"by": "p50", "x": 2, "low": limits[0], "high": limits[1]})
    axes = Figure().subplots()
    plots.draw_ratios(axes, given)
    [shade] = [patch for patch in axes.patches if patch.get_alpha() == 0.09]
    edges, [low, high] = axes.get_xlim(), (shade.get_x(), shade.get_x() + shade.get_width())
    assert (low, high) == (limits[0] or edges[0], limits[1] or edges[1])


PLACED = IMAGE.describe(("client", "server"))["placements"]
BOTH = ("client", "server")


def entry(*points, cross=None, mean=None):
    """Points as (x, low, high), all of the same mean."""
    made = [{"x": x, "low": low, "high": high, "ratio": (low * high) ** 0.5 if low else 1} for x, low, high in points]
    made = [{**point, "mean": mean or dict.fromkeys(("ratio", "low", "high"), 1.0)} for point in made]
    about = {"workload": "image", "sweep": "image size", "unit": "megapixels", "regime": "the real network"}
    return {**about, "placements": PLACED, "points": made, "crossing": cross}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (entry((1, 1.1, 1.3), (2, 1.2, 1.4)), "the client is quicker throughout"),
        (entry((1, 0.7, 0.9), (2, 0.9, 1.1)), "the server is quicker wherever a difference is shown (not at 2"),
        (entry((1, 0.9, 1.1), (2, 0.9, 1.1)), "no difference shown anywhere"),
        (
            entry((1, 1.1, 1.2), (2, 0.9, 1.3), (12.19, 0.8, 2), mean={"ratio": 1.87, "low": 1.5, "high": 2.3}),
            "(not at 2, 12.19 megapixels); server/client p50 1.08 to 1.26; by mean the client is ahead at 2, 12.19"
            " megapixels, 1.87.",
        ),
        (entry((1, None, None), (2, 0.9, 1.1)), "measure 6 rounds or more"),
        (entry(), "nothing was measured"),
        (
            entry((1, 1.1, 1.3), (4, 0.7, 0.9), cross={"by": "p50", "x": 2, "low": 1.5, "high": None}),
            "the client is quicker below 2 megapixels (95 %: 1.5 to after the sweep), the server above; server/client",
        ),
        (
            entry((1, 0.9, 1.1), (2, 1.1, 1.3), (8, 0.7, 0.9), cross={"by": "p50", "x": 5, "low": 4, "high": 6}),
            "the client is quicker below 5 megapixels (95 %: 4 to 6), the server above (not shown at 1 megapixels);",
        ),
        (
            entry((1, 1.1, 1.3), (2, 0.9, 1.1), (4, 0.7, 0.9), (8, 1.1, 1.3)),
            "it turns 2 times, so there is no one crossing: the client is quicker at 1, 8 and the server is quicker at"
            " 4 megapixels; server/client p50",
        ),
        (
            entry(
                (1, 0.9, 1.3),
                cross={"by": "mean", "x": 2, "low": 1.5, "high": 3},
                mean={"ratio": 0.8, "low": 0.7, "high": 0.9},
            ),
            "the server is quicker by mean below 2 megapixels (95 %: 1.5 to 3), the client above; server/client p50",
        ),
    ],
)
def test_every_outcome_has_its_sentence(given, says):
    assert says in crossings.describe_entry(given)


def test_the_crossing_is_by_mean_where_only_the_mean_tells_the_placements_apart(monkeypatch):
    """Medians that are equal throughout; a tenth of the requests differs, at either end for the other placement."""

    def latencies(slower: float) -> np.ndarray:
        """(rounds, requests) in ms."""
        rng = np.random.default_rng(int(slower))
        return rng.normal(100, 5, (8, 60)) * np.where(np.arange(60) % 10, 1, slower)

    kinds = {"left": (4.0, 1.0), "right": (1.0, 4.0)}
    asked = [{"x": x, "label": label, "kilobytes": 1.0} for x, label in enumerate(kinds, 1)]
    sweep = {"workload": "image", "sweep": "image size", "unit": "megapixels", "network": "-", "regime": "-"}
    made = []
    for slow in kinds.values():
        turns = zip(*map(latencies, slow), strict=True)
        made.append([(trial("client", own, n), trial("server", other, n)) for n, (own, other) in enumerate(turns)])
    monkeypatch.setattr(crossings, "read_trials", lambda directory: [])
    monkeypatch.setattr(crossings, "pair_trials", lambda here, baseline, candidate: made.pop(0))
    [found] = crossings.evaluate(Path(), "-", {**sweep, "placements": PLACED, "forms": [""], "points": asked})
    assert found["crossing"]["by"] == "mean"
    assert 1 < found["crossing"]["low"] < found["crossing"]["x"] < found["crossing"]["high"] < 2
    assert "the server is quicker by mean below" in found["says"]


def test_what_it_looks_like_so_far_is_the_ratio_at_each_point():
    def whole(arm, latency):
        return trial(arm.partition("-")[0], [latency] * 3, path=Path("point", arm, "round-01"))

    points = [[whole("client", 10), whole("server", 5)], [], [whole("server", 30), whole("client", 20)]]
    assert crossings.summarise_interim(points, "", BOTH) == "p50 server/client 0.5, 1.5"
    points = [[whole("client-UINT8-tensor", 10), whole("server", 20)], [whole("server", 20)]]
    assert crossings.summarise_interim(points, "UINT8 tensor", BOTH) == "p50 server/client UINT8 tensor 2"
    assert crossings.summarise_interim([[], []], "", BOTH) == ""
