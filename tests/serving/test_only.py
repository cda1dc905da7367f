"""Laws of a server with one's own models alone, and of what is theirs: packages, thread plan, admission, canaries."""

import io
import json
import os
import re
import signal
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper

from serving import Failure, canaries, environment_folders, local, more_models, requirements, thread_plan
from serving.processes import stubs
from serving.server import Server
from serving.triton_api import Refused, TritonAPI
from tests.conftest import launch, ports
from tests.serving.test_more_models import ADD, put
from tests.twins import network

DEPENDENT = ADD.replace("as pb", "as pb\nimport stranger").replace("+ 1", "+ stranger.ONE")
ENSEMBLE = """platform: "ensemble"
ensemble_scheduling { step [
{ model_name: "first" model_version: -1 input_map { key: "x" value: "x" } output_map { key: "y" value: "mid" } },
{ model_name: "double" model_version: -1 input_map { key: "x" value: "mid" } output_map { key: "y" value: "y" } }
] } """
WORKLOAD = """
import numpy as np
from crossover import Placement, Workload, made

WORKLOAD = Workload(
    name="sums", payloads=made(lambda random: np.array([random.integers(9)], np.float32), count=2),
    placements={"half": Placement("double", prepare=lambda x: x + 1), "whole": Placement("both")},
)
"""


def make_wheel(folder, version: str, one: int) -> None:
    """A wheel of a package `stranger`."""
    info = f"stranger-{version}.dist-info"
    content = {
        "stranger.py": f"ONE = {one}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: stranger\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*content, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"stranger-{version}-py3-none-any.whl", "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Models, the packages that they need, and a workload, as a stranger has them."""
    folder = tmp_path_factory.mktemp("own")
    models = folder / "models"
    put(models, "both", config=ENSEMBLE)
    put(models, "first", DEPENDENT)
    put(models, "double", config='backend: "onnxruntime" instance_group [ { kind: KIND_CPU } ] ')
    tensors = {"x": (TensorProto.FLOAT, ["n", 1])}, {"y": (TensorProto.FLOAT, ["n", 1])}
    doubled = network([helper.make_node("Add", ["x", "x"], ["y"])], *tensors)
    (models / "double" / "1" / "model.onnx").write_bytes(doubled.SerializeToString())
    put(models, "broken", "raise RuntimeError('no luck')")
    (models / "bare" / "1").mkdir(parents=True)
    (models / "notes").mkdir()
    make_wheel(folder / "wheels", "1.0", 1)
    (folder / "requirements.txt").write_text("-r nested.txt\n")
    (folder / "nested.txt").write_text(f"--no-index\n--find-links {folder}/wheels\nstranger\n")
    (folder / "workload.py").write_text(WORKLOAD)
    return folder


def flags(own, state, *more: str) -> list[str]:
    given = [f"--models={own}/models", "--only", f"--requirements={own}/requirements.txt", "--admission"]
    return ["up", "--engine=local", *given, f"--workload={own}/workload.py", f"--state={state}", *more]


@pytest.fixture(scope="module")
def alone(own, tmp_path_factory):
    """The server, what `up` printed, its record, and its state directory; no network of ours is there for it."""
    state = tmp_path_factory.mktemp("alone")
    given = ports()
    try:
        up = launch(*flags(own, state, *given))
        assert up.returncode == 0, up.stderr
        record = json.loads((state / "server.json").read_text())
        yield SimpleNamespace(up=up.stdout, state=state, ports=given, record=record, url=f"http://{record['address']}")
    finally:
        launch("down", f"--state={state}")
        assert not local.processes(record["name"])


def ask(alone, model: str = "both") -> float:
    """What the ensemble makes of 3: twice the sum of it and the package's number."""
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [3]}]}
    answer, _ = TritonAPI(alone.record["address"]).call(f"/v2/models/{model}/infer", json.dumps(body).encode())
    return json.loads(answer)["outputs"][0]["data"][0]


def test_nothing_of_ours_is_loaded_and_their_packages_are_found(alone):
    served = {model for model, state in TritonAPI(alone.record["address"], alone.record["admin_key"]).index().items()
              if state == "READY"}  # fmt: skip
    assert served == {"both", "first", "double"} and ask(alone) == 8
    for line in (
        "loaded first",
        "broken is not served: ",
        "bare is not served: ",
        "sums (half) and sums (whole) answer",
    ):
        assert line in alone.up
    assert "notes" not in alone.up


def test_the_projects_environment_has_none_of_their_packages(alone):
    done = launch("print", module="stranger")
    assert done.returncode == 1 and "No module named stranger" in done.stderr


def test_status_knows_their_models_plan_and_canaries(alone):
    status = launch("status", f"--state={alone.state}")
    assert status.returncode == 0, status.stderr
    cores = len(alone.record["cores"])
    for line in (
        "missing  broken: ",
        "no luck",
        "missing  bare: Invalid model name: Could not determine backend for model 'bare'",
        "models   all ready: double, first, both",
        f"instances x threads: double 1x{cores}, first 1x?",
        "--admission does not bound the queue of first: that backend refuses nothing",
        "infers   sums (half) and sums (whole) answer",
    ):
        assert line in status.stdout, status.stdout
    facts = json.loads(launch("status", "--json", f"--state={alone.state}").stdout)
    assert facts["answers"] and facts["answered"] == ["sums (half)", "sums (whole)"] and facts["weights"] == "none"


def test_a_twins_model_of_theirs_has_the_plans_threads_and_the_slo(alone):
    parameters = TritonAPI(alone.record["address"]).config("double")["parameters"]
    values = {name: each["string_value"] for name, each in parameters.items()}
    assert values["intra_op_thread_count"] == str(len(alone.record["cores"]))
    assert values["slo_ms"] == "10000" and values["metrics"].startswith("127.0.0.1:")


@pytest.mark.parametrize("rows", [0, 2**32])
def test_a_request_without_rows_of_a_twins_model_of_theirs_is_refused(alone, rows):
    data = np.float32(3).tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 1], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    with pytest.raises(Refused, match="the request has no rows") as refused:
        TritonAPI(alone.record["address"]).infer("double", head + data, timeout=60, json_size=len(head))
    assert refused.value.code == 400


def test_a_model_with_a_reshape_of_its_own_stays_as_it_is(tmp_path):
    reshape = 'backend: "dali" parameters [ { key: "num_threads" value: { string_value: "3" } } ]'
    put(tmp_path, "model", ADD, config=f"{reshape} ")
    file = tmp_path / "model" / "config.pbtxt"
    file.write_text(re.sub(r"dims: *\[ *1 *\]", "dims: [ 1 ] reshape { shape: [ ] }", file.read_text(), count=1))
    assert "reshape" in file.read_text()
    assert more_models.lay_over(tmp_path / "model", cores=4, slo=0, metrics="127.0.0.1:1") is None


def test_a_stub_that_is_killed_comes_back_and_the_canaries_say_so(alone):
    [stub] = [each for each in stubs(alone.record["name"]) if each.model == "first"]
    os.kill(stub.pid, signal.SIGKILL)
    log = alone.state / "server.log"
    again = r"supervisor: first: .*; reloaded, sums \(half\) and sums \(whole\) answer"
    while not re.search(again, log.read_text()):
        time.sleep(0.1)
    assert ask(alone) == 8


def test_the_commands_find_it_and_its_cpu_is_known(alone, own):
    given = [own / "workload.py", "--url", alone.url, "--state", alone.state]
    assert Server.at(alone.url, alone.state).cpu_seconds()
    check = launch("check", *given)
    assert check.returncode == 0 and "the same computation" in check.stdout, check.stdout + check.stderr


def test_up_again_changes_nothing_and_another_wish_is_named(alone, own):
    again = launch(*flags(own, alone.state, *alone.ports))
    assert again.returncode == 0 and "already up and answering; nothing was changed" in again.stdout, again.stderr
    less = launch(*(each for each in flags(own, alone.state, *alone.ports) if each != "--admission"))
    assert less.returncode == 0, less.stderr  # what a call does not ask for is no wish
    other = launch(*flags(own, alone.state, "--shm", *alone.ports))
    assert other.returncode == 1 and other.stderr.count("\n") == 1
    assert "already up " in other.stderr and "--shm" in other.stderr and "stop it" in other.stderr


@pytest.mark.long
def test_a_canary_without_an_answer_is_named_and_the_server_goes_on(own, tmp_path):
    text = WORKLOAD.replace('"whole": Placement("both")', '"whole": Placement("both"), "bad": Placement("broken")')
    (tmp_path / "workload.py").write_text(text)
    given = [f"--models={own}/models", "--only", f"--workload={tmp_path}/workload.py", f"--state={tmp_path}/state"]
    try:
        up = launch("up", "--engine=local", *given, *ports())
        assert up.returncode == 1 and up.stderr.count("\n") == 1
        # `first` cannot import its package, so the ensemble is not served either.
        assert "up, but sums (whole) asks both, which is not served: " in up.stderr
        status = launch("status", f"--state={tmp_path}/state")
        assert status.returncode == 1 and "sums (whole) asks both" in status.stderr
        assert "No module named 'stranger'" in status.stdout and "all ready: double" in status.stdout
    finally:
        launch("down", f"--state={tmp_path}/state")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--only"], "--only is about the models of --models DIR"),
        (["--requirements=x.txt"], "--requirements is about the models of --models DIR"),
        (["--admission"], "--admission is about the models of --models DIR"),
        (["MODELS", "--admission", "--slo=0"], "--admission needs an --slo above 0"),
        (["MODELS", "--requirements=missing.txt"], "--requirements missing.txt: No such file or directory"),
        (["MODELS", "--requirements=OWN/names-missing.txt"], "which names gone.txt: No such file or directory"),
        (["MODELS", "--requirements=OWN"], "it is a folder"),
        (["MODELS", "--workload=missing.py"], "workload missing.py does not exist"),
        (["MODELS", "--workload=OWN/raises.py"], "prepare of placement 'half' of raises.py raised ZeroDivisionError"),
    ],
)
def test_a_wrong_wish_is_refused_before_anything_starts(own, tmp_path, given, words):
    (own / "names-missing.txt").write_text("--requirement gone.txt\n")
    (own / "raises.py").write_text(WORKLOAD.replace("x + 1", "1 / 0"))
    places = {"MODELS": f"--models={own}/models"}
    flags = [places.get(each, each.replace("OWN", str(own))) for each in given]
    done = launch("up", *flags, f"--state={tmp_path}/state")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--no-index\nno-such-package\n", "pip: No matching distribution found for no-such-package; see "),
        ("--no-index\nnumpy==9.9\n", r"numpy==9.9.*\(constraint\) numpy==1"),
        ("no package at all\n", "pip: "),
    ],
)
def test_what_pip_refuses_is_one_line_and_nothing_is_left_but_its_log(tmp_path, text, words):
    (tmp_path / "requirements.txt").write_text(text)
    given = requirements.hash_file(str(tmp_path / "requirements.txt"))
    with pytest.raises(Failure, match=words) as refused:
        requirements.install(given, tmp_path / "state", alone=True, say=lambda line: None)
    assert "\n" not in str(refused.value) and str(refused.value).startswith(f"--requirements {tmp_path}")
    assert [path.name for path in (tmp_path / "state").iterdir() if path.is_file()] == ["requirements.log"]
    assert not list((tmp_path / "state" / "requirements").iterdir())


def test_packages_are_installed_once_for_a_file_and_anew_when_it_or_what_it_names_has_changed(own, tmp_path):
    lines: list[str] = []
    given = requirements.hash_file(str(own / "requirements.txt"))
    first, again = (requirements.install(given, tmp_path, True, lines.append) for _ in range(2))
    assert first == again and "installing" in lines[0] and lines[1].endswith("are installed")
    nested = (own / "nested.txt").read_text()
    try:
        (own / "nested.txt").write_text(f"{nested}# changed\n")
        assert requirements.hash_file(str(own / "requirements.txt")) != given
    finally:
        (own / "nested.txt").write_text(nested)


def test_beside_ours_no_package_of_ours_changes_and_alone_only_numpy_stays():
    beside, alone = requirements.list_kept(alone=False), requirements.list_kept(alone=True)
    assert alone == [f"numpy=={np.__version__}"] and set(alone) < set(beside)
    assert any(each.startswith("onnxruntime") for each in beside)
    assert not any(each.startswith("crossover==") for each in beside)


def test_more_instances_and_threads_than_cores_are_said():
    plan = {
        "a": {"instances": 8, "threads": 1},
        "b": {"instances": 2, "threads": 2},
        "c": {"instances": 4, "threads": None},
    }
    lines = thread_plan.list_crowded(plan, 4)
    assert len(lines) == 1 and lines[0].startswith("a has 8 instances on 4 cores, which slows all of them down")
    assert thread_plan.list_crowded({"b": plan["b"]}, 1)[0].startswith("b has 2 instances of 2 threads on 1 core,")


@pytest.mark.parametrize(
    ("config", "threads"),
    [
        ('backend: "onnxruntime" instance_group [ { count: 2 kind: KIND_CPU } ]', "2"),
        ('backend: "onnxruntime" parameters [ { key: "intra_op_thread_count" value: { string_value: "3" } } ]', "3"),
        ('backend: "onnxruntime" instance_group [ { kind: KIND_GPU } ]', None),
        ('backend: "python"', None),
    ],
)
def test_the_plan_gives_threads_where_a_file_says_nothing_of_them(tmp_path, config, threads):
    put(tmp_path, "model", ADD, config=f"{config} ")
    laid = more_models.lay_over(tmp_path / "model", cores=4, slo=0, metrics="127.0.0.1:1")
    parameters = json.loads(laid)["parameters"] if laid else {}
    assert ("sample_axis" in parameters) == ("onnxruntime" in config)
    parameters.pop("sample_axis", None)
    assert parameters == ({"intra_op_thread_count": {"string_value": threads}} if threads else {})


def test_a_canary_that_is_lost_says_so(tmp_path):
    kept = {"subject": "sums (half)", "model": "double", "problem": "", "body": str(tmp_path / "gone"), "json_size": 0}
    with pytest.raises(Failure, match=r"sums \(half\) cannot be asked: .*gone: No such file or directory"):
        canaries.ask(TritonAPI("127.0.0.1:9"), kept, 1)


def test_the_environment_that_a_model_brings_is_removed_with_a_server_that_was_killed(tmp_path):
    """Triton unpacks it into /tmp, where the backend leaves it if it is killed."""
    archive, here = tmp_path / "models" / "packed" / "env.tar.gz", Path(sys.executable).parent
    parameter = 'key: "EXECUTION_ENV_PATH" value: { string_value: "$$TRITON_MODEL_DIRECTORY/env.tar.gz" }'
    config = f'backend: "python" instance_group [ {{ kind: KIND_CPU }} ] parameters: {{ {parameter} }} '
    put(tmp_path / "models", "packed", ADD, config=config)
    with tarfile.open(archive, "w:gz") as packed:
        content = f'export PATH="{here}:$PATH"\n'.encode()
        script = tarfile.TarInfo("bin/activate")
        script.size = len(content)
        packed.addfile(script, io.BytesIO(content))
    flags = [f"--models={tmp_path}/models", "--only", f"--state={tmp_path}/state"]
    try:
        up = launch("up", "--engine=local", *flags, *ports())
        assert up.returncode == 0, up.stderr
        record = json.loads((tmp_path / "state" / "server.json").read_text())
        [stub] = stubs(record["name"])
        path = psutil.Process(stub.pid).environ()["LD_LIBRARY_PATH"]
        folder = Path(path.partition("/0/lib")[0])
        assert folder.parent == environment_folders.PARENT and (folder / "0" / "bin" / "activate").is_file()
        os.kill(record["pid"], signal.SIGKILL)
    finally:
        launch("down", f"--state={tmp_path}/state")
    assert not folder.exists()
