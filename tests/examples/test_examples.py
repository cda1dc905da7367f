"""Laws of the examples: pipelines that a stranger could have written, on a Triton that only has their repositories.

The networks are stand-ins here, so that nothing is downloaded; `test_weights.py` has the real ones.
"""

import ast
import importlib.util
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from models import standin
from tests.commands import only, run
from tests.conftest import ROOT, launch
from tests.examples.repositories import EXAMPLES, copy_repository, encode_file
from tests.twins import network, running
from workloads import audio, image

THEIRS = {"cv2", "io", "json", "numpy", "onnxruntime", "pathlib", "soundfile", "soxr", "triton_python_backend_utils"}
DECODES = {"imagenet": ("decode", "jpeg", "pixels"), "voice": ("resample", "recording", "waveform")}
"""Example -> the model that prepares a file, its input, and its output."""
LINES = 25


def detector() -> onnx.ModelProto:
    """A network with the tensors of Silero VAD's: loud windows are speech, and the state has a part in it."""
    numbers, state = TensorProto.FLOAT, [2, "batch", 128]
    nodes = [
        helper.make_node("Abs", ["input"], ["loud"]),
        helper.make_node("ReduceMean", ["loud"], ["loudness"], axes=[0, 1], keepdims=0),
        helper.make_node("ReduceMean", ["state"], ["memory"], axes=[0, 1, 2], keepdims=0),
        helper.make_node("Add", ["state", "loudness"], ["stateN"]),
        helper.make_node("Sum", ["loudness", "memory"], ["all"]),
        helper.make_node("Reshape", ["all", "shape"], ["output"]),
    ]
    inputs = {"input": (numbers, ["batch", "samples"]), "state": (numbers, state), "sr": (TensorProto.INT64, [])}
    outputs = {"output": (numbers, [1, 1]), "stateN": (numbers, state)}
    return network(nodes, inputs, outputs, shape=np.array([1, 1]))


STAND_INS = {"imagenet": ("efficientnet", standin.resnet50), "voice": ("vad", detector)}


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    """A tritonserver with both repositories, or with that of speech alone where OpenCV is missing."""
    folder, found = tmp_path_factory.mktemp("examples"), []
    for name, (model, make) in STAND_INS.items():
        if name == "imagenet" and not importlib.util.find_spec("cv2"):
            continue
        repository = copy_repository(name, folder / name)
        (repository / model / "1" / "model.onnx").write_bytes(make().SerializeToString())
        (repository / model / "labels.txt").write_text("".join(f"class {number}\n" for number in range(1000)))
        found.append(repository)
    with running(folder, found) as server:
        yield server


@pytest.fixture(params=EXAMPLES)
def example(request):
    if request.param == "imagenet":
        pytest.importorskip("cv2")
    return request.param


def payloads(example: str) -> list:
    return image.photographs((320, 640)) if example == "imagenet" else audio.clips()


def decode(example: str):
    """The function with which the client of an example prepares a file."""
    spec = importlib.util.spec_from_file_location(example, ROOT / "examples" / example / "workload.py")
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module.decode


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_workload_is_a_file_of_25_lines(name):
    assert len((ROOT / "examples" / name / "workload.py").read_text().splitlines()) <= LINES


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_repository_has_no_code_of_ours(name):
    models = list((ROOT / "examples" / name / "model_repository").rglob("*.py"))
    assert len(models) == 2
    for path in models:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert set(names) <= THEIRS, path


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_model_has_a_version_in_a_fresh_clone(name):
    """Git keeps no empty folder, and Triton loads no ensemble without one."""
    models = [config.parent for config in (ROOT / "examples" / name / "model_repository").glob("*/config.pbtxt")]
    assert len(models) == 3 and all(any((model / "1").iterdir()) for model in models)


def test_client_and_server_prepare_the_same_tensor(example, triton):
    model, given, made = DECODES[example]
    for payload in payloads(example):
        [array] = triton.ask(model, **{given: encode_file(example, payload.encoded)}).values()
        prepared = decode(example)(payload.encoded)
        assert np.array_equal(array.reshape(prepared.shape), prepared), (payload.name, made)


def test_a_damaged_file_is_refused_with_a_reason_and_the_next_one_is_answered(example, triton):
    pipeline = {"imagenet": "classify", "voice": "voice"}[example]
    good = payloads(example)[0].encoded
    bad, fine = triton.together(
        pipeline, [{DECODES[example][1]: encode_file(example, each)} for each in (b"no such format", good)]
    )
    assert isinstance(bad, InferenceServerException) and "14 bytes" in bad.message()
    assert np.isfinite(next(iter(fine.values()))).all()


def test_the_detector_hears_the_windows_of_a_clip_with_one_state(triton):
    """The stand-in adds loudness to its state: halves of a clip, asked apart, do not give what the whole gives."""
    waveform = decode("voice")(audio.clips()[1].encoded)[: 40 * 512]
    whole, first, second = (
        triton.ask("vad", waveform=part)["speech"] for part in (waveform, waveform[: 20 * 512], waveform[20 * 512 :])
    )
    assert np.array_equal(whole[:20], first) and (whole[20:] > second).all()
    assert triton.ask("vad", waveform=waveform[:100])["speech"].shape == (1,)


def test_each_placement_answers_alike(example, triton):
    """`crossover infer` with a file of the reader's, and each of the placements."""
    workload = f"examples/{example}/workload.py"
    sent = {"imagenet": "workloads/photographs/cat.jpg", "voice": audio.CLIPS / "light-16k-mono.wav"}[example]
    answers = []
    for placement in ("client", "server"):
        done = launch("infer", workload, sent, "--placement", placement, "--url", f"http://{triton.address}", "--json")
        assert done.returncode == 0, done.stderr
        [answer] = json.loads(done.stdout)
        assert answer["placement"] == placement and answer["answer"]
        answers.append(answer["answer"])
    assert answers[0] == answers[1]


@pytest.fixture
def sent(example, tmp_path):
    """A folder of files, as the example's own photographs are not there before `prepare.py` has run."""
    (tmp_path / "sent").mkdir()
    for payload in payloads(example):
        (tmp_path / "sent" / payload.name).write_bytes(payload.encoded)
    return tmp_path / "sent"


def test_the_check_finds_the_same_computation(example, triton, sent):
    given = [f"examples/{example}/workload.py", "--payloads", sent, "--url", f"http://{triton.address}"]
    done = launch("check", *given)
    assert done.returncode == 0 and "the same computation" in done.stdout, done.stdout + done.stderr
    assert f"{DECODES[example][2]} ({DECODES[example][0]} alone): equal in {len(payloads(example))}" in done.stdout


def test_a_comparison_on_a_plain_triton_adds_up(example, triton, sent, tmp_path):
    """Neither key, supervisor nor state: the stages are there, and the CPU time of a stranger's server is not."""
    given = [f"examples/{example}/workload.py", "--url", f"http://{triton.address}", "--state", tmp_path / "none"]
    quick = ["--seconds", 6, "--rounds", 1, "--reports", tmp_path / "reports"]
    code, output = run("compare", *given, "--payloads", sent, *quick)
    assert code in (0, 3), output  # 3: a machine that was too busy to measure on
    found = json.loads((only(tmp_path / "reports") / "summary.json").read_text())["workloads"][example]
    steps = {"imagenet": ["decode", "efficientnet"], "voice": ["resample", "vad"]}[example]
    assert found["steps"] == steps
    for arm in found["arms"]:
        assert arm["errors"] == 0 and f"{steps[1]} compute" in arm["stages"]
    [line] = [line for line in output.splitlines() if line.startswith("server CPU")]
    assert line.endswith("not measured")
