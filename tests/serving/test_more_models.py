"""Laws of --models: another repository beside ours, whose faults are its own."""

import json
import os
import re
import signal
import time
from types import SimpleNamespace

import pytest

from serving import local, more_models
from serving.processes import stubs
from serving.record import list_differences, new_record
from serving.supervisor import Supervisor
from serving.temporary_server import temporary_server
from serving.thread_plan import GPU_STEPS
from serving.triton_api import TritonAPI
from tests.conftest import launch, ports

ADD = """
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        sums = [pb.get_input_tensor_by_name(request, "x").as_numpy() + 1 for request in requests]
        return [pb.InferenceResponse([pb.Tensor("y", each)]) for each in sums]
"""
TENSORS = """max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ] output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""
STEP = """step [ { model_name: "add-one" model_version: -1 input_map { key: "x" value: "x" }
output_map { key: "y" value: "y" } } ]"""


def put(folder, name, code=None, config='backend: "python" instance_group [ { kind: KIND_CPU } ] '):
    """Write a model into a repository; without code it is an ensemble."""
    (folder / name / "1").mkdir(parents=True)
    if code is not None:
        (folder / name / "1" / "model.py").write_text(code)
    (folder / name / "config.pbtxt").write_text(f'name: "{name}" {config}{TENSORS}')


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs") / "models"
    put(folder, "a_sum", config=f'platform: "ensemble" ensemble_scheduling {{ {STEP} }} ')
    put(folder, "add-one", ADD)
    put(folder, "ungrouped", ADD, config='backend: "python" ')
    put(folder, "grouped", ADD, config='backend: "python" instance_group [ { name: "cpu" count: 2 kind: KIND_CPU } ] ')
    put(folder, "broken", "raise RuntimeError('no luck')")
    put(folder, "unreadable", ADD, config="backend: python ")
    put(folder, "coloured", "raise RuntimeError('\\x1b[31mred')")
    (folder / "no-file" / "config.pbtxt").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def beside(theirs):
    """A server of its own with these models beside ours; no process is left of it in the end."""
    state = theirs.parent / "state"
    with temporary_server(state, "tiny", flags=["--models", str(theirs)]) as server:
        yield server, state
    assert not local.processes(server.state["name"])


def sum_of_three(server) -> float:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [3]}]}
    answer, _ = server.api.call("/v2/models/a_sum/infer", json.dumps(body).encode())
    return json.loads(answer)["outputs"][0]["data"][0]


def test_models_are_served_beside_ours_and_one_that_fails_takes_no_other_along(theirs, beside):
    server, state = beside
    served = server.state["more_models"]
    assert list(served)[-1] == "a_sum" and served["a_sum"] == served["add-one"] == ""
    assert "no luck" in served["broken"] and served["unreadable"]
    assert sum_of_three(server) == 4
    status = launch("status", f"--state={state}")
    assert status.returncode == 0 and "missing  broken: " in status.stdout and "no luck" in status.stdout
    assert "a_sum" in status.stdout.partition("all ready: ")[2]
    facts = json.loads(launch("status", "--json", f"--state={state}").stdout)
    assert facts["not_served"].keys() == {"broken", "coloured", "unreadable"} and facts["answers"]
    assert "\x1b" not in facts["not_served"]["coloured"]
    again = launch("up", "--engine=local", "--weights=tiny", f"--state={state}", *same(server))
    assert again.returncode == 0 and f"--models {theirs}" in again.stdout, again.stderr  # it asks for no others
    wish = f"--models={theirs}/add-one"
    other = launch("up", "--engine=local", "--weights=tiny", wish, f"--state={state}", *same(server))
    assert other.returncode and other.stderr.count("\n") == 1, other.stderr


def test_a_stub_of_theirs_that_is_killed_comes_back(beside):
    server, state = beside
    [stub] = [each for each in stubs(server.state["name"]) if each.model == "add-one"]
    os.kill(stub.pid, signal.SIGKILL)
    # The supervisor may not have seen the stub yet: then it is "missing", and has not "died".
    while not re.search(
        "supervisor: add-one: .*; reloaded, image and audio answer", (state / "server.log").read_text()
    ):
        time.sleep(0.1)
    assert sum_of_three(server) == 4


def test_each_model_has_as_many_stubs_as_the_supervisor_expects_whatever_its_groups_are_called(beside):
    """A model that lacks one is reloaded, and the ensembles that need it are gone meanwhile."""
    supervisor = Supervisor(beside[0].state, print)
    models = [stub.model for stub in stubs(beside[0].state["name"])]
    assert {model: models.count(model) for model in ("add-one", "ungrouped", "grouped")} == {
        "add-one": 1, "ungrouped": 1, "grouped": 2,
    }  # fmt: skip
    assert all(models.count(model) == supervisor.instances(model) for model in ("ungrouped", "grouped", "resnet50"))


def same(server) -> list[str]:
    return [f"--{kind}-port={server.state[f'{kind}_port']}" for kind in ("http", "grpc", "metrics")]


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["empty"], "no model is there; expected folders with a config.pbtxt"),
        (["missing"], "No such file or directory; expected a model repository"),
        (["file"], "no folder; expected a model repository"),
        (["loop"], "links"),
        (["lost"], "the link 'gone' leads nowhere, and Triton lists no model beside it; remove it"),
        (["control"], "no URL can have the name 'a\\nb' in it; rename the model"),
        (["question"], "no URL can have the name 'why?' in it"),
        (["ours"], "the name 'resnet50' is taken by ours; rename the model"),
        (["guarded"], "the name 'image_check' is taken by ours"),
        (["ensemble"], "the name 'image' is taken by ours"),
        (["one", "two"], "the name 'detector' is taken by that of "),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(tmp_path, folders, words):
    names = {"ours": "resnet50", "guarded": "image_check", "ensemble": "image", "one": "detector", "two": "detector"}
    names |= {"control": "a\nb", "question": "why?", "lost": "fine"}
    for folder in folders:
        if folder in names:
            put(tmp_path / folder, names[folder], ADD)
    if "lost" in folders:
        (tmp_path / "lost" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    flags = [word for folder in folders for word in ("--models", str(tmp_path / folder))]
    for command, module in (("up", "crossover"), ("run", "serving")):
        done = launch(command, *flags, f"--state={tmp_path}/state", module=module)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "--models" in done.stderr and words in done.stderr
    assert not (tmp_path / "state").exists()


def test_an_empty_path_is_not_the_folder_one_stands_in(tmp_path):
    done = launch("up", "--models=", f"--state={tmp_path}")
    assert done.returncode == 2 and "--models '': no folder" in done.stderr and done.stderr.count("\n") == 1


def test_steps_come_before_the_ensembles_that_need_them(theirs):
    assert [model.name for model in more_models.find([str(theirs)])][-1] == "a_sum"


def test_a_step_that_no_gpu_could_run_is_refused(tmp_path):
    done = launch("up", "--on-cpu=ctc_decode", f"--state={tmp_path}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert (
        "'ctc_decode' is none of the steps that can run on a GPU: image_preprocess, resnet50, wav2vec2" in done.stderr
    )


@pytest.mark.parametrize("flag", ["--no-gpu", "--on-cpu=resnet50"])
def test_an_up_with_other_wishes_for_the_gpu_names_both_unless_they_lead_to_the_same_server(server, flag):
    flags = [f"--{kind}-port={getattr(server, f'{kind}_port')}" for kind in ("http", "grpc", "metrics")]
    done = launch("up", "--engine=local", "--weights=tiny", f"--state={server.state}", *flags, flag)
    if server.gpu:
        given, name = flag.replace("=", " "), flag.partition("=")[0]
        assert f"already up with no {name}, and this call has {given}; stop it" in done.stderr
    else:
        assert "nothing was changed" in done.stdout
    assert done.returncode == int(server.gpu) and TritonAPI(server.address).is_live()


@pytest.mark.parametrize(
    ("ran", "asked", "differing"),
    [
        ({}, {"no_gpu": True}, ["no_gpu"]),
        ({"no_gpu": True}, {}, ["no_gpu"]),
        ({"no_gpu": True}, {"on_cpu": [*GPU_STEPS]}, []),
        ({"on_cpu": ["resnet50"]}, {"on_cpu": ["wav2vec2"], "slo": 9}, ["slo", "on_cpu"]),
        ({"no_gpu": True}, {"on_cpu": [*GPU_STEPS], "slo": 9}, ["slo"]),
    ],
)
def test_on_a_gpu_flags_differ_where_other_steps_run_on_it(tmp_path, monkeypatch, ran, asked, differing):
    """A GPU that could be used is assumed; no server is started."""
    monkeypatch.setattr("serving.record.find_obstacle", lambda engine: None)
    asks = {"state": tmp_path, "weights": "tiny", "host": "127.0.0.1", "cores": [0], "slo": 0, "models": []}
    asks |= {"no_gpu": False, "on_cpu": [], "shm": False, "http_port": 1, "grpc_port": 2, "metrics_port": 3}
    asks |= {"only": False, "requirements": [], "admission": False, "workload": ""}
    record = new_record(SimpleNamespace(**asks | ran), "local")
    assert list_differences(record, SimpleNamespace(**asks | asked)) == differing


def test_a_model_that_takes_the_server_with_it_is_named(tmp_path):
    """It kills its server while it loads."""
    put(tmp_path / "theirs", "deadly", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n" + ADD)
    flags = ["--engine=local", "--weights=tiny", f"--models={tmp_path}/theirs", f"--state={tmp_path}/state"]
    done = launch("up", *flags, *ports())
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "tritonserver ended while it loaded deadly" in done.stderr


AUTO = ADD.replace(
    "    def execute",
    """    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [1]})
        config.add_output({"name": "y", "data_type": "TYPE_FP32", "dims": [1]})
        config.set_max_batch_size(8)
        return config

    def execute""",
)
"""Names its inputs and outputs in its code."""


@pytest.mark.parametrize("config", [None, 'backend: "python"\n'])
def test_a_model_that_names_its_inputs_in_its_code_answers_beside_ours(tmp_path, config):
    (tmp_path / "theirs" / "Auto.v2" / "1").mkdir(parents=True)
    (tmp_path / "theirs" / "Auto.v2" / "1" / "model.py").write_text(AUTO)
    if config:
        (tmp_path / "theirs" / "Auto.v2" / "config.pbtxt").write_text(config)
    with temporary_server(tmp_path / "state", "tiny", flags=["--models", str(tmp_path / "theirs")]) as server:
        assert server.state["more_models"] == {"Auto.v2": ""}
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [3]}]}
        answer, _ = server.api.call("/v2/models/Auto.v2/infer", json.dumps(body).encode())
        assert json.loads(answer)["outputs"][0]["data"] == [4]


def test_only_a_configuration_that_leaves_something_out_has_triton_complete_it(tmp_path):
    put(tmp_path, "whole", ADD)
    assert more_models.are_complete([]) and more_models.are_complete([str(tmp_path)])
    assert "--disable-auto-complete-config" in local.flags(record_of(str(tmp_path)), [])
    (tmp_path / "bare" / "1").mkdir(parents=True)
    assert not more_models.are_complete([str(tmp_path)])
    assert "--disable-auto-complete-config" not in local.flags(record_of(str(tmp_path)), [])


def record_of(folder: str) -> dict:
    """Return of a record what the server's flags follow from."""
    numbers = {f"{kind}_port": 1 for kind in ("http", "grpc", "metrics")}
    return {"name": "x", "host": "127.0.0.1", "models": [folder], "cores": [0], "admin_key": "k", **numbers}
