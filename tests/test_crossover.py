"""Sweeps and what they come to; one short sweep on the real server, in the end."""

import io
import json
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from loadgen import crossing as crossings
from loadgen import crossover, curves, network, sweeps
from loadgen.serverside import Server
from loadgen.sites import Site
from loadgen.sweeps import Place, lengths, planned
from loadgen.turning import turn
from serving.state import name
from tests.conftest import ROOT
from tests.experiments import again, goes_on, interrupted, only, refuses, run, says_that_no_server_answers, start
from tests.test_comparison import block

BOTH = ["image", "audio"]


def crossing(x, ratios, error=0.05, n=400):
    """The crossing of points that are all known with this error of their logarithm."""
    logs = np.log(ratios)
    drawn = logs + np.random.default_rng(1).normal(0, error, (n, len(ratios)))
    return turn(x, ratios, sides(logs, 1.96 * error), drawn)


def sides(logs, half):
    return ["" if abs(log) < half else "client" if log > 0 else "server" for log in logs]


# The crossing -----------------------------------------------------------------------------------------------------


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
        if found := turn(x, np.exp(own), decided, wide):
            given += 1
            hits += (found["low"] or 0) <= np.sqrt(27) <= (found["high"] or np.inf)
    assert given > 200 and hits / given > 0.93


def test_one_side_throughout_is_no_crossing():
    for ratios in ([1.1, 2, 3], [0.9, 0.5, 0.8]):
        assert crossing([1, 2, 3], ratios) is None


def test_a_limit_beyond_the_sweep_is_left_open():
    logs = np.log([1.5, 0.9])
    drawn = logs + np.random.default_rng(1).normal(0, 0.1, (400, 2))
    found = turn([1, 2], [1.5, 0.9], ["client", "server"], drawn)
    assert 1 < found["low"] < found["x"] < 2 and found["high"] is None
    assert turn([1, 2], [0.9, 1.5], ["server", "client"], drawn[:, ::-1])["low"] is None


@pytest.mark.parametrize("limits", [(1.5, 3), (None, 3), (1.5, None), (None, None)])
def test_an_open_limit_of_the_crossing_is_shaded_to_the_edge(limits):
    from matplotlib.figure import Figure

    given = entry((1, 1.1, 1.3), (4, 0.7, 0.9), cross={"by": "p50", "x": 2, "low": limits[0], "high": limits[1]})
    axes = Figure().subplots()
    curves.draw_crossover(axes, given)
    [shade] = [patch for patch in axes.patches if patch.get_alpha() == 0.09]
    edges, [low, high] = axes.get_xlim(), (shade.get_x(), shade.get_x() + shade.get_width())
    assert (low, high) == (limits[0] or edges[0], limits[1] or edges[1])


def entry(*points, cross=None, mean=None):
    """Points as (x, low, high), all of the same mean."""
    made = [{"x": x, "low": low, "high": high, "ratio": (low * high) ** 0.5 if low else 1} for x, low, high in points]
    made = [{**point, "mean": mean or dict.fromkeys(("ratio", "low", "high"), 1.0)} for point in made]
    about = {"workload": "image", "sweep": "image size", "unit": "megapixels", "regime": "the real network"}
    return {**about, "points": made, "crossing": cross}


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
    assert says in crossings.says(given)


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
        made.append([(block("client", own, n), block("server", other, n)) for n, (own, other) in enumerate(turns)])
    monkeypatch.setattr(crossings.blocks, "read", lambda directory: [])
    monkeypatch.setattr(crossings, "paired", lambda here, client: made.pop(0))
    [found] = crossings.evaluate(Path(), "-", {**sweep, "forms": [""], "points": asked})
    assert found["crossing"]["by"] == "mean"
    assert 1 < found["crossing"]["low"] < found["crossing"]["x"] < found["crossing"]["high"] < 2
    assert "the server is quicker by mean below" in found["says"]


def test_what_it_looks_like_so_far_is_the_ratio_at_each_point():
    def whole(arm, latency):
        return block(arm.partition("-")[0], [latency] * 3, path=Path("point", arm, "round-01"))

    points = [[whole("client", 10), whole("server", 5)], [], [whole("server", 30), whole("client", 20)]]
    assert crossings.running(points, "") == "p50 server/client 0.5, 1.5"
    points = [[whole("client-UINT8-tensor", 10), whole("server", 20)], [whole("server", 20)]]
    assert crossings.running(points, "UINT8 tensor") == "p50 server/client UINT8 tensor 2"
    assert crossings.running([[], []], "") == ""


# The plan ---------------------------------------------------------------------------------------------------------


def test_blocks_have_as_many_arrivals_at_every_point():
    found = lengths([50, 5], 2, 6, 200, 12, 1000)
    assert found[0] * 50 == pytest.approx(found[1] * 5, rel=0.01)
    assert sum(2 * 6 * (each + sweeps.OVERHEAD) for each in found) == pytest.approx(200, rel=0.02)


def test_the_slowest_points_are_left_out_until_the_others_have_enough_arrivals():
    assert lengths([50, 5, 0.1], 2, 6, 60, 12, 200)[2] == 0
    assert lengths([50, 5, 0.1], 2, 6, 6000, 12, 200)[2] > 0
    assert lengths([0.1], 2, 6, 10, 12, 200) == [0]


def test_cores_are_swept_only_where_there_are_enough():
    chosen, left_out = planned(["cores"], BOTH, 2)
    assert chosen == [] and "client and server cores are not swept" in left_out[0]
    chosen, left_out = planned(["cores"], BOTH, 8)
    assert left_out == []
    for sweep in chosen:
        assert [point.x for point in sweep.points] == [1, 2, 4]
        assert all(point.client_cores + point.place.cores <= 8 for point in sweep.points)


def test_every_sweep_ascends_and_its_labels_are_unique():
    for sweep in planned(sweeps.NAMES, BOTH, 8)[0]:
        assert all(a.x < b.x for a, b in zip(sweep.points, sweep.points[1:], strict=False))
        assert len({point.label for point in sweep.points}) == len(sweep.points)


def test_photographs_go_as_tensor_as_bytes_and_as_jpeg():
    [sweep, _] = planned(["network"], BOTH, 2)[0]
    models = [form.client.model for form in sweep.clients.values()]
    assert models == ["resnet50", "resnet50_uint8"]
    assert {point.x for point in sweep.points} == {10, 100, 1000}


def options(**given) -> SimpleNamespace:
    """As from the command line."""
    usual = {"sweeps": ["size", "network", "workers"], "workloads": BOTH, "weights": ["real", "tiny"], "url": ""}
    usual |= {"seconds": 1800, "rounds": 6, "state": "s", "reports": "r", "seed": 1, "continued": ""}
    return SimpleNamespace(**usual | given)


@pytest.fixture
def unlinked(monkeypatch):
    @contextmanager
    def link(name):
        raise network.Missing("tc is not installed (Debian: iproute2)")
        yield

    monkeypatch.setattr(network, "link", link)


@pytest.fixture
def budgets(monkeypatch, tmp_path):
    """Run a crossover that measures nothing: what every sweep is given, if each takes what it is given."""

    def run(lost=(), **given) -> dict:
        reports = str(tmp_path / f"{len(list(tmp_path.iterdir()))}")
        planned, found = crossover.Crossover(options(reports=reports, **given)), {}
        now = [0.0]

        @contextmanager
        def site(weights, place):
            if (weights, place) in lost:
                raise network.Missing("gone")
            now[0] += crossover.START
            yield Site(weights, Server("", {}))

        def sweep(at, swept, place):
            found[at.weights, swept.slug] = planned.budget()
            now[0] += found[at.weights, swept.slug]

        monkeypatch.setattr(crossover.time, "monotonic", lambda: now[0])
        planned.site, planned.sweep = site, sweep
        planned.run()
        assert now[0] == pytest.approx(given.get("seconds", 1800))
        return found

    return run


def test_both_regimes_share_the_time_the_real_networks_first(budgets, unlinked):
    found = budgets()
    regimes = [weights for weights, _ in found]
    assert regimes == ["real"] * 5 + ["tiny"] * 5
    real, tiny = (sum(each for (weights, _), each in found.items() if weights == of) for of in ("real", "tiny"))
    assert real > 3 * tiny > 60
    assert found["real", "image-image-size"] == pytest.approx(3 * found["tiny", "image-image-size"])


def test_where_no_link_can_be_made_the_other_sweeps_get_its_time_and_a_line_says_so(budgets, unlinked):
    [line] = [line for line in crossover.Crossover(options()).plan().splitlines() if "link" in line]
    assert line.startswith("left out: network, so the others have its time: no such link can be made here: tc is not")
    assert budgets() == budgets(sweeps=["size", "workers"])


def test_a_link_that_is_lost_in_the_run_leaves_its_time_to_what_comes_after(budgets, monkeypatch):
    monkeypatch.setattr(network, "missing", lambda name: "")
    found, whole = budgets(lost=[("real", Place(linked=True))]), budgets()
    assert ("real", "image-link-rate") not in found and ("tiny", "image-link-rate") in found
    for part, seconds in found.items():
        assert seconds > 2 * whole[part] if part[0] == "tiny" else seconds == whole[part]


def test_without_flags_both_regimes_are_run_on_own_servers(monkeypatch):
    class Seen(Exception):
        pass

    def seen(options):
        raise Seen(options.weights, options.url)

    monkeypatch.setattr(crossover, "Crossover", seen)
    monkeypatch.setattr("sys.argv", ["crossover"])
    monkeypatch.setattr(crossover, "heed_sigterm", lambda: None)
    with pytest.raises(Seen, match=r"\(\['real', 'tiny'\], ''\)"):
        crossover.main()


def test_make_crossover_starts_no_other_server_and_takes_an_invalid_block_for_no_error():
    done = subprocess.run(["make", "-n", "crossover"], cwd=ROOT, capture_output=True, text=True, check=True)
    *before, last = [line for line in done.stdout.splitlines() if "python -m " in line]
    assert last.split("-m ")[1] == "loadgen.crossover --engine auto  || test $? -eq 3"
    assert not any("serving" in line for line in before)


# Payloads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), sweeps.SIZES)
def test_photographs_have_exactly_the_size_that_was_asked_for(width, height):
    from PIL import Image

    made = sweeps.photographs(width, height)
    assert {Image.open(io.BytesIO(payload.encoded)).size for payload in made} == {(width, height)}
    assert len({payload.encoded for payload in made}) == 2


@pytest.mark.parametrize("rate", sweeps.RATES)
@pytest.mark.parametrize("seconds", sweeps.LENGTHS)
def test_clips_have_exactly_the_length_and_the_rate_that_were_asked_for(seconds, rate):
    import soundfile

    made = sweeps.clips(seconds, rate)
    for payload in made:
        about = soundfile.info(io.BytesIO(payload.encoded))
        assert (about.frames, about.samplerate, about.channels) == (seconds * rate, rate, 1)
        assert np.abs(soundfile.read(io.BytesIO(payload.encoded))[0]).max() > 0.05
    assert made[0].encoded != made[1].encoded


# The command ------------------------------------------------------------------------------------------------------


SHORT = "sweeping.LEAST, sweeping.MOST, sweeps.SHORTEST = 3, 5, 0.3"
"""Blocks of few arrivals, where only their being there is looked at."""


@pytest.fixture(scope="module")
def small(server, tmp_path_factory):
    """One sweep of two sizes, on the session's server: (output, directory, entries)."""
    reports = tmp_path_factory.mktemp("reports")
    flags = f"--url {server.url} --state {server.state} --sweeps size --workloads image --rounds 6 --seconds 90"
    shorter = "sweeping.MOST = 15; sweeps.SIZES, sweeps.SHORTEST = sweeps.SIZES[:2], 0.3"
    code, output = run("crossover", *flags.split(), "--reports", reports, shorter=shorter)
    assert code in (0, 3), output  # 3: a machine that was too busy to measure on
    directory = only(reports)
    return output, directory, json.loads((directory / "crossover.json").read_text())


def test_a_sweep_has_a_ratio_at_every_point_and_a_sentence(small):
    output, _, [found] = small
    assert found["workload"] == "image" and found["unit"] == "megapixels" and "tiny" in found["network"]
    assert [point["x"] for point in found["points"]] == [0.1875, 1.09184]
    for point in found["points"]:
        assert point["ratio"] == pytest.approx(point["server_p50"] / point["client_p50"])
        assert point["rounds"] == 6
    assert found["says"] in output


def test_both_placements_got_the_same_schedules(small):
    _, directory, _ = small
    for folder in (directory / "tiny" / "image-image-size").glob("*x*"):
        digests = [
            [json.loads(path.read_text())["schedule"] for path in sorted((folder / arm).glob("round-*.json"))]
            for arm in ("client", "server")
        ]
        assert digests[0] == digests[1] and len(digests[0]) == 6


def test_figures_plots_and_page_come_from_what_is_on_the_disk(small, monkeypatch, capsys):
    _, directory, found = small
    before = (directory / "report.html").read_text()
    for made in ("crossover.json", "report.html", "tiny/image-image-size/ratio.png"):
        (directory / made).unlink()
    code, printed, _ = again(monkeypatch, capsys, directory)
    assert code == 0 and found[0]["says"] in printed
    assert json.loads((directory / "crossover.json").read_text()) == found
    assert (directory / "report.html").read_text() == before
    assert crossings.outcome(found[0]) in before and "24 blocks" in before
    assert (directory / "tiny" / "image-image-size" / "ratio.png").stat().st_size > 5000


def test_ctrl_c_leaves_what_was_measured_and_it_can_go_on(server, tmp_path):
    given = ["--url", server.url, "--state", server.state, "--sweeps", "workers", "--workloads", "image"]
    given += ["--seconds", 100, "--rounds", 2, "--reports", tmp_path]
    process = start("crossover", *given, shorter=SHORT)
    output = interrupted(process, lambda: len(list(tmp_path.glob("*/*/*/*/*/round-01.json"))) >= 2)
    directory = only(tmp_path)
    assert f"go on with --continue {directory}" in output
    run = json.loads((directory / "run.json").read_text())
    assert run["complete"] is False
    assert (directory / "crossover.json").exists()
    assert "This run is incomplete." in (directory / "report.html").read_text()
    goes_on("crossover", directory, *given, shorter=SHORT)
    [sweep] = json.loads((directory / "run.json").read_text())["sweeps"].values()
    assert [sweep] == list(run["sweeps"].values())
    assert len(list(directory.rglob("round-*.json"))) == 2 * 2 * len(sweep["points"])


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"cores": [2, 3]}, []),
        ({"engine": "docker"}, ["engine: local against docker"]),
        ({"version": "2.52.0"}, ["server's version: 2.51.0 against 2.52.0"]),
        (
            {"models": {"resnet50": {"provenance": {"weights": "pretrained"}}}},
            ["weights of resnet50: random against pretrained"],
        ),
    ],
)
def test_a_sweep_goes_on_with_the_server_that_it_began_on_or_one_like_it(other, says):
    server = {"version": "2.51.0", "engine": "local", "cores": [1]}
    server["models"] = {"resnet50": {"provenance": {"weights": "random"}}}
    assert crossover.unlike({"server": server}, {"server": server | other}) == says


def test_what_is_finished_is_not_waited_for_and_the_others_have_their_share_of_the_time(tmp_path):
    """Of an interrupted run that has all of one sweep and half of another."""
    planned = crossover.Crossover(options(sweeps=["size"], continued=str(tmp_path)))
    first, second, *others = ((weights, place, each) for (weights, place), at in planned.waiting.items() for each in at)
    planned.described = {"sweeps": {}}
    for weights, _, sweep in (first, second):
        planned.described["sweeps"][f"{weights}/{sweep.slug}"] = {"points": [{"label": sweep.points[0].label}]}
    whole = sum(planned.shares())
    gone = crossover.share(*(first[i] for i in (0, 2, 1)))
    for number, (weights, place, sweep) in enumerate((first, second)):
        sweeping = planned.sweeping(weights, sweep, place)
        for arm in sweeping.arms:
            folder = sweeping.directory / sweep.points[0].label / arm
            folder.mkdir(parents=True)
            for done in range(1, planned.options.rounds + 1 - number):
                block("client", [1.0], path=folder / f"round-{done:02}.json").write()
    assert planned.drop_finished() == pytest.approx((whole - gone) / whole)
    left = [(weights, place, each) for (weights, place), at in planned.waiting.items() for each in at]
    assert left == [second, *others]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--sweeps", "colour"], "unknown --sweeps 'colour'; try some of size, network, workers, cores"),
        (["--workloads", "video"], "unknown --workloads 'video'; try some of image, audio"),
        (["--weights", "huge"], "unknown --weights 'huge'; try some of tiny, real"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--seconds", "5"], "--seconds must be at least"),
        (["--seconds", "nan"], "seconds must be a positive number"),
        (["--fast"], "unrecognized arguments"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_two(arguments, says, monkeypatch, capsys):
    refuses("crossover", arguments, says, monkeypatch, capsys)


def test_without_a_server_it_says_so_in_one_line(tmp_path):
    says_that_no_server_answers("crossover", "--sweeps", "size", "--reports", tmp_path)


def test_no_server_and_no_namespace_of_a_run_stays(tmp_path):
    """Stopped while it measures behind a link of its own, with a server of its own."""
    state = tmp_path / "state"
    flags = ("--weights", "tiny", "--sweeps", "network", "--workloads", "audio", "--seconds", 300)
    process = start("crossover", *flags, "--state", state, "--reports", tmp_path / "reports", shorter=SHORT)
    while not list(tmp_path.glob("reports/*/*/*/*/*/round-01.json")) and process.poll() is None:
        time.sleep(0.2)
    process.terminate()
    output, _ = process.communicate(timeout=90)
    if "no such link can be made here" in output:
        pytest.skip(output)
    assert process.returncode == 130, output
    assert not (state / "crossover" / "server.json").exists()
    assert not list(Path("/run/netns").glob(f"{name(state / 'crossover')}*"))
