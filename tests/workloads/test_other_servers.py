"""Any server: a Triton without our launcher, and one that has nothing but the Open Inference Protocol.

What cannot be known there is null and "not measured", never 0.
"""

import json
import re

import numpy as np
import pytest

from crossover.measurement.core_use import CoreUse
from crossover.measurement.measure import Counters
from serving.server import Server, Unavailable
from tests.commands import conduct, only
from tests.foreign import foreign_server
from tests.gateway import gateway
from workloads.model_config import read_model

FILE = """
import numpy as np
from crossover import Payload, Placement, Workload

def numbers(encoded):
    return {"numbers": np.frombuffer(encoded, np.uint8)[:4].astype(np.float32)}

def file(encoded):
    return {"file": np.array([encoded], object)}

WEIGHT = np.array([2], np.float32)
WORKLOAD = Workload(
    name="mine", payloads=lambda: [Payload(f"file {i}", bytes([i, 1, 2, 3])) for i in range(3)],
    placements={
        "phone": Placement("weigh", prepare=numbers, extra={"weight": WEIGHT}, outputs=("weighted",)),
        "cloud": Placement("inner", prepare=file, extra={"by": WEIGHT}),
    },
)
"""


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    with foreign_server(tmp_path_factory.mktemp("foreign")) as url:
        yield url


@pytest.fixture(scope="module")
def other(triton):
    with gateway(triton) as url:
        yield url


@pytest.fixture(params=["triton", "other"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def at(tmp_path):
    """Flags: no server of a launcher is known."""
    return ["--state", tmp_path / "none"]


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    return tmp_path / "own.py"


def test_the_placements_are_checked_and_steps_are_asked_where_they_are_known(triton, other, own, at, capsys):
    code, output, errors = conduct(capsys, "check", own, "--url", triton, *at)
    assert (code, errors) == (0, "") and "weighted/product: equal in 3 of 3" in output
    assert "numbers (decode alone): equal in 3 of 3" in output
    code, output, errors = conduct(capsys, "check", own, "--url", other, *at)
    assert (code, errors) == (0, "") and "weighted/product: equal in 3 of 3" in output and "alone" not in output


def test_a_load_is_measured_and_what_is_not_known_is_null(url, own, at, tmp_path, capsys):
    quick = ["--rate", 20, "--seconds", 3, "--arms", "cloud", "--reports", tmp_path / "reports"]
    code, output, errors = conduct(capsys, "load", own, "--url", url, *at, *quick)
    # A busy machine may answer the last of so few late, and keeps up with none of these rates then.
    assert code == 1 if "none of these rates" in output else code in (0, 3)
    assert "Traceback" not in output + errors
    assert "its CPU and GPU are not measured" in output
    directory = only(tmp_path / "reports")
    run = json.loads((directory / "run.json").read_text())
    is_triton = run["server"]["software"] == "Triton"
    assert run["server"]["software"] in ("Triton", "gateway") and run["cores"]["server"] == []
    instances = {model: facts["instances"] for model, facts in run["server"]["models"].items()}
    assert instances == ({"decode": 1, "weigh": 1} if is_triton else {"inner": None})
    [trial] = [json.loads(path.read_text()) for path in directory.rglob("round-*.json")]
    assert trial["server_cpu"] is None and trial["gpu"] is None and trial["step_cpu"] == {}
    # The server may use any core of this machine: what it uses is not other programs' use.
    assert trial["others"] is None and trial["client_others"] is None
    assert set(trial["steps"]) == ({"decode", "weigh", "inner"} if is_triton else set())
    assert re.search(r"cloud +20!? .* - *$", output, re.M)  # "!": the machine was too busy to keep the schedule


def test_an_efficiency_is_told_without_the_cpu_and_without_the_steps_refused(triton, url, own, at, tmp_path, capsys):
    flags = ["--arms", "cloud", "--seconds", 3, "--reports", tmp_path / "reports"]
    code, output, errors = conduct(capsys, "efficiency", own, "--url", url, *at, *flags)
    if url != triton:
        assert code == 1 and errors.count("\n") == 1 and "does not tell which steps inner has" in errors
        return
    found = json.loads((only(tmp_path / "reports") / "efficiency.json").read_text())["mine"]
    assert found["bound_by"] in ("decode", "weigh") and found["busy"] is None
    assert "the server's CPU is not measured" in output
    assert "<td>–</td><td>–</td><td>–</td>" in (only(tmp_path / "reports") / "report.html").read_text()


def test_files_are_inferred_from_any_server(url, own, at, capsys):
    code, output, _ = conduct(capsys, "infer", own, "--url", url, *at)
    assert (code, output) == (0, "file 0: weighted FP32 [1, 4]: 0.0, 2.0, 4.0, 6.0\n")


def test_models_are_read_from_metadata_and_the_workload_says_what_they_leave_open(other):
    known = read_model(other, "weigh", "this test")
    assert known.batched and [(each.name, each.datatype, each.dims) for each in known.inputs] == [
        ("numbers", "FP32", (4,)),
        ("weight", "FP32", (1,)),
        ("bias", "FP32", (1,)),
    ]
    assert known.outputs == ("weighted", "count") and known.steps == ("weigh",)
    # A shape of one dimension is no batch dimension alone, and the workload knows better.
    assert not read_model(other, "unbatched_bytes", "this test").batched
    whole = read_model(other, "weigh", "this test", batched=False)
    assert not whole.batched and whole.inputs[0].dims == (-1, 4)
    with pytest.raises(ValueError, match="has no model nobody, which this test asks"):
        read_model(other, "nobody", "this test")


def test_a_model_that_another_server_lacks_is_said(other):
    server = Server(other, {})
    assert server.statistics() == {}
    server.require(["weigh", "inner"])
    for ask in (server.require, server.facts):
        with pytest.raises(Unavailable, match="nobody"):
            ask(("nobody",))


def test_a_server_that_is_restricted_to_inference_is_measured_as_one_without_statistics(server, monkeypatch):
    asked = Server(server.url, {})

    def refuse(path):
        raise Unavailable(f"{path}: HTTP 403: restricted", 403)

    monkeypatch.setattr(Server, "get", lambda self, path: refuse(path))
    assert asked.statistics() == {}


def test_of_a_server_elsewhere_others_use_of_the_clients_cores_is_known(server, monkeypatch):
    """It uses none of them; one on this machine may use any."""
    for here in (True, False):
        monkeypatch.setattr(Server, "is_here", here)
        asked = Server(server.url, {})
        counters = Counters({}, None, None, None, {}, CoreUse.read(()), CoreUse.read((0,)))
        _ = [np.sort(np.random.default_rng(1).random(100_000)) for _ in range(5)]
        spent, _ = counters.spent(asked, ())
        assert spent["server_cpu"] is None and spent["others"] is None
        assert (spent["client_others"] is None) == here


@pytest.mark.long
def test_placements_are_compared_on_any_server(url, own, at, tmp_path, capsys):
    quick = ["--seconds", 28, "--rounds", 6, "--arrivals", "poisson:rate=10", "--reports", tmp_path / "reports"]
    code, output, errors = conduct(capsys, "compare", own, "--url", url, *at, *quick)
    assert code in (0, 3), errors
    assert re.search(r"server CPU, ms/request +- +- +- +not measured", output)
    assert "the server's CPU time is not known, so neither is what a request costs" in output.replace("\n", " ")
    summary = json.loads((only(tmp_path / "reports") / "summary.json").read_text())
    found = summary["workloads"]["mine"]
    assert all(arm["server_cpu_ms"] is None and arm["gpu_joules"] is None for arm in found["arms"])
    assert found["answer"]["costs"]["baseline"] is None and not found["answer"]["costs"]["server_known"]
    stages = [set(arm["stages"]) for arm in found["arms"]]
    measured = summary["server"]["software"] == "Triton"
    assert all(("weigh compute" in each) == measured for each in stages)
    assert all(("server and network" in each) != measured for each in stages)
    assert found["parity"]["verdict"] == "same"
    page = (only(tmp_path / "reports") / "report.html").read_text()
    assert ("gateway 1.2.3 at" in page) != measured


COMMANDS = {
    "check": [],
    "infer": [],
    "compare": ["--seconds", 6, "--rounds", 1, "--allow-different"],
    "load": ["--seconds", 10],
    "efficiency": ["--seconds", 3],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_takes_json_only_is_refused_in_one_line(triton, own, at, tmp_path, monkeypatch, capsys, command):
    """It cannot read what stands behind the JSON, and does not name the extension for it."""
    monkeypatch.chdir(tmp_path)
    with gateway(triton, json_only=True) as url:
        code, output, errors = conduct(capsys, command, own, "--url", url, *at, *COMMANDS[command])
    assert (code, errors.count("\n")) == (1, 1), errors
    assert "computation" not in output
    assert re.search(r"it may take tensors as JSON only, .* binary_tensor_data; .* \(.*body is no JSON", errors)
    assert not list(tmp_path.glob("reports/*"))


@pytest.mark.parametrize(
    ("reasons", "extensions", "explained"),
    [
        (["HTTP 400: no", "file by phone: HTTP 422: no"], [], True),
        (["[400] no"], ["statistics"], True),
        (["HTTP 400: no"], ["binary_tensor_data"], False),
        (["HTTP 400: no", "no answer within 4 s"], [], False),
        (["HTTP 500: no"], [], False),
        ([], [], False),
    ],
)
def test_only_a_server_that_refuses_all_and_names_no_extension_is_taken_for_one(
    monkeypatch, reasons, extensions, explained
):
    monkeypatch.setattr(Server, "get", lambda self, path: {"extensions": extensions})
    assert bool(Server("http://x:1", {}).explain_refusals(reasons)) is explained
