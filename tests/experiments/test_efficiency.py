"""Laws of `efficiency`: its arithmetic on invented figures, and its measurement on the real server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crossover.experiments.efficiency.result import StageFigures, sentence, summarise, workload_table
from crossover.experiments.efficiency.run import Stage, measure_efficiency, measure_stage
from loadgen.arm import Arm, Mode
from serving.server import Server, Unavailable
from tests import forks, trials_on_disk
from tests.commands import again, only
from tests.conftest import ROOT
from tests.gateway import gateway
from transport.message import make_request
from workloads.audio import AUDIO
from workloads.image import IMAGE
from workloads.image_variants import AREA

KEYS = {"ensemble_rate", "steps", "bound", "bound_by", "efficiency", "mean_batch"}


def turn(rate: float, cpu: float = 0.001, busy=0.9, others=0.05, waiting=3.0, **batches: float) -> StageFigures:
    return StageFigures(rate, cpu, busy, others, batches, waiting)


def invented(whole: float, *steps: tuple[float, float], cores: int = 1) -> dict:
    """`steps` are (rate, CPU seconds) of a, b, ...; one repetition."""
    names = "abcd"[: len(steps)]
    turns = {"both": [turn(whole, **dict.fromkeys(names, 2.0))]}
    turns |= {name: [turn(*step, **{name: 1.0})] for name, step in zip(names, steps, strict=True)}
    return summarise(turns, cores)


@pytest.mark.parametrize(
    ("steps", "cores", "bound", "by"),
    [
        ([(50, 0.004), (400, 0.001)], 1, 50, "a"),
        ([(400, 0.001), (50, 0.004)], 1, 50, "b"),
        ([(100, 0.010), (100, 0.010)], 1, 50, "cpu"),
        ([(100, 0.010), (100, 0.010)], 2, 100, "a"),
        ([(180, 0.010), (190, 0.010)], 2, 100, "cpu"),
        ([(90, 0.001), (80, 0.001), (70, 0.001)], 1, 70, "c"),
    ],
)
def test_the_bound_is_the_slowest_step_or_the_cores(steps, cores, bound, by):
    found = invented(40, *steps, cores=cores)
    assert (found["bound"], found["bound_by"]) == (pytest.approx(bound), by)
    assert found["efficiency"] == pytest.approx(40 / bound)


def test_what_the_ensemble_saves_over_http_shows_as_carrying():
    turns = {"both": [turn(100, 0.008, a=2, b=2)], "a": [turn(120, 0.007, a=1)], "b": [turn(900, 0.003, b=1)]}
    found = summarise(turns, cores=1)
    assert found["carrying"] == pytest.approx(1.25)
    assert found["ensemble_cpu_seconds_per_request"] == 0.008


def test_one_disturbed_repetition_changes_the_range_but_not_the_efficiency():
    rates = [100, 100, 10, 100, 100]
    turns = {"both": [turn(rate, a=3) for rate in rates], "a": [turn(100, a=1) for _ in rates]}
    found = summarise(turns, cores=1)
    assert found["efficiency"] == 1
    assert found["range"] == [pytest.approx(0.1), 1]


def test_the_table_names_each_step_with_its_batch_alone_and_in_the_ensemble():
    printed = workload_table(invented(40, (50, 0.004), (400, 0.001)))
    assert "both (ensemble)" in printed
    assert [line.split()[0] for line in printed.splitlines() if "1.00 -> 2.00" in line] == ["a", "b"]
    assert "bound 50/s by a; efficiency 80 % (80 to 80 %)" in printed


def disturbed(ensemble: dict, alone: dict) -> dict:
    """An ensemble at 104 % of its one slow step, with these figures of either."""
    turns = {"both": [turn(52, a=2, b=2, **ensemble)], "a": [turn(50, 0.004, a=1, **alone)], "b": [turn(400, b=1)]}
    return {"subject": "photographs", **summarise(turns, 1)}


SAID = "For photographs this run does not show how efficient the ensemble is: "


@pytest.mark.parametrize(
    ("ensemble", "alone", "says"),
    [
        ({}, {"others": 0.73}, "other programs took 73 % of the server's cores (10 % are allowed)."),
        ({"others": 0.11}, {}, "other programs took 11 % of the server's cores (10 % are allowed)."),
        ({}, {"busy": 0.4, "waiting": 0.1}, "a alone could have done more than the clients asked for."),
        ({"busy": 0.4, "waiting": 0.9}, {}, "the ensemble could have done more than the clients asked for."),
    ],
)
def test_what_was_not_the_servers_limit_is_no_efficiency(ensemble, alone, says):
    """A step that waits for its clients, or for another program's core, is slower than it can be."""
    found = disturbed(ensemble, alone)
    assert sentence(found) == SAID + says
    assert f"; no efficiency: {says.removesuffix('.')}; carrying" in workload_table(found)
    assert "104" not in sentence(found) and "1.04" not in workload_table(found)


@pytest.mark.parametrize("alone", [{}, {"busy": 0.4}, {"waiting": 0.0}], ids=["both", "requests wait", "cores in use"])
def test_a_saturated_server_has_an_efficiency_with_the_range_of_its_repetitions(alone):
    said = sentence(disturbed({}, alone))
    assert "all (104 to 104 % in single repetitions) of the 50 that its steps would allow, bound by a alone." in said


QUICKER = SAID + "it was quicker than its steps allow, so the machine's speed changed between their measurements."
ROUGH = (
    "80 % (60 to 90 % in single repetitions) of the 50 that its steps would allow, bound by a alone; its repetitions"
)


@pytest.mark.parametrize(("rates", "says"), [((58.5, 43.5, 72.5), QUICKER), ((40, 30, 45), ROUGH)])
def test_above_its_bound_an_ensemble_has_no_efficiency_and_with_uneven_repetitions_a_rough_one(rates, says):
    turns = {"both": [turn(rate, a=2, b=2) for rate in rates]}
    turns |= {"a": [turn(50, 0.004, a=1)] * 3, "b": [turn(400, b=1)] * 3}
    found = {"subject": "photographs", **summarise(turns, 1)}
    assert says in sentence(found) and "efficiency 1.17" not in workload_table(found)
    assert ("efficiency 80 % (60 to 90 %), rough; " in workload_table(found)) is (says == ROUGH)


def test_where_the_cpu_is_the_bound_a_step_need_not_be_saturated():
    turns = {"both": [turn(95, a=2, b=2)], "a": [turn(120, 0.007, busy=0.2, waiting=0, a=1)]}
    turns["b"] = [turn(900, 0.003, b=1)]
    assert "95 % (95 to 95 %" in sentence({"subject": "photographs", **summarise(turns, 1)})


@pytest.fixture
def kept(tmp_path):
    """reports/<time>-efficiency/ as it is left, of photographs."""
    directory = tmp_path / "a-efficiency"
    directory.mkdir()
    described = {**trials_on_disk.run(("image",)), "kind": "efficiency"}
    described["workloads"]["image"] = {"library": "dali", "payloads": ["a.jpg"]}
    for name, content in (("run", described), ("efficiency", trials_on_disk.efficiency("image"))):
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def test_the_result_has_a_page_and_is_shown_in_the_report_of_bench(kept, tmp_path, monkeypatch, capsys):
    sentence = "For photographs the ensemble answers 11.1 requests/s, 97 % (96 to 98 % in single repetitions) of the "
    code, printed, _ = again(monkeypatch, capsys, kept)
    sentence += "11.5 that its steps would allow"
    assert code == 0 and "4.00 -> 1.60" in printed and "efficiency 97 % (96 to 98 %)" in printed
    trials_on_disk.write(tmp_path / "bench", ("image",), 1)
    page = Path("reports/a-efficiency-report/report.html").read_text()
    assert again(monkeypatch, capsys, tmp_path / "bench", kept)[0] == 3  # of one round nothing is decided
    for each in (page, Path("reports/bench-a-efficiency-report/report.html").read_text()):
        text = each.replace("\N{NO-BREAK SPACE}", " ")
        assert sentence in text and "<td>4.00</td><td>1.60</td>" in text
    assert "Every trial" not in page
    assert json.loads(Path("reports/bench-a-efficiency-report/efficiency.json").read_text())["image"]["efficiency"]


def test_of_nothing_measured_there_is_no_page(kept, monkeypatch, capsys):
    (kept / "efficiency.json").write_text("{}")
    code, output, errors = again(monkeypatch, capsys, kept)
    assert (code, output, errors.count("\n")) == (1, "", 1) and "nothing was measured" in errors
    assert not Path("reports").exists()


def ensemble(workload) -> Arm:
    return Arm(workload, "server", Mode("sequential"))


@pytest.mark.parametrize(
    "workload", [pytest.param(IMAGE, marks=pytest.mark.long), AUDIO], ids=lambda workload: workload.name
)
def test_an_ensemble_is_measured_against_its_steps(server, workload):
    connected = Server.at(server.url, server.state)
    found = measure_efficiency(connected, ensemble(workload), workload.load(), seconds=3)
    assert found.keys() >= KEYS
    assert tuple(found["steps"]) == tuple(found["mean_batch"]) == workload.steps
    assert found["bound_by"] in (*workload.steps, "cpu")
    for step in found["steps"].values():
        assert step["rate"] > 0 and step["cpu_seconds_per_request"] >= 0  # in a short turn less than a tick of 10 ms
    assert found["ensemble_cpu_seconds_per_request"] > 0
    assert all(batch >= 1 for batch in found["mean_batch"].values())
    assert 0 < found["efficiency"] < 2


@pytest.mark.long  # workloads/test_other_servers.py runs the command on such a server; its words are tested below
def test_of_a_server_that_is_not_the_launchers_the_bound_is_the_slowest_step(server, tmp_path):
    found = measure_efficiency(Server.at(server.url, tmp_path), ensemble(AUDIO), AUDIO.load(), seconds=1)
    assert found["bound_by"] in AUDIO.steps and found["efficiency"] == found["ensemble_rate"] / found["bound"]
    assert found["ensemble_cpu_seconds_per_request"] is found["busy"] is found["others"] is found["carrying"] is None
    table = workload_table({"subject": "recordings", **found})
    assert "the server's CPU is not measured" in table and table.splitlines()[1].split()[3:6] == ["-", "-", "-"]


def test_without_the_cpu_only_what_waits_shows_that_a_server_was_saturated():
    unknown = {"cpu": None, "busy": None, "others": None}
    turns = {"both": [turn(40, a=2, b=2, **unknown)], "a": [turn(50, a=1, **unknown)], "b": [turn(400, b=1, **unknown)]}
    said = sentence({"subject": "photographs", **summarise(turns, 0)})
    assert said.endswith("of the 50 of its slowest step, a alone; what the server's CPU allows is not measured.")
    turns["both"] = [turn(40, waiting=0.2, a=2, b=2, **unknown)]
    assert "the ensemble could have done more than the clients asked for" in sentence(
        {"subject": "photographs", **summarise(turns, 0)}
    )


def test_a_server_without_statistics_is_refused_in_one_line(server, tmp_path):
    with gateway(server.url) as url, pytest.raises(Unavailable, match="has no statistics of its models"):
        measure_stage(Server.at(url, tmp_path), Stage("image", [], IMAGE.steps), [])


def test_what_the_server_refuses_ends_it_in_one_line(server):
    request = make_request(IMAGE.placements["server"].target, b"no photograph")
    bad = Stage("image", [request], IMAGE.steps)
    with pytest.raises(Unavailable, match=r"^image: failed: HTTP 400: .*'encoded'") as refused:
        measure_stage(Server.at(server.url, server.state), bad, [0] * 20)
    assert "\n" not in str(refused.value)


def run(*arguments) -> subprocess.CompletedProcess:
    return forks.run("crossover", "efficiency", *arguments)


def test_the_command_prints_a_table_and_leaves_a_report_that_says_what_the_library_loses(server, tmp_path):
    flags = ["--seconds", 3, "--url", server.url, "--state", server.state, "--reports", tmp_path]
    done = run("image", "--library", "opencv", *flags)
    assert done.returncode in (0, 3), done.stderr  # 3: a machine that was too busy to measure on
    assert "image (ensemble)" in done.stdout and "--explain" in done.stdout
    directory = only(tmp_path)
    found, page = json.loads((directory / "efficiency.json").read_text())["image"], directory / "report.html"
    assert found.keys() >= KEYS
    assert (found["losses"], found["fed"]) == ({}, {"resnet50": {"placement": "client", "lossy": AREA}})
    assert json.loads((directory / "run.json").read_text())["complete"]
    assert "The ensemble and its steps" in page.read_text()
    said = f"resnet50 alone is fed with what client prepares, which loses something: {AREA}."
    assert done.stdout.count(said) == page.read_text().count(said) == 1


def test_a_reader_that_has_enough_ends_it_quietly(server, tmp_path):
    flags = f"image --seconds 3 --url {server.url} --state {server.state} --reports {tmp_path}"
    full = f"{sys.executable} -m crossover efficiency {flags} | head -c 1"
    done = subprocess.run(full, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (len(done.stdout), done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["video"], 2, "unknown workload 'video'; try one of image, audio, or"),
        (["--seconds", "0"], 2, "seconds"),
        (["--url", "http://127.0.0.1:9"], 1, "no Triton server answers"),
    ],
)
def test_an_error_is_one_line(arguments, code, said):
    done = run(*arguments)
    assert done.returncode == code and said in done.stderr and done.stderr.count("\n") == 1
