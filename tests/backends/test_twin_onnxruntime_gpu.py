"""What can be shown of the onnxruntime twin's way onto a GPU without one: options, refusals, kinds, errors' meaning."""

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from tests.twin_modules import LOST, MEMORY, Backend
from tests.twins import config, network, running

CUDA = "CUDAExecutionProvider"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def onnx(monkeypatch):
    yield Backend("onnxruntime", monkeypatch)
    sys.modules.pop("model", None)


def options(onnx, parameters=(), cuda=None, cpu=None, name="cuda"):
    """The provider's options of a configuration, as Triton hands it over."""
    accelerators = {}
    if cuda is not None:
        accelerators["gpu_execution_accelerator"] = [{"name": name, "parameters": cuda}]
    if cpu is not None:
        accelerators["cpu_execution_accelerator"] = [{"name": cpu}]
    given = {key: {"string_value": value} for key, value in dict(parameters).items()}
    return importlib.import_module("onnx_cuda").cuda_options(
        {"parameters": given, "optimization": {"execution_accelerators": accelerators} if accelerators else {}}
    )


def test_a_configuration_without_options_gets_the_native_backends_but_for_the_search(onnx):
    assert options(onnx) == {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kNextPowerOfTwo",
        "do_copy_in_default_stream": "1",
    }


def test_parameters_have_the_native_backends_numbers_and_an_accelerator_has_the_last_word(onnx):
    given = {
        "cudnn_conv_algo_search": "0",
        "arena_extend_strategy": "1",
        "do_copy_in_default_stream": "false",
        "gpu_mem_limit": "4294967200",
        "use_cuda_graph": "0",
    }
    assert options(onnx, given) == {
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "0",
        "gpu_mem_limit": "4294967200",
    }
    read = options(onnx, given, cuda={"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0", "prefer_nhwc": "true"})
    assert (read["cudnn_conv_algo_search"], read["use_tf32"], read["prefer_nhwc"]) == ("DEFAULT", "0", "1")


REFUSED = [
    ({"parameters": {"cudnn_conv_algo_search": "3"}}, "is '3', expected 0 (EXHAUSTIVE), 1 (HEURISTIC) or 2 (DEFAULT)"),
    ({"parameters": {"arena_extend_strategy": "x"}}, "is 'x', expected 0 (kNextPowerOfTwo) or 1 (kSameAsRequested)"),
    ({"parameters": {"gpu_mem_limit": "4GB"}}, "is '4GB', expected a whole number of bytes"),
    ({"parameters": {"use_cuda_graph": "1"}}, "parameter use_cuda_graph is not possible here: a CUDA graph needs"),
    ({"parameters": {"enable_cuda_graph": "yes"}}, "is 'yes', expected 0 or 1, false or true"),
    ({"cuda": {}, "name": "tensorrt"}, "'tensorrt' needs TensorRT (libnvinfer)"),
    ({"cuda": {}, "name": "magic"}, "execution accelerator 'magic' is unknown"),
    ({"cpu": "openvino"}, "'openvino' needs the OpenVINO build"),
    ({"cuda": {"enable_cuda_graph": "1"}}, "not possible here: a CUDA graph needs"),
    ({"cuda": {"device_id": "1"}}, "set by instance_group { gpus }"),
    (
        {"cuda": {"use_tf23": "1"}},
        "option use_tf23 of the execution accelerator 'cuda' is unknown; it has arena_extend",
    ),
    ({"cuda": {"use_tf32": "maybe"}}, "is 'maybe', expected 0 or 1"),
    ({"cuda": {"gpu_mem_limit": "-1"}}, "is '-1', expected a whole number"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_cannot_be_honoured_is_refused_in_one_line_that_says_what_it_would_take(onnx, given, message):
    with pytest.raises(ValueError) as refused:
        options(onnx, **given)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_an_accelerator_that_is_not_there_fails_the_load_on_the_server(server):
    more = (
        'max_batch_size: 8 optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }'
    )
    with pytest.raises(InferenceServerException) as refused:
        server.load("trt", config("onnxruntime", "x FP32 [ 3 ]", "y FP32 [ 3 ]", more), model_onnx=double())
    assert "'tensorrt' needs TensorRT (libnvinfer)" in refused.value.message()


def test_options_of_cuda_change_nothing_for_an_instance_on_the_cpu(server):
    more = """max_batch_size: 8 optimization { execution_accelerators { gpu_execution_accelerator {
        name: "cuda" parameters { key: "use_tf32" value: "0" } } } }"""
    server.load("cuda", config("onnxruntime", "x FP32 [ 3 ]", "y FP32 [ 3 ]", more), model_onnx=double())
    assert server.ask("cuda", x=np.ones((2, 3), "f4"))["y"].tolist() == [[2] * 3] * 2


def double():
    """x FP32 [batch, 3] -> y = 2 x."""
    tensor = (TensorProto.FLOAT, ["batch", 3])
    return network([helper.make_node("Add", ["x", "x"], ["y"])], {"x": tensor}, {"y": tensor})


NETWORK = {
    "max_batch_size": 24,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3"]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": ["3"]}],
    "batch_input": [],
    "batch_output": [],
}


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(double().SerializeToString())
    return tmp_path


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="onnxruntime-gpu is installed")
def test_cuda_without_its_package_fails_the_load_and_says_what_to_do(onnx, repository):
    with pytest.raises(RuntimeError, match="onnxruntime-gpu is not installed: run `make env GPU=1`"):
        onnx.load(repository, NETWORK)


class Session(ort.InferenceSession):
    """A session on the CPU that was asked for CUDA, and reports what its class says it got."""

    got, asked = ["CPUExecutionProvider"], None

    def __init__(self, path, options, providers, **more):
        type(self).asked = providers, more
        super().__init__(path, options, providers=["CPUExecutionProvider"])

    def get_providers(self):
        return self.got


@pytest.fixture
def claimed(monkeypatch):
    """An onnxruntime-gpu that lists CUDA, as it does without a driver too."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", Session)
    monkeypatch.setattr(Session, "got", ["CPUExecutionProvider"])
    monkeypatch.setattr(Session, "asked", None)
    return monkeypatch


def test_a_session_that_silently_fell_back_to_the_cpu_fails_the_load(onnx, claimed, repository):
    with pytest.raises(RuntimeError) as refused:
        onnx.load(repository, NETWORK)
    assert "CUDA was asked for, and ONNX Runtime gave the CPU instead: " in str(refused.value)
    assert "\n" not in str(refused.value)
    assert Session.asked[1] == {"enable_fallback": 0}


def test_an_instance_of_kind_cpu_asks_for_nothing_but_the_cpu(onnx, claimed, repository):
    onnx.load(repository, NETWORK, kind="CPU")
    assert Session.asked[0] == ["CPUExecutionProvider"]


@pytest.fixture
def on_gpu(claimed):
    """ONNX Runtime gives CUDA, so it says; the sizes of the batches that its sessions saw, a list per session."""
    seen = {}

    def run(session, names, feed, options=None):
        seen.setdefault(id(session), []).append(len(next(iter(feed.values()))))
        return ort.capi.onnxruntime_inference_collection.Session.run(session, names, feed, options)

    claimed.setattr(Session, "got", [CUDA, "CPUExecutionProvider"])
    claimed.setattr(Session, "run", run, raising=False)
    return seen


def test_a_network_on_its_gpu_has_run_each_batch_size_in_a_session_of_its_own_before_it_counts_as_loaded(
    onnx, on_gpu, repository
):
    model = onnx.load(repository, NETWORK, device=1)
    assert Session.asked[0][0] == (CUDA, {"device_id": "1", **options(onnx)})
    assert "on GPU 1" in onnx.logged[-1] and "for batches of 1, 2, 4, 8, 12, 16, 24, a session each" in onnx.logged[-1]
    assert list(on_gpu.values()) == [[1], [2], [4], [8], [12], [16], [24]]
    for rows in (1, 3, 4, 5, 24, 50):
        x = np.random.default_rng(rows).normal(size=(rows, 3)).astype("f4")
        np.testing.assert_array_equal(model.run(["y"], {"x": x}), [2 * x])
    assert [set(sizes) for sizes in on_gpu.values()] == [{1}, {2}, {4}, {8}, {12}, {16}, {24}]


def test_batches_are_not_filled_up_if_the_config_says_so(onnx, on_gpu, repository):
    model = onnx.load(repository, NETWORK | {"parameters": {"pad_batches": {"string_value": "0"}}})
    assert "16, 24, one session" in onnx.logged[-1]
    model.run(["y"], {"x": np.ones((3, 3), "f4")})
    assert list(on_gpu.values()) == [[1, 2, 4, 8, 12, 16, 24, 3]]


def test_batches_are_not_filled_up_if_a_rows_result_depends_on_the_others(onnx, on_gpu, tmp_path):
    (tmp_path / "1").mkdir()
    tensor = (TensorProto.FLOAT, ["batch", 3])
    mean = helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0])
    model = network([mean, helper.make_node("Add", ["x", "mean"], ["y"])], {"x": tensor}, {"y": tensor})
    (tmp_path / "1" / "model.onnx").write_bytes(model.SerializeToString())
    batch = np.random.default_rng(0).normal(size=(3, 3)).astype("f4")
    (result,) = onnx.load(tmp_path, NETWORK).run(["y"], {"x": batch})
    assert "one session" in onnx.logged[-1]
    np.testing.assert_allclose(result, batch + batch.mean(axis=0), rtol=1e-5)


def test_a_network_of_whole_numbers_that_mixes_rows_is_not_filled_up_either(onnx, on_gpu, tmp_path):
    (tmp_path / "1").mkdir()
    tensor = (TensorProto.INT64, ["batch", 3])
    least = helper.make_node("ReduceMin", ["x"], ["least"], axes=[0])
    model = network([least, helper.make_node("Add", ["x", "least"], ["y"])], {"x": tensor}, {"y": tensor})
    (tmp_path / "1" / "model.onnx").write_bytes(model.SerializeToString())
    whole = {side: [{**NETWORK[side][0], "data_type": "TYPE_INT64"}] for side in ("input", "output")}
    batch = np.arange(5, 14).reshape(3, 3)
    (result,) = onnx.load(tmp_path, {**NETWORK, **whole}).run(["y"], {"x": batch})
    assert "one session" in onnx.logged[-1]
    np.testing.assert_array_equal(result, batch + batch.min(axis=0))


class Network:
    """A session that fails with a message for batches of at least so many rows; `tried` has the shapes of its input."""

    def __init__(self, message="", least=1000):
        self.message, self.least, self.tried = message, least, []

    def get_outputs(self):
        return [SimpleNamespace(name="y")]

    def run(self, names, feed):
        self.tried.append(feed["x"].shape)
        if feed["x"].ndim and len(feed["x"]) >= self.least:
            raise RuntimeError(self.message)
        return [feed["x"]]

    def warm_up(self, config=None, least=0):
        """Return the sizes for which this network is warm."""
        module = importlib.import_module("onnx_batches")
        return module.warm_up({**NETWORK, "name": "m", **(config or {})}, self, lambda: self, least)[1]


WARM = {
    "fixed": ([("x", "TYPE_FP32", [3, 4])], 5, 0, [(1, 3, 4), (2, 3, 4), (4, 3, 4), (5, 3, 4)]),
    "one free size": ([("x", "TYPE_FP32", [-1])], 8, 400, [(1, 400)]),
    "no least size": ([("x", "TYPE_FP32", [-1])], 8, 0, []),
    "free sizes": ([("x", "TYPE_FP32", [-1, -1])], 8, 400, []),
    "text": ([("x", "TYPE_STRING", [1])], 8, 0, []),
    "a scalar": ([("x", "TYPE_FP32", [])], 0, 0, [()]),
    "no batches": ([("x", "TYPE_INT64", [3])], 0, 0, [(3,)]),
}


@pytest.mark.parametrize("kind", WARM)
def test_a_warm_up_runs_the_shapes_that_are_known(onnx, kind):
    inputs, most, least, shapes = WARM[kind]
    tensors = [{"name": name, "data_type": dtype, "dims": dims} for name, dtype, dims in inputs]
    session = Network()
    sizes = session.warm_up({"max_batch_size": most, "input": tensors}, least)
    assert session.tried == shapes and len(sizes) == len(shapes)


SHORT = "CUDA failure 2: out of memory ; GPU=0 ; hostname=h"


def test_a_warm_up_ends_where_memory_does_and_goes_on_after_what_its_input_caused(onnx):
    short = Network(SHORT, 4)
    assert (short.warm_up(), len(short.tried)) == ([1, 2], 3)
    wrong = Network("index out of bounds", 1)
    assert (wrong.warm_up(), len(wrong.tried)) == ([], 7)


@pytest.mark.parametrize(
    ("message", "least"),
    [
        (LOST[0], 4),
        (SHORT, 1),
        ("libcudnn.so.9: cannot open shared object file", 1),
        ("CUDA failure 209: no kernel image is available for execution on the device ; GPU=0 ; hostname=h", 1),
    ],
)
def test_a_gpu_that_cannot_run_the_network_at_all_fails_the_load(onnx, message, least):
    with pytest.raises(RuntimeError) as refused:
        Network(message, least).warm_up()
    assert str(refused.value) == f"the GPU does not run the network: {message.partition(' ; GPU')[0]}"


HARMLESS = ["indices element out of data bounds, idx=99", "Failed to decode sample #0", "nvImageCodec failure: '#3'"]


@pytest.mark.parametrize("text", MEMORY + LOST + HARMLESS)
def test_an_errors_text_tells_memory_and_a_lost_gpu_from_what_the_input_caused(onnx, text):
    errors = importlib.import_module("cuda_errors")
    assert errors.is_out_of_memory(RuntimeError(text)) == (text in MEMORY)
    assert errors.is_lost(RuntimeError(text)) == (text in LOST)
    assert "hostname" not in errors.shorten(RuntimeError(text))


def test_the_librarys_own_words_stay_and_the_functions_of_its_source_go(onnx):
    errors = importlib.import_module("cuda_errors")
    call = (
        "/src/core/providers/cuda/cudnn_fe_call.cc:117 std::conditional_t<THRW, void, Status> onnxruntime::CudaCall("
        "ERRTYPE, const char*, int) [with ERRTYPE = cudnn_frontend::error_object; bool THRW = true] "
    )
    begin, end = "Failed to initialize CUDNN Frontend: ", "CUDNN_FE failure 8: HEURISTIC_QUERY_FAILED"
    assert errors.shorten(RuntimeError(f"{begin}{call}{call}{end} ; GPU=0 ; hostname=a")) == begin + end


def test_a_run_without_memory_is_a_503_and_the_next_is_answered(server):
    """The network makes a tensor of the shape that it gets."""
    types = {"shape": (TensorProto.INT64, ["n"])}, {"zeros": (TensorProto.FLOAT, ["m"])}
    model = network([helper.make_node("ConstantOfShape", ["shape"], ["zeros"])], *types)
    server.load(
        "huge", config("onnxruntime", "shape INT64 [ -1 ]", "zeros FP32 [ -1 ]", "max_batch_size: 0"), model_onnx=model
    )
    with pytest.raises(InferenceServerException) as refused:
        server.ask("huge", shape=np.array([1 << 50]))
    assert refused.value.status() == "503" and "Failed to allocate memory" in refused.value.message()
    assert "/" not in refused.value.message() and "\n" not in refused.value.message()
    assert server.ask("huge", shape=np.array([3]))["zeros"].tolist() == [0, 0, 0]


class Request:
    """A request with one tensor."""

    def __init__(self, array):
        self.array = array

    def inputs(self):
        return [SimpleNamespace(name=lambda: "x", as_numpy=lambda: self.array)]

    def requested_output_names(self):
        return ["y"]


@pytest.mark.parametrize("text", MEMORY[:3])
def test_only_the_request_that_memory_does_not_hold_fails_and_the_next_is_answered(onnx, on_gpu, repository, text):
    model = onnx.load(repository, NETWORK)
    compute = model.session.run

    def run(names, feed, options=None):
        if len(feed["x"]) > 4:
            raise RuntimeError(text)
        return compute(names, feed, options)

    model.session = SimpleNamespace(run=run)
    few, many = np.ones((2, 3), "f4"), np.ones((9, 3), "f4")
    first, huge, last = model.execute([Request(few), Request(many), Request(few)])
    assert huge.error.code == "UNAVAILABLE" and "\n" not in huge.error.message and "hostname" not in huge.error.message
    for answer in (first, last, *model.execute([Request(few)])):
        np.testing.assert_array_equal(dict(answer.tensors)["y"], 2 * few)


@pytest.mark.parametrize("text", LOST[:2])
def test_a_stub_that_lost_its_gpu_ends(onnx, claimed, repository, text):
    model = onnx.load(repository, NETWORK, kind="CPU")
    ended = []
    claimed.setattr("os._exit", ended.append)

    def lost(*arguments):
        raise RuntimeError(text)

    model.session = SimpleNamespace(run=lost)
    with pytest.raises(RuntimeError):
        model.run(["y"], {"x": np.ones((1, 3), "f4")})
    assert ended == [1]
