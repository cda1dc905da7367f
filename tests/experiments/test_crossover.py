"""The crossover: how it shares its time, goes on and ends; one short sweep on the real server, in the end."""

import json
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossover.cli import main
from crossover.experiments.sweep import result as crossings
from crossover.experiments.sweep import run as sweep_run
from crossover.experiments.sweep.grid import Place
from crossover.experiments.sweep.site import Site
from crossover.measurement import network_link
from crossover.report.format import tied
from serving.server import Server
from serving.state import name
from tests.analysis.test_comparison import trial
from tests.commands import again, goes_on, interrupted, only, refuses, run, says_that_no_server_answers, start
from workloads import catalogue

BOTH = catalogue.BUILT_IN


def options(**given) -> SimpleNamespace:
    """As from the command line."""
    usual = {"sweeps": ["size", "network", "workers"], "workloads": BOTH, "weights": ["real", "tiny"], "url": ""}
    usual["arms"] = {name: ["client", "server"] for name in BOTH}
    usual |= {"seconds": 1800, "rounds": 6, "state": "s", "reports": "r", "seed": 1, "continued": ""}
    usual |= {"argv": [], "given": {}}
    return SimpleNamespace(**usual | given)


@pytest.fixture
def unlinked(monkeypatch):
    @contextmanager
    def link(name):
        raise network_link.Missing("tc is not installed (Debian: iproute2)")
        yield

    monkeypatch.setattr(network_link, "link", link)


@pytest.fixture
def budgets(monkeypatch, tmp_path):
    """Run a crossover that measures nothing: what every sweep is given, if each takes what it is given."""

    def run(lost=(), **given) -> dict:
        reports = str(tmp_path / f"{len(list(tmp_path.iterdir()))}")
        planned, found = sweep_run.SweepExperiment(options(reports=reports, **given)), {}
        now = [0.0]

        @contextmanager
        def site(weights, place):
            if (weights, place) in lost:
                raise network_link.Missing("gone")
            now[0] += sweep_run.START
            yield Site(weights, Server("", {}))

        def sweep(at, swept, place):
            found[at.weights, swept.slug] = planned.budget()
            now[0] += found[at.weights, swept.slug]

        monkeypatch.setattr(sweep_run.time, "monotonic", lambda: now[0])
        planned.site, planned.sweep = site, sweep
        planned.measure()
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
    [line] = [line for line in sweep_run.SweepExperiment(options()).plan().splitlines() if "link" in line]
    assert line.startswith("left out: network, so the others have its time: no such link can be made here: tc is not")
    assert budgets() == budgets(sweeps=["size", "workers"])


def test_a_link_that_is_lost_in_the_run_leaves_its_time_to_what_comes_after(budgets, monkeypatch):
    monkeypatch.setattr(network_link, "missing", lambda name: "")
    found, whole = budgets(lost=[("real", Place(linked=True))]), budgets()
    assert ("real", "image-link-rate") not in found and ("tiny", "image-link-rate") in found
    for part, seconds in found.items():
        assert seconds > 2 * whole[part] if part[0] == "tiny" else seconds == whole[part]


def test_without_flags_both_regimes_are_run_on_own_servers(monkeypatch):
    class Seen(Exception):
        pass

    def seen(options):
        raise Seen(options.weights, options.url)

    monkeypatch.setattr(sweep_run.SweepExperiment, "__init__", lambda self, options: seen(options))
    with pytest.raises(Seen, match=r"\(\['real', 'tiny'\], ''\)"):
        main.main(["sweep"])


# The command ------------------------------------------------------------------------------------------------------


SHORT = "points.LEAST, points.MOST, grid.SHORTEST = 3, 5, 0.3"
"""Trials of few arrivals, where only their being there is looked at."""


TWO_SIZES = """
from dataclasses import replace

from workloads.image import IMAGE

[sizes] = IMAGE.sizes
WORKLOAD = replace(IMAGE, sizes=(replace(sizes, values=sizes.values[:2]),))
"""


@pytest.fixture(scope="module")
def small(server, tmp_path_factory):
    """One sweep of two sizes, on the session's server: (output, directory, entries)."""
    reports = tmp_path_factory.mktemp("reports")
    two = tmp_path_factory.mktemp("workloads") / "two_sizes.py"
    two.write_text(TWO_SIZES)
    flags = f"--url {server.url} --state {server.state} --sweeps size {two} --rounds 6 --seconds 90"
    shorter = "points.MOST = 15; grid.SHORTEST = 0.3"
    code, output = run("crossover", *flags.split(), "--reports", reports, shorter=shorter)
    assert code in (0, 3), output  # 3: a machine that was too busy to measure on
    directory = only(reports)
    return output, directory, json.loads((directory / "crossover.json").read_text())


def test_a_sweep_has_a_ratio_at_every_point_and_a_sentence(small):
    output, _, [found] = small
    assert found["workload"] == "image" and found["unit"] == "megapixels" and "tiny" in found["network"]
    assert [point["x"] for point in found["points"]] == [0.1875, 1.09184]
    for point in found["points"]:
        assert point["ratio"] == pytest.approx(point["candidate_p50"] / point["baseline_p50"])
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
    assert (directory / "tiny" / "image-image-size" / "ratio.png").stat().st_size > 5000
    code, printed, _ = again(monkeypatch, capsys, directory)
    made = Path("reports") / f"{directory.name}-report"
    assert code in (0, 3) and found[0]["says"] in printed
    assert json.loads((made / "crossover.json").read_text()) == found
    assert (made / "report.html").read_text() == before
    assert tied(crossings.outcome(found[0])) in before and "24 trials" in before
    assert (made / "tiny" / "image-image-size" / "ratio.png").stat().st_size > 5000


@pytest.mark.long
def test_ctrl_c_leaves_what_was_measured_and_it_can_go_on(server, tmp_path):
    given = ["--url", server.url, "--state", server.state, "--sweeps", "workers", "image"]
    given += ["--seconds", 100, "--rounds", 2, "--reports", tmp_path]
    process = start("crossover", *given, shorter=SHORT)
    output = interrupted(process, lambda: len(list(tmp_path.glob("*/*/*/*/*/round-01.json"))) >= 2)
    directory = only(tmp_path)
    assert f"go on with: crossover sweep --continue {directory}" in output
    run = json.loads((directory / "run.json").read_text())
    assert run["complete"] is False
    assert (directory / "crossover.json").exists()
    assert "This run is incomplete." in (directory / "report.html").read_text()
    goes_on("crossover", directory, *given, shorter=SHORT)
    [sweep] = json.loads((directory / "run.json").read_text())["sweeps"].values()
    assert [sweep] == [{**each, "closer_look": True} for each in run["sweeps"].values()]
    assert len(list(directory.rglob("round-*.json"))) == 2 * 2 * len(sweep["points"])


TURNS = """
add_point = points.PointMeasurement.add_point
points.PointMeasurement.add_point = lambda *given: add_point(*given[:-1], [{"crossing": {"x": 3.2}}])
points.LEAST, points.MOST, grid.SHORTEST = 3, 5, 0.3
"""


@pytest.mark.long
def test_one_more_point_is_measured_near_a_crossing(server, tmp_path):
    """Whatever the machine says: the crossing is put at 3.2 workers, of 1, 2 and 4 planned."""
    given = ["--url", server.url, "--state", server.state, "--sweeps", "workers", "image"]
    given += ["--seconds", 100, "--rounds", 2, "--reports", tmp_path]
    code, output = run("crossover", *given, shorter=f"exec({TURNS!r})")
    assert code in (0, 3), output
    assert "client workers: one more point near the crossing, 3 threads" in output
    [sweep] = json.loads((only(tmp_path) / "run.json").read_text())["sweeps"].values()
    assert [(each["x"], each.get("added")) for each in sweep["points"]] == [(1, None), (2, None), (4, None), (3, True)]
    assert len(list(tmp_path.glob("*/*/*/workers-3/*/round-*.json"))) == 2 * 2
    [entry] = json.loads((only(tmp_path) / "crossover.json").read_text())
    assert [point["x"] for point in entry["points"]] == [1, 2, 3, 4] and entry["planned"] == 4


def test_what_is_finished_is_not_waited_for_and_the_others_have_their_share_of_the_time(tmp_path):
    """Of an interrupted run that has all of one sweep and half of another."""
    planned = sweep_run.SweepExperiment(options(sweeps=["size"], continued=str(tmp_path)))
    first, second, *others = ((weights, place, each) for (weights, place), at in planned.waiting.items() for each in at)
    planned.described = {"sweeps": {}}
    for weights, _, sweep in (first, second):
        known = {"points": [{"label": sweep.points[0].label}], "closer_look": True}
        planned.described["sweeps"][f"{weights}/{sweep.slug}"] = known
    whole = sum(planned.shares())
    gone = sweep_run.share(*(first[i] for i in (0, 2, 1)))
    for number, (weights, place, sweep) in enumerate((first, second)):
        measurement = planned.points_of(weights, sweep, place)
        for arm in measurement.folders:
            folder = measurement.directory / sweep.points[0].label / arm
            folder.mkdir(parents=True)
            for done in range(1, planned.options.rounds + 1 - number):
                trial("client", [1.0], path=folder / f"round-{done:02}.json").write()
    assert planned.drop_finished() == pytest.approx((whole - gone) / whole)
    left = [(weights, place, each) for (weights, place), at in planned.waiting.items() for each in at]
    assert left == [second, *others]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--sweeps", "colour"], "unknown --sweeps 'colour'; try some of size, network, workers, cores"),
        (["video"], "unknown workload 'video'; try one of image, audio"),
        (["--weights", "huge"], "unknown --weights 'huge'; try some of tiny, real"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--seconds", "5"], "--seconds must be at least"),
        (["--seconds", "nan"], "seconds must be a positive number"),
        (["--fast"], "no such option '--fast'"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_two(arguments, says, capsys):
    refuses("crossover", arguments, says, capsys)


def test_without_a_server_it_says_so_in_one_line(tmp_path):
    says_that_no_server_answers("crossover", "--sweeps", "size", "--reports", tmp_path)


def test_no_server_and_no_namespace_of_a_run_stays(tmp_path):
    """Stopped while it measures behind a link of its own, with a server of its own."""
    state = tmp_path / "state"
    flags = ("--weights", "tiny", "--sweeps", "network", "audio", "--seconds", 300)
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
