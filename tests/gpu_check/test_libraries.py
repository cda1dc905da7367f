"""What is wrong with the machine, the card or the libraries is a problem line that names the remedy."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from crossover.gpu_check import cards, decode, machine, network
from crossover.gpu_check.files import make_photographs
from crossover.gpu_check.finding import OK, PROBLEM, SKIPPED
from models import artefacts, standin
from serving import gpu, nvml
from serving.nvml import Card
from tests.conftest import ROOT

CARD = Card(
    index=0, name="NVIDIA H100 80GB HBM3", uuid="GPU-1", driver="580.95.05", memory_mb=85520, free_mb=84990,
    capability="9.0", mig=False, sm_clock=1980, sm_clock_max=1980, memory_clock=2619, power_limit_watts=700.0,
)  # fmt: skip
VERSIONS = {
    "onnxruntime-gpu": "1.31.1", "numpy": "1.26.4", "nvidia-dali-cuda130": "2.4.0", "nvidia-pytriton": "0.7.0",
    "tritonclient": "2.73.0",
}  # fmt: skip


def test_this_machine_is_described_without_a_problem():
    findings = list(machine.examine())
    assert [finding.name for finding in findings] == ["machine", "python", "versions"]
    assert {finding.state for finding in findings} == {OK}


@pytest.mark.parametrize(
    ("change", "says", "remedy"),
    [
        ({"nvidia-dali-cuda130": None}, "nvidia-dali-cuda130 not installed", "run `make env`"),
        ({"onnxruntime-gpu": None}, "onnxruntime not installed", "run `make env`"),
        ({"onnxruntime": "1.32.0"}, "onnxruntime is installed beside onnxruntime-gpu", "make env GPU=1"),
        ({"numpy": "2.1.0"}, "numpy below 2", "run `make env`"),
    ],
)
def test_an_environment_that_cannot_work_is_a_problem(change, says, remedy):
    assert machine.examine_versions(VERSIONS).state == OK
    versions = {name: number for name, number in {**VERSIONS, **change}.items() if number}
    finding = machine.examine_versions(versions)
    assert finding.state == PROBLEM and says in finding.text and remedy in finding.remedy


def examine_cards(monkeypatch, found: list[Card], obstacle: str | None):
    monkeypatch.setattr(nvml, "read_cards", lambda: found)
    monkeypatch.setattr(gpu, "driver_obstacle", lambda: obstacle if "driver" in (obstacle or "") else None)
    monkeypatch.setattr(gpu, "obstacle", lambda: obstacle)
    return list(cards.examine())


def test_a_card_is_described_with_driver_memory_and_clocks(monkeypatch):
    card, usable = examine_cards(monkeypatch, [CARD], None)
    assert card.state == OK and usable.figures == {"driver": True, "usable": True}
    for part in ("NVIDIA H100", "580.95.05", "84990 of 85520 MB", "1980 MHz", "700 W"):
        assert part in card.text


def test_a_machine_without_a_driver_is_skipped_and_no_problem():
    findings = list(cards.examine())
    if nvml.read_cards():
        pytest.skip("this machine has a card")
    assert [finding.state for finding in findings] == [SKIPPED, SKIPPED]
    assert findings[-1].figures == {"driver": False, "usable": False}


@pytest.mark.parametrize(
    ("obstacle", "text", "remedy"),
    [
        (
            "driver 525.60 is older than CUDA 13 needs (580); install a newer one",
            "driver 525.60 is older than CUDA 13 needs (580)",
            "install a newer one",
        ),
        (
            "onnxruntime-gpu is not installed; run `make env GPU=1`",
            "onnxruntime-gpu is not installed",
            "run `make env GPU=1`",
        ),
        ("a card of another kind", "a card of another kind", "see docs/gpu.md"),
    ],
)
def test_a_card_that_cannot_be_used_is_a_problem_with_its_remedy(monkeypatch, obstacle, text, remedy):
    *_, finding = examine_cards(monkeypatch, [CARD], obstacle)
    assert (finding.state, finding.text, finding.remedy) == (PROBLEM, text, remedy)
    assert finding.figures == {"driver": "driver" not in text, "usable": False}


def test_two_cards_and_mig_are_said(monkeypatch):
    second = dataclasses.replace(CARD, index=1, uuid="GPU-2", mig=True)
    first, other, both, _ = examine_cards(monkeypatch, [CARD, second], None)
    assert "MIG" not in first.text and "MIG is on" in other.text
    assert both.text == "2, of which the server uses 0; CUDA_VISIBLE_DEVICES names another one"


def test_a_card_that_nothing_is_known_of_is_a_problem(monkeypatch):
    finding, _ = examine_cards(monkeypatch, [], None)
    assert finding.state == PROBLEM and "nvidia-ml-py" in finding.remedy


NO_CUDA = network.CUDA not in network.ort.get_available_providers()


@pytest.mark.skipif(not NO_CUDA, reason="this environment has onnxruntime-gpu")
def test_a_card_without_onnxruntime_gpu_is_a_problem_and_the_cpu_is_measured_all_the_same():
    runtime, session, *networks = network.examine(gpu=True, weights="tiny", short=True)
    assert runtime.state == PROBLEM and runtime.remedy == "run `make env GPU=1`"
    assert session.state == SKIPPED
    assert [finding.name for finding in networks] == ["resnet50 (tiny)", "wav2vec2 (tiny)"]
    assert all(finding.figures["cpu_ms"] > 0 for finding in networks)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.skipif(not NO_CUDA, reason="this environment has onnxruntime-gpu")
def test_a_session_that_fell_back_to_the_cpu_is_noticed(tmp_path):
    path = standin.build(tmp_path) / artefacts.RESNET
    finding = network.examine_session(path)
    assert finding.state == PROBLEM and finding.text.startswith("it runs on the CPU")
    assert finding.figures["nodes"].keys() == {"CPU"}
    feed = {"pixels": network.read_pixels()}
    [compared] = network.compare("resnet50", path, feed, gpu=True, short=True)
    assert compared.state == PROBLEM and compared.text.startswith("TF32: it runs on the CPU")


WARNING = (
    "\x1b[0;93m2026-11-27 02:50:38.166 [W:onnxruntime:Default, onnxruntime_pybind_state.cc:856 operator()] No "
    "registered plugin EP device found for 'CUDAExecutionProvider' with device_id=0\x1b[m\n"
)
ERROR = "\x1b[1;31m2026-11-27 02:50:38.097 [E:onnxruntime:Default, provider_bridge_ort.cc:2458 operator()] "
PLACE = "/src/provider_bridge_ort.cc:2043 onnxruntime::Provider& Get() [ONNXRuntimeError] : 1 : FAIL : "


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        (
            f"{WARNING}{ERROR}{PLACE}Failed to load library /x/libonnxruntime_providers_cuda.so with error: "
            "libcublasLt.so.13: cannot open shared object file: No such file or directory\n\x1b[m",
            "libcublasLt.so.13: cannot open shared object file: No such file or directory",
        ),
        (f"{WARNING}{ERROR}CUDA failure 35: too old\x1b[m", "CUDA failure 35: too old"),
        (WARNING, "No registered plugin EP device found for 'CUDAExecutionProvider' with device_id=0"),
        ("", "it does not say why"),
    ],
)
def test_what_onnxruntime_says_of_cuda_becomes_one_line(errors, line):
    assert network.shorten(errors) == line


@pytest.mark.parametrize(
    ("errors", "remedy"),
    [
        (
            "[E:onnxruntime] Failed to load library libonnxruntime_providers_cuda.so with error: libcudnn.so.9: cannot "
            "open shared object file: No such file or directory",
            "libcudnn.so.9 is missing: run `make env GPU=1`, or name its folder in LD_LIBRARY_PATH",
        ),
        ("CUDA failure 2: out of memory ; GPU=0", "free memory of the card (`nvidia-smi` shows what uses it)"),
        ("CUDA driver version is insufficient for CUDA runtime version", "install a driver for CUDA 13 (580 or newer)"),
        ("", "compare `nvidia-smi` with the versions above, and open an issue with this output"),
    ],
)
def test_what_onnxruntime_says_of_cuda_becomes_a_remedy(errors, remedy):
    assert network.advise(errors) == remedy


CATCHING = """
import os
from crossover.gpu_check import network
with network.catch_errors() as read:
    print("from Python")
    os.write(2, b"from C\\n")
    inside = read()
os.write(1, b"after\\n")
assert {"from Python", "from C"} == set(inside.splitlines()) == set(read().splitlines())
"""


def test_what_libraries_write_is_caught_from_c_and_from_python():
    done = subprocess.run([sys.executable, "-c", CATCHING], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "after\n"), done.stderr
    assert set(done.stderr.splitlines()) == {"from Python", "from C"}


@pytest.fixture
def pretended_cuda(monkeypatch):
    """The CPU in CUDA's place: all that a card does to the lines, but for the card."""
    monkeypatch.setattr(network, "CUDA", network.CPU)

    def open_session(path, precision, options=None):
        return network.ort.InferenceSession(str(path), options, providers=[network.CPU])

    monkeypatch.setattr(network, "open_session", open_session)


def test_with_cuda_the_session_is_verified_and_both_networks_are_compared(pretended_cuda):
    runtime, session, *compared = network.examine(gpu=True, weights="tiny", short=False)
    assert {finding.state for finding in (runtime, session, *compared)} == {OK}
    assert session.figures["nodes"].keys() == {"CPU"} and "up and run once after" in session.text
    names = [(finding.name, finding.figures["precision"]) for finding in compared]
    precisions = ("TF32", "FP32", "FP16")
    assert names == [(f"{name} (tiny)", precision) for name in network.NETWORKS for precision in precisions]
    for finding in compared:
        half = finding.figures["precision"] == "FP16"
        assert (finding.figures["max"] > 0) == half and finding.figures["same_top1"] > (0.95 if half else 0.999)


# As an H200 said it of a convolution in groups in FP16, without the end.
CALL = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cudnn_fe_call.cc:117 std::conditional_t<THRW, void, "
    "onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, const char*, "
    "const char*, int) [with ERRTYPE = cudnn_frontend::error_object; bool THRW = true; "
    "std::conditional_t<THRW, void, common::Status> = void] "
)
NO_PLAN = (
    "[ONNXRuntimeError] : 11 : EP_FAIL : Non-zero status code returned while running Conv node. Name:'node_Conv_1059' "
    f"Status Message: Failed to initialize CUDNN Frontend: {CALL}{CALL}CUDNN_FE failure 8: HEURISTIC_QUERY_FAILED ; "
    'GPU=0 ; hostname=vm ; file=/onnxruntime_src/conv.cc ; line=238 ; with the cudnn frontend json: {"nodes":[]}'
)


def test_a_precision_that_the_card_does_not_run_is_one_line_and_the_others_still_come(pretended_cuda, monkeypatch):
    opened = network.open_session

    def open_session(path, precision, options=None):
        if precision == "FP16" and "wav2vec2" in str(path):
            raise RuntimeError(NO_PLAN)
        return opened(path, precision, options)

    monkeypatch.setattr(network, "open_session", open_session)
    findings = list(network.examine(gpu=True, weights="tiny", short=False))
    failed = findings.pop()
    assert failed.name == "wav2vec2 (tiny)" and failed.state == PROBLEM and failed.remedy == "serve with --weights real"
    why = "CUDNN_FE failure 8: HEURISTIC_QUERY_FAILED in Conv node_Conv_1059"
    assert failed.text == f"FP16: the card does not run it: {why}"
    assert [finding.state for finding in findings] == [OK] * 7


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=vm", "CUDA failure 2: out of memory"),
        ("something\n  else ", "something else"),
    ],
)
def test_what_failed_in_a_run_is_one_line(error, line):
    assert network.explain_failure(RuntimeError(error)) == line


LOGITS = np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "precision", "state"),
    [
        (0.0, "FP32", OK),
        (0.02, "TF32", OK),
        (0.02, "FP32", PROBLEM),
        (0.2, "TF32", PROBLEM),
        (0.02, "FP16", OK),
        (0.2, "FP16", PROBLEM),
        (float("nan"), "TF32", PROBLEM),
    ],
)
def test_logits_may_differ_as_much_as_their_precision_explains(change, precision, state):
    logits = LOGITS.copy()
    logits[1, 7] += change
    finding = network.judge_logits("resnet50", precision, LOGITS, logits, 1.0, 10.0, 2.0)
    assert finding.state == state and precision in finding.text


PIXELS = np.zeros((2, 3, 224, 224), np.float32)


def shifted(amount: float, share: float) -> np.ndarray:
    pixels = PIXELS.copy()
    pixels.reshape(-1)[: int(pixels.size * share)] += amount
    return pixels


@pytest.mark.parametrize(
    ("pixels", "state"),
    [
        (shifted(0.003, 1), OK),
        (shifted(0.005, 1), PROBLEM),
        (shifted(0.2, 0.0005), OK),  # at edges
        (shifted(0.06, 0.01), PROBLEM),
        (shifted(float("nan"), 0.001), PROBLEM),
    ],
)
def test_pixels_may_differ_within_the_bounds_and_at_a_few_edges(pixels, state):
    finding = decode.judge_pixels("decode on GPU", pixels, {"CPU": PIXELS})
    assert finding.state == state and "limit 0.004" in finding.text and "limit 0.05" in finding.text
    assert bool(finding.remedy) == (state == PROBLEM)


def test_the_decoders_of_the_cpu_agree_on_every_form(monkeypatch):
    photographs = make_photographs()
    finding = decode.examine_formats(photographs, gpu=False)
    assert finding.state == OK and finding.figures["means"].keys() == photographs.keys()
    good = decode.image_pillow.preprocess
    monkeypatch.setattr(decode.image_pillow, "preprocess", lambda file: good(file) + 0.01)
    assert decode.examine_formats(photographs, gpu=False).state == PROBLEM


def test_with_a_card_every_decoder_is_compared_and_measured(monkeypatch):
    """The CPU in the card's place."""
    make = decode.make_pipeline
    monkeypatch.setattr(decode, "make_pipeline", lambda device, batch: make("cpu", batch))
    findings = {finding.name: finding for finding in decode.examine(gpu=True, short=True)}
    assert {finding.state for finding in findings.values()} == {OK}
    assert findings["decode on GPU"].figures["CPU"] == {"mean": 0, "max": 0, "above": 0}
    assert findings["gpu rate"].figures.keys() == {"batch_1", "batch_32"}
    assert {"formats", "jpeg hardware"} < findings.keys()


def test_the_decoder_of_each_form_is_named():
    [finding] = decode.examine_decoders(gpu=False, short=False)
    assert finding.state == OK and finding.figures.keys() == make_photographs().keys()
    assert "jpeg" in finding.figures["progressive JPEG"] and "png" in finding.figures["PNG"]


def test_without_a_card_each_gpu_line_is_skipped_and_the_rest_is_measured():
    findings = {finding.name: finding for finding in decode.examine(gpu=False, short=True)}
    skips = [name for name, finding in findings.items() if finding.state == SKIPPED]
    assert skips == ["decode on GPU", "gpu rate", "jpeg hardware"]
    assert findings["decode on CPU"].state == findings["formats"].state == OK
    assert all(rate > 0 for rate in findings["cpu rate"].figures.values())


def test_a_machine_without_the_engine_says_so():
    if nvml.read_cards():
        pytest.skip("this machine has a card")
    finding = decode.examine_hardware(None)
    assert finding.state == OK and "NVML does not say" in finding.text
    assert decode.examine_hardware(40).text.endswith("up to 40 % busy while decoding")
