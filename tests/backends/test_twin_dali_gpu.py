"""What can be shown of the dali twin's way onto a GPU without one: kinds, rewritten graphs, errors' meaning."""

import contextlib
import ctypes
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from preprocess import image_decoder
from tests.twin_modules import LOST, MEMORY, ROOT, Backend
from tests.twins import config, running


def has_driver():
    """Return whether an NVIDIA driver is installed."""
    try:
        return bool(ctypes.CDLL("libcuda.so.1"))
    except OSError:
        return False


without_gpu = pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def dali(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    yield Backend("dali", monkeypatch)
    sys.modules.pop("model", None)


GPU_GRAPH = """
from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.plugin.triton import autoserialize

@autoserialize
@pipeline_def(batch_size=3, num_threads=1, device_id=0)
def pipeline():
    encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
    image = fn.decoders.image(encoded, device="DEVICE", hw_decoder_load=0.5)
    small = fn.resize(image, size=(20., 30.))
    return fn.crop_mirror_normalize(small, dtype=types.FLOAT), encodedGPU
"""
TENSORS = ("encoded UINT8 [ -1 ]", "pixels FP32 [ 3, 20, 30 ]; same UINT8 [ -1 ]")
INPUT = [{"name": "encoded", "dims": [-1]}]


def graph(on_gpu):
    """A graph for the GPU, or the same for the CPU."""
    device, transfer = ("mixed", ".gpu()") if on_gpu else ("cpu", "")
    return GPU_GRAPH.replace("DEVICE", device).replace("GPU\n", transfer + "\n")


def test_a_graph_for_the_gpu_runs_on_the_cpu_where_there_is_none_and_the_log_says_so(server):
    settings = config("dali", *TENSORS, "max_batch_size: 8")
    server.load("for_cpu", settings, dali_py=graph(on_gpu=False))
    server.load("for_gpu", settings, dali_py=graph(on_gpu=True))
    photograph = np.frombuffer((ROOT / "serving" / "smoke_test.jpg").read_bytes(), np.uint8)[None]
    here, there = (server.ask(name, encoded=photograph) for name in ("for_cpu", "for_gpu"))
    np.testing.assert_array_equal(here["pixels"], there["pixels"])
    np.testing.assert_array_equal(here["same"], there["same"])
    log = Path(server.log.name).read_text()
    assert "for_gpu: this instance has no GPU; on the CPU instead: decoders.Image, Resize, CropMirrorNormalize" in log
    assert "for_cpu: this instance" not in log


def test_a_serialised_pipeline_for_the_gpu_runs_on_the_cpu_too(server, dali):
    serialized = source(graph(on_gpu=True))
    server.load("serialised_gpu", config("dali", *TENSORS, "max_batch_size: 8"), model_dali=serialized)
    photograph = np.frombuffer((ROOT / "serving" / "smoke_test.jpg").read_bytes(), np.uint8)[None]
    assert server.ask("serialised_gpu", encoded=photograph)["pixels"].shape == (1, 3, 20, 30)


def source(text):
    """A graph, serialised as its author on a machine with a GPU would have it."""
    names = {}
    exec(text, names)
    return names["pipeline"](device_id=None).serialize()


def test_what_is_rewritten_is_the_placement_and_nothing_else(dali):
    from dali_protobuf import message, raw_fields, to_cpu

    for_gpu, for_cpu = source(graph(on_gpu=True)), source(graph(on_gpu=False))
    assert message(list(raw_fields(for_gpu))) == for_gpu
    rewritten, moved = to_cpu(for_gpu)
    assert moved == ["decoders.Image", "Resize", "CropMirrorNormalize"]
    assert to_cpu(for_cpu) == (for_cpu, [])
    assert rewritten.replace(b'device="mixed"', b'device="cpu"').count(b"mixed") == 0
    assert to_cpu(rewritten) == (rewritten, [])


def test_a_damaged_graph_is_refused_in_words_and_never_by_another_exception(dali):
    from dali_protobuf import to_cpu

    whole, random = source(graph(on_gpu=True)), np.random.default_rng(0)
    damaged = [whole[:-3], b"\xff" * 2_000_000, b"\x28\x01", b"\x0b", b"\x2a\x7f"]
    for graph_bytes in damaged:
        with pytest.raises(ValueError, match=r"ends|number|kind"):
            to_cpu(graph_bytes)
    for _ in range(2000):
        mutated = bytearray(whole)
        for at in random.integers(len(whole), size=3):
            mutated[at] = random.integers(256)
        with contextlib.suppress(ValueError):
            to_cpu(bytes(mutated))


def test_fields_that_nobody_knows_are_kept(dali):
    from dali_protobuf import message, raw_fields, to_cpu

    unknown = [(99 << 3, 7), (98 << 3 | 2, b"text"), (97 << 3 | 1, b"12345678"), (96 << 3 | 5, b"1234")]
    rewritten, _ = to_cpu(source(graph(on_gpu=True)) + message(unknown))
    assert list(raw_fields(rewritten))[-4:] == unknown


def test_a_damaged_file_fails_the_load_and_says_that_it_is_none(dali, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.dali").write_bytes(source(graph(on_gpu=True))[:-3])
    with pytest.raises(ValueError, match=r"the graph is no serialised pipeline: (it ends|no number)"):
        dali.load(tmp_path, {"max_batch_size": 8, "input": INPUT, "output": []}, kind="CPU")


def test_a_device_that_the_graph_names_is_forgotten_on_the_cpu(dali):
    from dali_protobuf import CPU_ONLY, fields, message, raw_fields, to_cpu

    parts = [(key, 1 if key >> 3 == 8 else value) for key, value in raw_fields(source(graph(on_gpu=True)))]
    rewritten, _ = to_cpu(message(parts))
    assert dict(fields(rewritten))[8] == CPU_ONLY % 2**64


def test_image_preprocess_builds_its_graph_for_the_cpu_where_the_instance_is_of_that_kind(dali, monkeypatch):
    """Even on a machine with a GPU, and if CUDA was initialised before: `cuInit` says that all is well."""
    monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace(cuInit=lambda flags: 0))
    folder = ROOT / "model_repository" / "image_preprocess"
    tensors = {
        "max_batch_size": 32,
        "input": [{"name": "encoded", "data_type": "TYPE_UINT8", "dims": ["-1"]}],
        "output": [{"name": "pixels", "data_type": "TYPE_FP32", "dims": ["3", "224", "224"]}],
    }
    dali.load(folder, tensors, kind="CPU")
    assert dali.logged == []


@without_gpu
def test_a_gpu_that_is_not_there_fails_the_load_and_says_what_to_do(dali, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "dali.py").write_text(graph(on_gpu=True))
    with pytest.raises(RuntimeError, match=r"does not run on GPU 0: .*CUDA is not available"):
        dali.load(tmp_path, {"max_batch_size": 8, "input": INPUT, "output": []})


def small(dali, tmp_path):
    """An instance of a graph that adds 1."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "dali.py").write_text(
        graph(on_gpu=False).split("    encoded")[0]
        + "    return fn.external_source(name='x', dtype=types.FLOAT, ndim=1) + 1\n"
    )
    tensors = {"name": "x", "data_type": "TYPE_FP32", "dims": ["-1"]}
    return dali.load(
        tmp_path, {"max_batch_size": 8, "input": [tensors], "output": [{**tensors, "name": "y"}]}, kind="CPU"
    )


@pytest.mark.parametrize("shapes", [(3, 3, 3), (3, 2, 4)])
def test_a_gpus_outputs_come_to_the_host_in_one_copy_that_outlives_the_next_run(dali, tmp_path, monkeypatch, shapes):
    model = small(dali, tmp_path)
    monkeypatch.setattr(dali.model, "TensorListGPU", type(model.pipeline.run(x=[np.zeros(1, "f4")])[0]))
    rows = [np.arange(size, dtype="f4") for size in shapes]
    (output,) = model.run({"x": rows}, copy=False)
    assert isinstance(output, np.ndarray) == (len(set(shapes)) == 1)
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(dali.model.stack(output, range(index, index + 1)), (row + 1)[None])


def test_after_an_error_the_next_run_gets_a_new_pipeline(dali, tmp_path, monkeypatch):
    model = small(dali, tmp_path)
    first = model.pipeline
    with pytest.raises(RuntimeError, match="dimensions"):
        model.run({"x": [np.zeros((2, 2), "f4")]}, copy=False)
    assert np.array(model.run({"x": [np.zeros(2, "f4")]}, copy=False)[0][0]).tolist() == [1, 1]
    assert model.pipeline is not first


@pytest.mark.parametrize(("text", "ends"), [(LOST[1], [1]), (MEMORY[5], []), ("no such operator", [1])])
def test_a_stub_whose_pipeline_cannot_be_built_again_ends_unless_memory_is_short(
    dali, tmp_path, monkeypatch, text, ends
):
    model = small(dali, tmp_path)
    model.pipeline, ended = None, []

    def fail():
        raise RuntimeError(text)

    monkeypatch.setattr(model, "build", fail)
    monkeypatch.setattr("os._exit", ended.append)
    with pytest.raises(RuntimeError):
        model.run({"x": [np.zeros(2, "f4")]}, copy=False)
    assert ended == ends
    refusal = model.refusal(RuntimeError(text)).error
    assert (refusal.code == "UNAVAILABLE") == (text in MEMORY)


def test_the_decoder_of_a_photograph_is_named():
    photograph = ROOT / "serving" / "smoke_test.jpg"
    files = [photograph, ROOT / "README.md", photograph]
    assert image_decoder.decoders(files, "cpu") == ["libjpeg_turbo_decoder", None, "libjpeg_turbo_decoder"]


@without_gpu
def test_without_a_gpu_no_decoder_is_named_but_the_reason():
    with pytest.raises(RuntimeError, match=r"^[^\n]*CUDA is not available[^\n]*$"):
        image_decoder.decoders([ROOT / "serving" / "smoke_test.jpg"])
    command = [sys.executable, "-m", "preprocess.image_decoder", ROOT / "serving" / "smoke_test.jpg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = "python -m preprocess.image_decoder: no GPU answers; --cpu names the CPU's decoders\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
