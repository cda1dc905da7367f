"""What a sweep concludes, in worlds whose truth is known: no more than its data say, in the JSON as in the sentence."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from crossover.analysis.latency_crossing import MARGIN
from crossover.experiments.sweep import figures, plots, result
from crossover.experiments.sweep.wording import describe_entry, outcome
from tests.analysis.test_comparison import trial
from tests.simulations.sweeps import RATES, Round, evaluate, even, links, look_closer, true_crossing
from workloads.image import IMAGE

PLACED = IMAGE.describe(("client", "server"))["placements"]
BOTH = ("client", "server")
STEP = {1: 1.3, 2: 1.3, 4: 0.7, 8: 0.7}


def fail(rounds: list[Round], arm: int, failed: int, answered: slice = slice(None), times: float = 1.0) -> list[Round]:
    """The same rounds, in which so many requests of an arm fail; the others take `times` as long."""
    made = []
    for each in rounds:
        ms, lost = [each.baseline, each.candidate], [0, 0]
        ms[arm], lost[arm] = ms[arm][answered] * times, failed
        made.append(Round(*ms, tuple(lost)))
    return made


def test_ratios_that_step_say_between_which_points_they_turn_and_no_more():
    found = evaluate(even(STEP), "megapixels")
    assert found["crossing"]["low"] < 2.05 and found["crossing"]["high"] > 3.95


def test_over_a_link_latency_is_a_plus_b_by_the_rate():
    """Without queues: 602 and 201 KB, ratios of 1.11 at 1000 and 0.78 at 100 Mbit/s. They are even at 334."""
    ratios = {x: (63.3 + 1608 / x) / (53.7 + 4816 / x) for x in RATES}
    sweep = even(ratios)
    scaled = {x: [Round(*(ms * (53.7 + 4816 / x) / 100 for ms in (r.baseline, r.candidate))) for r in rounds]
              for x, rounds in sweep.items()}  # fmt: skip
    found = evaluate(scaled)["crossing"]
    assert found["low"] < 334 < found["high"] and found["x"] == pytest.approx(334, rel=0.1)
    assert found["law"] == "a + b / x"


@pytest.mark.parametrize("seeds", [15, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("closer", [False, True], ids=["three points", "one more near the crossing"])
def test_over_a_link_with_queues_the_interval_holds_the_truth(closer, seeds):
    truth, hits, given = {"p50": true_crossing(np.median), "mean": true_crossing(np.mean)}, 0, 0
    for seed in range(seeds):
        crossing = evaluate(sweep := links(seed))["crossing"]
        if crossing and closer:
            crossing = evaluate(look_closer(seed, sweep, float(f"{crossing['x']:.2g}")))["crossing"]
        if crossing:
            given += 1
            hits += crossing["low"] <= truth[crossing["by"]] <= crossing["high"]
    assert given > seeds / 2 and hits >= 0.9 * given


def test_a_difference_within_the_margin_has_no_crossing():
    found = evaluate(even({1: 1.005, 2: 1.003, 4: 0.9975, 8: 0.995}, noise=0.0005), "megapixels")
    assert found["crossing"] is None
    assert outcome(found).startswith("equivalent within 5 % at 1, 2, 4, 8 megapixels;")


def test_one_point_without_an_interval_takes_nothing_from_the_others():
    sweep = even({1: 1.3, 2: 1.2, 4: 0.8, 8: 0.7})
    sweep[2] = sweep[2][:5]
    found = evaluate(sweep, "megapixels")
    assert 1 <= found["crossing"]["low"] < found["crossing"]["high"] < 4.2
    assert "the client is quicker below" in found["says"] and "the server above" in found["says"]
    assert "no interval at 2 megapixels (6 rounds or more are needed)" in found["says"]


def test_throughout_is_not_said_of_one_point_of_four():
    found = evaluate(even({0.1875: 1.33}), "megapixels", planned=4)
    assert outcome(found).startswith("the client is quicker at 0.1875 megapixels; ")
    assert "3 of 4 points not measured" in found["says"] and "throughout" not in found["says"]
    found = evaluate(even({1: 1.3, 2: 1.3, 4: 1.3}), "megapixels")
    assert outcome(found).startswith("the client is quicker throughout; server/client p50 1.")


@pytest.mark.parametrize("arm", [0, 1], ids=BOTH)
def test_an_arm_that_fails_its_requests_does_not_carry_the_load_and_its_survivors_are_no_latency(arm):
    """The client is quicker at every point; at the last, an arm's survivors would say that the other one is."""
    sweep = even({1: 1.3, 2: 1.3, 4: 1.3, 8: 1.3})
    sweep[8] = fail(sweep[8], arm, 54, slice(6), 4.0 if arm == 0 else 0.25)
    found = evaluate(sweep, "megapixels")
    assert found["crossing"] is None and found["points"][-1]["ratio"] is None
    assert found["points"][-1]["fails"] == {BOTH[arm]: 0.9}
    assert outcome(found).startswith(
        f"the {BOTH[arm]} does not carry this load at 8 megapixels (90 % of its requests have no good answer); "
        "the client is quicker at 1, 2, 4 megapixels; server/client p50 1."
    )


def test_a_crossing_reaches_no_further_than_both_arms_carry_the_load():
    """The client, which is quicker above the crossing, fails all of its requests at the largest."""
    sweep = even({1: 0.7, 2: 0.8, 4: 1.3, 8: 1.3})
    sweep[8] = fail(sweep[8], 0, 60, slice(0))
    found = evaluate(sweep, "megapixels")
    assert 2 <= found["crossing"]["low"] < found["crossing"]["high"] <= 4
    said = outcome(found)
    assert said.startswith("the client does not carry this load at 8 megapixels (100 % of its requests have no good")
    assert "the client above, as far as both carry the load (1 to 4 megapixels)" in said
    assert "as far as" not in outcome(evaluate(even({1: 0.7, 2: 0.8, 4: 1.3, 8: 1.3}), "megapixels"))


def test_nothing_crosses_where_an_arm_does_not_carry_the_load():
    sweep = even({1: 0.7, 2: 0.8, 4: 1.3, 8: 1.3})
    sweep[2] = fail(sweep[2], 1, 30)
    found = evaluate(sweep, "megapixels")
    assert found["crossing"] is None
    said = outcome(found)
    assert "it turns between 1 and 4 megapixels, where no crossing is told, as an arm does not carry the load" in said
    assert "the client is quicker at 4, 8 megapixels; the server is quicker at 1 megapixel" in said
    # On one side of it there may be a crossing, and what lies on the other is told apart from it.
    sweep = even({1: 0.8, 2: 0.8, 4: 0.8, 8: 0.8, 16: 1.3})
    sweep[2] = fail(sweep[2], 1, 30)
    found = evaluate(sweep, "megapixels")
    assert 8 <= found["crossing"]["low"] < found["crossing"]["high"] <= 16
    assert "as far as both carry the load (4 to 16 megapixels); the server is quicker at 1 megapixel;" in found["says"]


def test_rounds_with_failed_requests_are_excluded_and_counted():
    sweep = even({1: 1.3, 2: 1.3, 4: 0.7, 8: 0.7}, rounds=9)
    # 1 of 541 requests, and the round's others so late that they would turn the ratio.
    sweep[8][0] = fail(sweep[8][:1], 1, 1, slice(None), 1000.0)[0]
    found = evaluate(sweep, "megapixels")
    assert [point["excluded"] for point in found["points"]] == [0, 0, 0, 1]
    assert found["points"][-1]["rounds"] == 8 and found["points"][-1]["ratio"] == pytest.approx(0.7, rel=0.05)
    assert "; 1 of 36 rounds excluded because of unanswered requests." in found["says"]


def test_undecided_is_told_apart_from_equivalent():
    found = evaluate(even({1: 0.95, 2: 1.01}, noise=0.5), "megapixels")
    assert "undecided at 1, 2 megapixels" in found["says"] and "equivalent" not in found["says"]


def test_the_crossing_is_by_mean_where_only_the_mean_tells_the_placements_apart():
    """Medians that are equal throughout; a tenth of the requests differs, at either end for the other placement."""

    def latencies(slower: float, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.normal(100, 5, 60) * np.where(np.arange(60) % 10, 1, slower)

    def rounds(baseline: float, candidate: float, seed: int) -> list[Round]:
        return [Round(latencies(baseline, seed + n), latencies(candidate, seed + n)) for n in range(8)]

    sweep = {1: rounds(4, 1, 0), 2: rounds(1, 4, 100)}
    # Too few requests for a median's interval, not for a mean's: it took the verdict away, and left the crossing.
    few = {3: [Round(each.baseline[:4], each.candidate[:4]) for each in sweep[2]]}
    for points in (sweep, sweep | few):
        found = evaluate(points, "megapixels")
        assert found["crossing"]["by"] == "mean"
        assert 1 <= found["crossing"]["low"] < found["crossing"]["x"] < found["crossing"]["high"] <= 2
        assert "the server is quicker by mean below" in found["says"]


def test_points_lie_by_x_wherever_one_was_added():
    sweep = even({1: 1.3, 8: 0.7, 3: 1.0})
    found = evaluate(sweep, "megapixels")
    assert [point["x"] for point in found["points"]] == [1, 3, 8] and found["crossing"]


def entry(*points, cross=None, mean=None, planned=0, fails=None):
    """Points as (x, low, high), all of the same mean; `fails` are the last one's."""
    made = [{"x": x, "low": low, "high": high, "ratio": (low * high) ** 0.5 if low else 1} for x, low, high in points]
    rest = {"mean": mean or dict.fromkeys(("ratio", "low", "high"), 1.0), "fails": {}, "excluded": 0, "rounds": 6}
    made = [{**point, **rest} for point in made]
    if fails:
        made[-1] |= {"fails": fails, "ratio": None}
    about = {"workload": "image", "sweep": "image size", "unit": "megapixels", "regime": "the real network"}
    return {**about, "placements": PLACED, "planned": planned or len(made), "points": made, "crossing": cross}


def crossing(x, low, high, by="p50"):
    return {"by": by, "x": x, "low": low, "high": high, "law": "a + b x"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (entry((1, 1.1, 1.3), (2, 1.2, 1.4), (4, 1.2, 1.4)), "the client is quicker throughout; server/client p50 1."),
        (entry((1, 1.1, 1.3), (2, 1.2, 1.4)), "the client is quicker at 1, 2 megapixels; server/client"),
        (
            entry((1, 0.7, 0.9), (2, 0.9, 1.1), (4, 0.97, 1.02)),
            "the server is quicker at 1 megapixel; equivalent within 5 % at 4 megapixels; undecided at 2 megapixels; "
            "server/client p50 0.794 to 0.995.",
        ),
        (entry((1, 0.39, 1.4), (2, 0.9, 1.1)), ": undecided at 1, 2 megapixels; server/client p50 0.739 to 0.995."),
        (
            entry((1, 1.1, 1.2), (2, 0.9, 1.3), (12.19, 0.8, 2), mean={"ratio": 1.87, "low": 1.5, "high": 2.3}),
            "undecided at 2, 12.19 megapixels; server/client p50 1.08 to 1.26; by mean the client is quicker at 2, "
            "12.19 megapixels, 1.87.",
        ),
        (entry((1, None, None)), "no interval at 1 megapixel (6 rounds or more are needed); server/client p50 1."),
        (entry(planned=4), "nothing was measured"),
        (
            entry((1, 0.9, 1.1), (2, 1.1, 1.3), (8, 0.7, 0.9), cross=crossing(5, 4, 6)),
            "the client is quicker below 5 [4, 6] megapixels, the server above; undecided at 1 megapixel;",
        ),
        (
            entry((1, 1.1, 1.3), (2, 0.9, 1.1), (4, 0.7, 0.9), (8, 1.1, 1.3)),
            "it turns 2 times, so there is no one crossing; the client is quicker at 1, 8 megapixels; the server is "
            "quicker at 4 megapixels; undecided at 2 megapixels; server/client p50",
        ),
        (
            entry((1, None, None), fails={"client": 0.9, "server": 0.034}),
            "the client does not carry this load at 1 megapixel (90 % of its requests have no good answer); the server"
            " does not carry this load at 1 megapixel (3.4 % of its requests have no good answer).",
        ),
    ],
)
def test_every_outcome_has_its_sentence(given, says):
    assert says in describe_entry(given)


def test_the_interval_of_the_crossing_is_shaded():
    axes = Figure().subplots()
    points = (1, 1.1, 1.3), (4, 0.7, 0.9), (8, 0.7, 0.9)
    plots.draw_ratios(axes, entry(*points, cross=crossing(2, 1.5, 3), fails={"client": 1}))
    [shade] = [patch for patch in axes.patches if patch.get_alpha() == 0.09]
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (1.5, 3)


def test_where_every_point_fails_nothing_is_drawn_and_the_table_has_a_line():
    found = evaluate({1: fail(even({1: 1.0})[1], 0, 60, slice(0))}, "megapixels")
    assert not result.has_ratio(found) and MARGIN == 0.05
    assert [line.split()[-2:] for line in result.table(found).splitlines() if "errors" in line] == [["errors", "(8)"]]


def test_what_it_looks_like_so_far_is_the_ratio_at_each_point():
    def whole(arm, latency):
        return trial(arm.partition("-")[0], [latency] * 3, path=Path("point", arm, "round-01"))

    points = [[whole("client", 10), whole("server", 5)], [], [whole("server", 30), whole("client", 20)]]
    assert figures.summarise_interim(points, "", BOTH) == "p50 server/client 0.5, 1.5"
    points = [[whole("client-UINT8-tensor", 10), whole("server", 20)], [whole("server", 20)]]
    assert figures.summarise_interim(points, "UINT8 tensor", BOTH) == "p50 server/client UINT8 tensor 2"
    assert figures.summarise_interim([[], []], "", BOTH) == ""
