"""Laws of the dali twin's first runs: they are over before the model counts as loaded."""

import sys

import numpy as np
import pytest
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from tests.twin_modules import LOST, MEMORY, ROOT, Backend
from tests.twins import config, network, running

GRAPH = """
from pathlib import Path
import numpy as np
from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.plugin.triton import autoserialize

@autoserialize
@pipeline_def(batch_size=8, num_threads=1, device_id=None)
def pipeline():
    x = fn.external_source(name="x", dtype=types.FLOAT, ndim=1)
    return fn.slice(x, start=0, end=2, axes=[0])  # fails for fewer than two values
"""
GOOD = GRAPH + 'WARM_UP = {"x": lambda: [np.full(size, size, "f4") for size in (2, 3)]}\n'
MIXED = GRAPH + 'WARM_UP = {"x": lambda: [np.full(size, size, "f4") for size in (1, 3)]}\n'
ALL_BAD = GRAPH + 'WARM_UP = {"x": lambda: [np.full(1, 1, "f4"), np.full(0, 1, "f4")]}\n'
X, Y = ({"name": name, "data_type": "TYPE_FP32", "dims": ["-1"]} for name in "xy")
TENSORS = {"max_batch_size": 8, "input": [X], "output": [Y]}


@pytest.fixture
def dali(monkeypatch):
    yield Backend("dali", monkeypatch)
    sys.modules.pop("model", None)


def load(dali, tmp_path, source):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "dali.py").write_text(source)
    return dali.load(tmp_path, TENSORS, kind="CPU")


@pytest.fixture
def runs(dali, monkeypatch):
    """The sizes of the samples of every run, which happen all the same."""
    runs, compute = [], dali.model.TritonPythonModel.compute

    def count(model, inputs, copy):
        runs.append([len(sample) for sample in inputs["x"]])
        return compute(model, inputs, copy)

    monkeypatch.setattr(dali.model.TritonPythonModel, "compute", count)
    return runs


def test_a_loaded_model_has_run_each_sample_of_its_author(dali, tmp_path, runs):
    load(dali, tmp_path, GOOD)
    assert (runs, dali.logged) == ([[2], [3]], [])


def test_a_warm_up_that_fails_is_one_line_and_the_model_answers(dali, tmp_path, runs):
    model = load(dali, tmp_path, MIXED)
    [line] = dali.logged
    assert line.startswith("m: no warm-up with sample 1 of 2: ") and "\n" not in line
    assert runs == [[1], [3]] and model.pipeline is not None
    assert np.array(model.run({"x": [np.ones(4, "f4")]}, copy=False)[0][0]).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("warm_up", "why"),
    [
        ("{'x': lambda: 1 / 0}", "ZeroDivisionError: division by zero"),
        ("{'y': list}", "KeyError: 'x'"),
        ("{'x': 3}", "TypeError: 'int' object is not callable"),
    ],
)
def test_samples_that_cannot_be_made_are_one_line_too(dali, tmp_path, runs, warm_up, why):
    load(dali, tmp_path, f"{GRAPH}WARM_UP = {warm_up}\n")
    assert (runs, dali.logged) == ([], [f"m: no warm-up: WARM_UP gives no samples: {why}"])


def test_image_preprocess_has_decoded_every_format_that_it_takes(dali, monkeypatch):
    """One file for each way that decoding goes, small enough to cost a start next to nothing."""
    from preprocess import image_decoder, image_file

    folder = ROOT / "model_repository" / "image_preprocess"
    tensors = {
        "max_batch_size": 32,
        "input": [{"name": "encoded", "data_type": "TYPE_UINT8", "dims": ["-1"]}],
        "output": [{"name": "pixels", "data_type": "TYPE_FP32", "dims": ["3", "224", "224"]}],
    }
    seen, compute = [], dali.model.TritonPythonModel.compute

    def see(model, inputs, copy):
        seen.append([bytes(sample) for sample in inputs["encoded"]])
        return compute(model, inputs, copy)

    monkeypatch.setattr(dali.model.TritonPythonModel, "compute", see)
    dali.load(folder, tensors, kind="CPU")
    assert dali.logged == [] and [len(run) for run in seen] == [1, 1, 1, 1]
    files = sorted((folder / "warmup").iterdir())
    assert {path.suffix for path in files} == {".jpg", ".png", ".webp"}
    assert {image_file.read(path.read_bytes()).scans > 1 for path in files if path.suffix == ".jpg"} == {True, False}
    assert None not in image_decoder.decoders(files, "cpu") and sum(path.stat().st_size for path in files) < 20_000


@pytest.fixture
def first_runs(dali):
    """`warm_up`, and what it logs."""
    import dali_warm_up

    said = []
    return lambda run, samples, most: dali_warm_up.warm_up(run, samples, most, said.append), said


def test_on_a_gpu_the_largest_batch_runs_as_well(first_runs):
    warm_up, said = first_runs
    runs = []
    assert len(warm_up(runs.append, ["a", "b"], 5)) == 3
    assert (runs, said) == ([["a"], ["b"], ["a", "b", "a", "b", "a"]], [])


@pytest.mark.parametrize(("bad", "says"), [(1, "sample 1 of 2"), (5, "a batch of 5")])
def test_memory_that_is_short_for_one_run_is_one_line(first_runs, bad, says):
    warm_up, said = first_runs

    def run(samples):
        if (samples == ["a"] and bad == 1) or len(samples) == bad > 1:
            raise RuntimeError(MEMORY[5])

    assert len(warm_up(run, ["a", "b"], 5)) == 2
    assert len(said) == 1 and said[0].startswith(f"no warm-up with {says}: ") and "out of memory" in said[0]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_gpu_that_is_lost_in_a_warm_up_fails_the_load(first_runs, after):
    warm_up, _ = first_runs
    runs = []

    def run(samples):
        runs.append(samples)
        if len(runs) > after:
            raise RuntimeError(LOST[1])

    with pytest.raises(RuntimeError, match="illegal memory access"):
        warm_up(run, ["a", "b"], 5)
    assert len(runs) == after + 1


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_a_graph_that_runs_none_of_its_samples_fails_the_load_and_the_reason_says_why(server):
    tensors = "x FP32 [ -1 ]", "y FP32 [ -1 ]", "max_batch_size: 8"
    with pytest.raises(InferenceServerException) as refused:
        server.load("all_bad", config("dali", *tensors), dali_py=ALL_BAD)
    assert "on the CPU: none of the samples of WARM_UP runs; sample 1 of 2: " in refused.value.message()
    server.load("good", config("dali", *tensors), dali_py=GOOD)
    assert server.ask("good", x=np.ones((1, 3), "f4"))["y"].tolist() == [[1, 1]]


@pytest.mark.parametrize("backend", ["dali", "onnxruntime"])
def test_tritons_own_warm_up_runs_in_a_twin_as_well(server, backend):
    """Its samples are no requests of anybody: only the model's own counter shows them."""
    sample = 'key: "x" value { data_type: TYPE_FP32 dims: [ 3 ] zero_data: true }'
    more = f'max_batch_size: 8 model_warmup [ {{ name: "zeros" batch_size: 1 inputs {{ {sample} }} }} ]'
    settings = config(backend, "x FP32 [ -1 ]", "y FP32 [ -1 ]", more)
    shape = TensorProto.FLOAT, ["n", "m"]
    graph = network([helper.make_node("Identity", ["x"], ["y"])], {"x": shape}, {"y": shape})
    files = {"dali_py": GRAPH} if backend == "dali" else {"model_onnx": graph}
    server.load(f"warm_{backend}", settings, **files)
    [statistics] = server.http.get_inference_statistics(f"warm_{backend}")["model_stats"]
    assert statistics["execution_count"] == 1
