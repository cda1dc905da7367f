"""Laws of models as strangers write them: what the supervisor takes for alive, and what `up` says of the others."""

import contextlib
import json
import os
import re
import shutil
import signal
import threading
import time
from types import SimpleNamespace

import psutil
import pytest
from onnx import TensorProto, helper

from serving import model_loader, more_models
from serving.processes import STUB, processes, stubs
from serving.state import name as local_name
from serving.supervisor import Supervisor
from serving.triton_api import Refused, TritonAPI
from tests.conftest import launch, ports
from tests.serving.test_more_models import ADD, TENSORS, put
from tests.twins import network

GUARD = 120  # seconds: against a hang, no statement on how fast a model comes back
PYTHON = 'backend: "python" '
ON_CPU = f"{PYTHON}instance_group [ {{ kind: KIND_CPU }} ] "
FORKS = ADD.replace(
    "    def execute",
    """    def initialize(self, args):
        if not os.fork():
            time.sleep(600)

    def execute""",
).replace("import triton", "import os\nimport time\nimport triton")
READER = ADD.replace(
    "    def execute",
    """    @staticmethod
    def auto_complete_config(config):
        while pathlib.Path(__file__).with_name("wait").exists():
            time.sleep(0.1)
        return config

    def execute""",
).replace("import triton", "import pathlib\nimport time\nimport triton")
WAITS = READER.replace(
    """    @staticmethod
    def auto_complete_config(config):""",
    "    def initialize(self, args):",
).replace("        return config\n", "")
"""READER waits for the end of a file where it names its inputs, WAITS where an instance begins."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A server with strangers' models alone: what `up` printed, its record, its state and repository."""
    folder, state = tmp_path_factory.mktemp("strange") / "models", tmp_path_factory.mktemp("state")
    put(folder, "decode_0", ADD, config=f'{PYTHON}instance_group [ {{ name: "decode" count: 1 kind: KIND_CPU }} ] ')
    put(folder, "forks", FORKS, config=ON_CPU)
    put(folder, "gone", ADD, config=ON_CPU)
    put(folder, "pair", ADD, config=f"{PYTHON}instance_group [ {{ count: 2 kind: KIND_CPU }} ] ")
    put(folder, "reader", READER, config=PYTHON)
    put(folder, "steady", ADD, config=ON_CPU)
    put(folder, "waits", WAITS, config=ON_CPU)
    put(folder, "versions", ADD, config=f"{ON_CPU}version_policy {{ all {{ }} }} ")
    (folder / "versions" / "3").mkdir()
    (folder / "versions" / "3" / "model.py").write_text(ADD.replace("+ 1", "+ 3"))
    put(folder, "misspelt", ADD, config=f"{PYTHON}max_batchsize: 4 ")
    put(folder, "engine", config='platform: "tensorrt_plan" ')
    tensors = {"x": (TensorProto.FLOAT, ["n", 1])}, {"y": (TensorProto.FLOAT, ["n", 1])}
    doubled = network([helper.make_node("Add", ["x", "x"], ["y"])], *tensors).SerializeToString()
    for name in ("bare", "platform"):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "model.onnx").write_bytes(doubled)
    (folder / "platform" / "config.pbtxt").write_text(f'platform: "onnxruntime_onnx" {TENSORS}')
    try:
        up = launch("up", "--engine=local", "--only", f"--models={folder}", f"--state={state}", *ports())
        assert up.returncode == 0, up.stderr
        record = json.loads((state / "server.json").read_text())
        yield SimpleNamespace(up=up.stdout, record=record, name=record["name"], state=state, folder=folder)
    finally:
        launch("down", f"--state={state}")
        assert not processes(local_name(state))


def ask(alone, model: str, version: str = "") -> float:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [3]}]}
    path = f"/v2/models/{model}{f'/versions/{version}' if version else ''}/infer"
    answer, _ = TritonAPI(alone.record["address"]).call(path, json.dumps(body).encode())
    return json.loads(answer)["outputs"][0]["data"][0]


def until(condition):
    end = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def kill(alone, model: str, **wanted):
    """Kill a stub of this model, whose fields are as wanted, once the supervisor has seen it; wait for its reload."""
    log = alone.state / "server.log"
    victim = next(
        stub for stub in stubs(alone.name)
        if stub.model == model and all(getattr(stub, field) == value for field, value in wanted.items())
    )  # fmt: skip
    said = log.read_text().count(f"supervisor: {model}: ")
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: log.read_text().count(f"supervisor: {model}: ") > said)
    last = re.findall(f"supervisor: {model}: .*", log.read_text())[-1]
    assert "; reloaded, " in last
    return victim


def test_an_instance_that_is_called_as_its_model_is_alive(alone):
    [stub] = [each for each in stubs(alone.name) if each.model == "decode_0"]
    assert stub.instance == "decode_0"
    said = []
    supervisor = Supervisor(alone.record, said.append)
    supervisor.repair(supervisor.adopt())
    assert said == [] and supervisor.broken == {} and ask(alone, "decode_0") == 4
    assert "supervisor: decode_0" not in (alone.state / "server.log").read_text()


def test_a_stub_that_reads_a_configuration_is_no_instance(alone):
    api, wait = TritonAPI(alone.record["address"], alone.record["admin_key"]), alone.folder / "reader" / "1" / "wait"
    api.unload("reader")
    until(lambda: not [stub for stub in stubs(alone.name) if stub.model == "reader"])
    wait.touch()
    loading = threading.Thread(target=api.load, args=("reader", None))
    loading.start()
    try:
        until(lambda: [stub for stub in stubs(alone.name) if stub.model == "reader"])
        [stub] = [each for each in stubs(alone.name) if each.model == "reader"]
        assert stub.instance == "reader" and not Supervisor(alone.record, print).is_instance(stub)
    finally:
        wait.unlink()
        loading.join()
    [stub] = [each for each in stubs(alone.name) if each.model == "reader"]
    assert stub.instance != "reader" and Supervisor(alone.record, print).is_instance(stub)
    assert ask(alone, "reader") == 4


def test_a_version_whose_stub_dies_comes_back_though_another_version_lives(alone):
    assert {stub.version for stub in stubs(alone.name) if stub.model == "versions"} == {"1", "3"}
    kill(alone, "versions", version="1")
    assert (ask(alone, "versions", "1"), ask(alone, "versions", "3")) == (4, 6)


def test_a_process_that_a_model_forked_does_not_stand_for_its_stub(alone):
    kin = [pid for pid, program in processes(alone.name).items() if program == STUB and "/forks/" in command(pid)]
    [stub] = [each for each in stubs(alone.name) if each.model == "forks"]
    assert len(kin) == 2 and psutil.Process(stub.pid).ppid() == alone.record["pid"]
    kill(alone, "forks")
    assert ask(alone, "forks") == 4


def command(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


def test_a_model_is_not_called_reloaded_before_its_stubs_are_new(alone):
    """Twice, as Triton leaves a model as it is that is loaded with the configuration that it has."""
    for _ in range(2):
        before = {stub.pid for stub in stubs(alone.name) if stub.model == "pair"}
        kill(alone, "pair")
        assert len({stub.pid for stub in stubs(alone.name) if stub.model == "pair"} - before) == 2
        until(lambda: len([stub for stub in stubs(alone.name) if stub.model == "pair"]) == 2)
        assert ask(alone, "pair") == 4


def test_a_model_that_takes_long_to_load_lets_no_other_wait(alone):
    [stub] = [each for each in stubs(alone.name) if each.model == "waits"]
    wait, log = alone.folder / "waits" / "1" / "wait", alone.state / "server.log"
    wait.touch()
    try:
        os.kill(stub.pid, signal.SIGKILL)
        until(lambda: [each for each in stubs(alone.name) if each.model == "waits" and each.pid != stub.pid])
        kill(alone, "steady")
        assert ask(alone, "steady") == 4 and "supervisor: waits: " not in log.read_text()
    finally:
        wait.unlink()
    until(lambda: "supervisor: waits: " in log.read_text())
    assert f"waits: stub {stub.pid} died; reloaded, the models are ready" in log.read_text()
    assert ask(alone, "waits") == 4


def test_a_stub_comes_back_though_a_link_in_the_repository_leads_nowhere_by_now(alone):
    """Triton has no index of its models then."""
    lost = alone.folder / "lost"
    lost.symlink_to(alone.folder / "nowhere")
    try:
        with pytest.raises(Refused):
            TritonAPI(alone.record["address"], alone.record["admin_key"]).call("/v2/repository/index", b"")
        kill(alone, "steady")
        assert ask(alone, "steady") == 4
    finally:
        lost.unlink()


def test_a_model_whose_configuration_names_no_backend_has_its_share_of_the_threads(alone):
    threads = len(alone.record["cores"])
    for name in ("bare", "platform"):
        assert alone.record["more_plan"][name] == {"instances": 1, "threads": threads, "slo_ms": None}
        assert ask(alone, name) == 6


def test_what_is_wrong_in_a_configuration_is_named_with_its_place(alone):
    assert 'has no field named "max_batchsize"' in alone.record["more_models"]["misspelt"]
    assert (
        alone.record["more_models"]["engine"] == "this server has no backend 'tensorrt', only dali, onnxruntime, python"
    )


def test_a_model_without_a_file_is_said_to_have_none(tmp_path):
    """Its stub dies as it begins, and only the log says of what."""
    log = tmp_path / "log"
    log.write_text("I1 pb_stub.cc:2105] Failed to preinitialize Python stub: no file in '/models/empty/1/model.py'\n")
    stuck = model_loader.Stuck("empty: its Python stub died as it began, and tritonserver waits for it forever")
    assert more_models.explain(stuck, tmp_path / "empty", log) == "no file in '/models/empty/1/model.py'"
    assert more_models.explain(stuck, tmp_path / "mpty", log).startswith("empty: its Python stub died")
    assert more_models.explain(stuck, tmp_path / "empty", None).startswith("its Python stub died as it began")


def test_a_model_whose_stub_and_folder_are_gone_is_refused_at_once_and_said(alone):
    """The last test of this server: its supervisor goes on trying."""
    [stub] = [each for each in stubs(alone.name) if each.model == "gone"]
    shutil.rmtree(alone.folder / "gone")
    os.kill(stub.pid, signal.SIGKILL)
    until(
        lambda: f"supervisor: gone: stub {stub.pid} died; reloading failed" in (alone.state / "server.log").read_text()
    )
    with pytest.raises(Refused) as refusal:
        ask(alone, "gone")
    assert refusal.value.code in (404, 503)  # unknown, or not ready
