"""Laws of `backends/`: the Python twins of Triton's native backends, on the real server.

Where requests must be merged, the test's own config makes it certain: the batcher waits (up to `PATIENCE`) until
as many samples are there as the preferred batch has, so a slow machine changes nothing.
"""

import io
import re
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc
import tritonclient.http
from onnx import TensorProto, helper
from PIL import Image
from tritonclient.utils import InferenceServerException

from serving import wheel

ROOT = Path(__file__).parents[1]
PATIENCE = "max_queue_delay_microseconds: 100000000"
EIGHT = f"max_batch_size: 8 dynamic_batching {{ preferred_batch_size: [ 8 ] {PATIENCE} }}"
DALI = "from nvidia.dali import fn, pipeline_def, types\nfrom nvidia.dali.plugin.triton import autoserialize\n"
PIPELINE = DALI + "@autoserialize\n@pipeline_def(batch_size=8, num_threads=1, device_id=None)\ndef pipeline():\n"


class Server:
    """tritonserver with an empty repository; `load` adds a model to it."""

    def __init__(self, folder):
        self.repository = folder / "models"
        self.repository.mkdir()
        http, grpc = free_port(), free_port()
        command, environment = wheel.tritonserver(folder)
        flags = [f"--model-repository={self.repository}", "--model-control-mode=explicit", "--exit-timeout-secs=1"]
        ports = [f"--http-port={http}", f"--grpc-port={grpc}", "--allow-metrics=false"]
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen([*command, *flags, *ports], env=environment, stdout=self.log, stderr=self.log)
        self.http = tritonclient.http.InferenceServerClient(f"127.0.0.1:{http}", concurrency=8)
        self.grpc = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{grpc}")

    def wait(self):
        while True:
            assert self.process.poll() is None, Path(self.log.name).read_text()
            try:
                return self.http.is_server_live()
            except OSError:
                time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def load(self, name, config, **files):
        """`files`: what to put into the version's folder; ONNX models, text or bytes, or a path to link to."""
        version = self.repository / name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(f'name: "{name}" {config}')
        for file, content in files.items():
            path = version / file.replace("_", ".")
            if isinstance(content, Path):
                path.symlink_to(content)
            else:
                content = content.SerializeToString() if isinstance(content, onnx.ModelProto) else content
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.http.load_model(name)

    def ask(self, name, outputs=None, **arrays):
        """One request over HTTP: output name -> array."""
        return self.together(name, [arrays], outputs)[0]

    def together(self, name, requests, outputs=None):
        """All at once; an answer is a dict of arrays, or the exception."""
        asked = [tritonclient.http.InferRequestedOutput(output) for output in outputs] if outputs else None
        pending = [
            self.http.async_infer(name, tensors(tritonclient.http, arrays), outputs=asked) for arrays in requests
        ]
        answers = []
        for request in pending:
            try:
                answers.append(decoded(request.get_result()))
            except InferenceServerException as error:
                answers.append(error)
        return answers

    def executions(self, name):
        """(runs, requests, size of each batch that ran) so far."""
        statistics = self.http.get_inference_statistics(name)["model_stats"][0]
        sizes = [batch["batch_size"] for batch in statistics["batch_stats"]]
        return statistics["execution_count"], statistics["inference_count"], sizes


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tensors(client, arrays):
    inputs = []
    for name, array in arrays.items():
        kind = "BYTES" if array.dtype == object else {"f": "FP", "i": "INT", "u": "UINT"}[array.dtype.kind]
        kind = kind if kind == "BYTES" else f"{kind}{8 * array.itemsize}"
        inputs.append(client.InferInput(name, array.shape, kind))
        inputs[-1].set_data_from_numpy(array)
    return inputs


def decoded(result):
    return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def network(nodes, inputs, outputs, **constants):
    """`inputs`, `outputs`: name -> (ONNX type, shape)."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in inputs.items()],
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in outputs.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def double():
    """x FP32 [batch, 3] -> y = 2 x."""
    free = (TensorProto.FLOAT, ["batch", 3])
    return network([helper.make_node("Add", ["x", "x"], ["y"])], {"x": free}, {"y": free})


def lookup():
    """index INT64 [batch, 1] -> value FP32 [batch, 1], out of a table of ten: other indices are an error."""
    types = {"index": (TensorProto.INT64, ["batch", 1])}, {"value": (TensorProto.FLOAT, ["batch", 1])}
    return network(
        [helper.make_node("Gather", ["table", "index"], ["value"])], *types, table=np.arange(10, dtype="f4") ** 2
    )


def config(backend, inputs, outputs, more=EIGHT):
    """`inputs`, `outputs`: "name TYPE dims" separated by semicolons."""

    def entries(text):
        words = [tensor.split(" ", 2) for tensor in text.split("; ")]
        return ", ".join(f'{{ name: "{name}" data_type: TYPE_{kind} dims: {dims} }}' for name, kind, dims in words)

    tensors = f"input [ {entries(inputs)} ] output [ {entries(outputs)} ]"
    return f'backend: "{backend}" instance_group [ {{ count: 1 }} ] {tensors} {more}'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def photographs():
    """Eight JPEGs of different sizes, so that merging them needs a ragged batch."""
    canary = Image.open(ROOT / "serving" / "canary.jpg")
    encoded = []
    for number in range(8):
        file = io.BytesIO()
        canary.resize((240 + 31 * number, 400 - 23 * number)).save(file, "JPEG")
        encoded.append(np.frombuffer(file.getvalue(), np.uint8))
    return encoded


# onnxruntime


def test_eight_requests_are_one_run_and_each_gets_its_own_answer(server):
    server.load("merged", config("onnxruntime", "x FP32 [ 3 ]", "y FP32 [ 3 ]"), model_onnx=double())
    requests = [{"x": np.full((1, 3), number, "f4")} for number in range(8)]
    answers = server.together("merged", requests)
    assert [answer["y"].tolist() for answer in answers] == [[[2 * number] * 3] for number in range(8)]
    assert server.executions("merged") == (1, 8, [8])


def test_requests_of_several_rows_are_merged_and_split_again(server):
    server.load("rows", config("onnxruntime", "x FP32 [ 3 ]", "y FP32 [ 3 ]"), model_onnx=double())
    requests = [{"x": np.random.default_rng(rows).normal(size=(rows, 3)).astype("f4")} for rows in (3, 1, 4)]
    answers = server.together("rows", requests)
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * request["x"])
    assert server.executions("rows") == (1, 8, [8])


def test_a_request_that_the_network_refuses_fails_alone(server):
    server.load("lookup", config("onnxruntime", "index INT64 [ 1 ]", "value FP32 [ 1 ]"), model_onnx=lookup())
    answers = server.together("lookup", [{"index": np.array([[index]])} for index in (0, 1, 2, 99, 4, 5, 6, 7)])
    refused = answers.pop(3)
    assert refused.status() == "400" and "99" in refused.message() and "\n" not in refused.message()
    assert [answer["value"].item() for answer in answers] == [0, 1, 4, 16, 25, 36, 49]
    assert server.executions("lookup")[0] == 1


def test_grpc_gives_the_same_answer_and_the_matching_error(server):
    settings = config("onnxruntime", "index INT64 [ 1 ]", "value FP32 [ 1 ]", "max_batch_size: 8")
    server.load("both", settings, model_onnx=lookup())
    for index in (3, 9):
        request = {"index": np.array([[index]])}
        answer = server.grpc.infer("both", tensors(tritonclient.grpc, request)).as_numpy("value")
        np.testing.assert_array_equal(answer, server.ask("both", **request)["value"])
    with pytest.raises(InferenceServerException) as refused:
        server.grpc.infer("both", tensors(tritonclient.grpc, {"index": np.array([[99]])}))
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_text_goes_in_and_comes_out_in_any_script(server):
    text = (TensorProto.STRING, ["batch", 2])
    model = network([helper.make_node("Identity", ["said"], ["heard"])], {"said": text}, {"heard": text})
    server.load("text", config("onnxruntime", "said STRING [ 2 ]", "heard STRING [ 2 ]"), model_onnx=model)
    said = np.array([["", "photo"], ["naïve", "画像"], ["a\nb", " "], ["ß", "🙂"]], dtype=object)
    answers = server.together("text", [{"said": rows} for rows in (said[:1], said[1:2], said[2:], said)])
    heard = np.concatenate([answer["heard"] for answer in answers])
    assert [value.decode() for value in heard.flat] == [*said.flat, *said.flat]


def test_without_batching_the_shapes_are_exactly_the_networks(server):
    free = (TensorProto.FLOAT, ["rows", "columns"])
    model = network([helper.make_node("Transpose", ["x"], ["y"])], {"x": free}, {"y": free})
    settings = config("onnxruntime", "x FP32 [ -1, -1 ]", "y FP32 [ -1, -1 ]", "max_batch_size: 0")
    server.load("plain", settings, model_onnx=model)
    for shape in ((2, 5), (1, 1), (7, 3)):
        x = np.arange(np.prod(shape), dtype="f4").reshape(shape)
        np.testing.assert_array_equal(server.ask("plain", x=x)["y"], x.T)


def test_several_inputs_and_outputs_of_several_types_and_only_those_asked_for(server):
    nodes = [
        helper.make_node("Add", ["a", "a"], ["twice"]),
        helper.make_node("Cast", ["b"], ["real"], to=TensorProto.FLOAT16),
    ]
    inputs = {"a": (TensorProto.DOUBLE, ["n", 2]), "b": (TensorProto.UINT8, ["n", 1])}
    outputs = {"twice": (TensorProto.DOUBLE, ["n", 2]), "real": (TensorProto.FLOAT16, ["n", 1])}
    settings = config(
        "onnxruntime", "b UINT8 [ 1 ]; a FP64 [ 2 ]", "real FP16 [ 1 ]; twice FP64 [ 2 ]", "max_batch_size: 8"
    )
    server.load("several", settings, model_onnx=network(nodes, inputs, outputs))
    request = {"a": np.array([[0.1, 1e300], [2, 3]]), "b": np.array([[7], [255]], np.uint8)}
    answer = server.ask("several", **request)
    np.testing.assert_array_equal(answer["twice"], 2 * request["a"])
    np.testing.assert_array_equal(answer["real"], request["b"].astype(np.float16))
    assert server.ask("several", outputs=["real"], **request).keys() == {"real"}


def test_the_model_file_may_have_another_name(server):
    settings = config(
        "onnxruntime", "x FP32 [ 3 ]", "y FP32 [ 3 ]", 'max_batch_size: 1 default_model_filename: "net.onnx"'
    )
    server.load("renamed", settings, net_onnx=double())
    assert server.ask("renamed", x=np.ones((1, 3), "f4"))["y"].tolist() == [[2, 2, 2]]


def test_what_the_config_leaves_out_is_completed_as_the_native_backend_does(server):
    server.load("completed", 'backend: "onnxruntime"', model_onnx=double())
    found = server.http.get_model_config("completed")
    assert found["platform"] == "onnxruntime_onnx" and found["max_batch_size"] == 4 and "dynamic_batching" in found
    for kind, name in (("input", "x"), ("output", "y")):
        (tensor,) = found[kind]
        assert (tensor["name"], tensor["data_type"], tensor["dims"]) == (name, "TYPE_FP32", [3])
    assert server.ask("completed", x=np.ones((2, 3), "f4"))["y"].tolist() == [[2, 2, 2]] * 2


def test_a_network_with_a_fixed_first_axis_is_completed_without_batching(server):
    fixed = (TensorProto.FLOAT, [2, "n"])
    model = network([helper.make_node("Neg", ["x"], ["y"])], {"x": fixed}, {"y": fixed})
    server.load("fixed", 'backend: "onnxruntime"', model_onnx=model)
    found = server.http.get_model_config("fixed")
    assert found["max_batch_size"] == 0 and found["input"][0]["dims"] == [2, -1]


MISMATCHES = {
    "name": ("pixels FP32 [ 3 ]", "y FP32 [ 3 ]", "config has inputs ['pixels'], model.onnx has ['x']"),
    "output": ("x FP32 [ 3 ]", "logits FP32 [ 3 ]", "config has outputs ['logits'], model.onnx has ['y']"),
    "type": (
        "x FP16 [ 3 ]",
        "y FP32 [ 3 ]",
        "input 'x': config says FP16 [3] with max_batch_size 8, model.onnx says FP32 [batch,3]",
    ),
    "dims": (
        "x FP32 [ 3 ]",
        "y FP32 [ 5 ]",
        "output 'y': config says FP32 [5] with max_batch_size 8, model.onnx says FP32 [batch,3]",
    ),
    "rank": (
        "x FP32 [ 3, 1 ]",
        "y FP32 [ 3 ]",
        "input 'x': config says FP32 [3,1] with max_batch_size 8, model.onnx says FP32 [batch,3]",
    ),
}


@pytest.mark.parametrize("kind", MISMATCHES)
def test_a_config_that_does_not_fit_the_network_is_refused_at_load_naming_both_sides(server, kind):
    inputs, outputs, message = MISMATCHES[kind]
    with pytest.raises(InferenceServerException) as refused:
        server.load(f"mismatch_{kind}", config("onnxruntime", inputs, outputs), model_onnx=double())
    assert message in refused.value.message()


@pytest.mark.parametrize(
    ("backend", "key", "value", "expected"),
    [
        ("onnxruntime", "intra_op_thread_count", "two", "'two', expected a whole number of threads"),
        ("onnxruntime", "execution_mode", "2", "'2', expected 0 (sequential) or 1 (parallel)"),
        ("onnxruntime", "enable_mem_arena", "maybe", "'maybe', expected 0 or 1, false or true"),
        ("dali", "num_threads", "0", "'0', expected a whole number of threads"),
    ],
)
def test_a_wrong_parameter_is_refused_at_load(server, backend, key, value, expected):
    more = f'max_batch_size: 1 parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
    with pytest.raises(InferenceServerException) as refused:
        server.load(
            f"wrong_{key}",
            config(backend, "x FP32 [ 3 ]", "y FP32 [ 3 ]", more),
            model_onnx=double(),
            dali_py=PIPELINE + "    return fn.external_source(name='x')",
        )
    assert f"parameter {key} is {expected}" in refused.value.message()


def test_parameters_reach_onnx_runtime_as_the_native_backend_reads_them(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "backends" / "onnxruntime")
    import onnxruntime as ort
    from onnx_options import options

    given = {
        "intra_op_thread_count": "3",
        "inter_op_thread_count": "2",
        "execution_mode": "1",
        "enable_mem_pattern": "0",
    }
    parameters = {key: {"string_value": value} for key, value in given.items()}
    session = options({"parameters": parameters, "optimization": {"graph": {"level": -1}}})
    assert (session.intra_op_num_threads, session.inter_op_num_threads, session.enable_mem_pattern) == (3, 2, False)
    assert session.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    assert session.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_BASIC


# dali


def preprocess(server, name, more):
    """The served `image_preprocess`, with a batching of the test's own."""
    settings = config("dali", "encoded UINT8 [ -1 ] allow_ragged_batch: true", "pixels FP32 [ 3, 224, 224 ]", more)
    server.load(name, settings, dali_py=ROOT / "model_repository" / "image_preprocess" / "1" / "dali.py")


@pytest.fixture(scope="module")
def alone(server):
    """request -> pixels, in a batch of its own."""
    preprocess(server, "alone", "max_batch_size: 8")
    return lambda request: server.ask("alone", **request)["pixels"]


@pytest.fixture(scope="module")
def merged(server):
    """Eight requests -> eight answers, proven to come from one batch."""
    preprocess(server, "merged_images", EIGHT)

    def merged(requests):
        runs, _, _ = server.executions("merged_images")
        answers = server.together("merged_images", requests)
        after, _, sizes = server.executions("merged_images")
        assert after == runs + 1 and sizes == [8]
        return answers

    return merged


def test_eight_images_of_different_sizes_are_one_run_with_the_answers_of_eight(photographs, alone, merged):
    requests = [{"encoded": encoded[None]} for encoded in photographs]
    answers = merged(requests)
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["pixels"], alone(request))


DAMAGE = {
    "empty": lambda encoded: encoded[:0],
    "cut": lambda encoded: encoded[:100],
    "half": lambda encoded: encoded[: len(encoded) // 2],
    "header": lambda encoded: np.concatenate([np.zeros(20, np.uint8), encoded[20:]]),
    "noise": lambda encoded: np.random.default_rng(0).integers(0, 256, len(encoded)).astype(np.uint8),
}
REASONS = {
    "empty": "Index 0 is out of range",
    "cut": "damaged image",
    "half": "Failed to decode",
    "header": "not an image of a known format",
    "noise": "not an image of a known format",
}


@pytest.mark.parametrize(("kind", "reason"), REASONS.items())
def test_one_corrupt_image_fails_alone(photographs, alone, merged, kind, reason):
    requests = [{"encoded": encoded[None]} for encoded in photographs]
    requests[5] = {"encoded": DAMAGE[kind](photographs[5])[None]}
    answers = merged(requests)
    refused = answers.pop(5)
    assert refused.status() == "400"
    assert re.fullmatch(rf"input 'encoded': {reason}.*", refused.message())
    for request, answer in zip(requests[:5] + requests[6:], answers, strict=True):
        np.testing.assert_array_equal(answer["pixels"], alone(request))


def test_a_model_with_several_inputs_gives_its_outputs_in_the_order_of_the_pipeline(server):
    """As in the native backend the config's names are free, and requests of several samples are split again."""
    settings = config("dali", "b FP32 [ -1 ]; a UINT8 [ -1 ]", "first UINT8 [ -1 ]; second FP32 [ -1 ]")
    source = """    a = fn.external_source(name="a", dtype=types.UINT8, ndim=1)
    b = fn.external_source(name="b", dtype=types.FLOAT)
    return a, b * 2
"""
    server.load("pair", settings, dali_py=PIPELINE + source)
    random = np.random.default_rng(0)
    requests = [
        {"a": random.integers(0, 9, (rows, 4)).astype("u1"), "b": random.normal(size=(rows, 2)).astype("f4")}
        for rows in (3, 1, 4)
    ]
    answers = server.together("pair", requests)
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["first"], request["a"])
        np.testing.assert_array_equal(answer["second"], 2 * request["b"])
    assert server.executions("pair") == (1, 8, [8])


def test_only_the_outputs_asked_for_come_back(server):
    settings = config("dali", "x UINT8 [ -1 ]", "same UINT8 [ -1 ]; sum INT64 [ -1 ]", "max_batch_size: 8")
    source = "    x = fn.external_source(name='x')\n    return x, fn.cast(x, dtype=types.INT64)\n"
    server.load("asked", settings, dali_py=PIPELINE + source)
    assert server.ask("asked", outputs=["sum"], x=np.array([[3, 4]], np.uint8)).keys() == {"sum"}


def test_samples_of_one_request_that_come_out_in_different_shapes_are_the_clients_error(server):
    settings = config("dali", "x INT32 [ -1 ]", "y INT32 [ -1 ]", "max_batch_size: 8")
    source = "    x = fn.external_source(name='x', dtype=types.INT32, ndim=1)\n    return x[: x[0]]\n"
    server.load("uneven", settings, dali_py=PIPELINE + source)
    assert server.ask("uneven", x=np.array([[1, 5], [1, 6]], np.int32))["y"].tolist() == [[1], [1]]
    with pytest.raises(InferenceServerException) as refused:
        server.ask("uneven", x=np.array([[1, 5], [2, 6]], np.int32))
    assert refused.value.status() == "400" and "same shape" in refused.value.message()


def test_a_serialised_pipeline_is_served_too(server):
    from nvidia.dali import fn, pipeline_def

    @pipeline_def(batch_size=8, num_threads=1, device_id=None)
    def negative():
        return -fn.external_source(name="x")

    settings = config("dali", "x FP32 [ -1 ]", "y FP32 [ -1 ]", "max_batch_size: 8")
    server.load("serialised", settings, model_dali=negative().serialize())
    assert server.ask("serialised", x=np.array([[1, -2]], "f4"))["y"].tolist() == [[-1, 2]]


TYPED = (
    DALI
    + """@autoserialize
@pipeline_def(batch_size=8, num_threads=1, device_id=None, output_dtype=[types.FLOAT], output_ndim=[2])
def pipeline():
    return fn.reshape(fn.external_source(name="x", dtype=types.FLOAT, ndim=1), shape=[1, -1])
"""
)
DALI_MISMATCHES = {
    "name": ("image FP32 [ -1 ]", "y FP32 [ 1, -1 ]", "config has inputs ['image'], the pipeline has ['x']"),
    "type": (
        "x UINT8 [ -1 ]",
        "y FP32 [ 1, -1 ]",
        "input 'x': config says UINT8 of 1 dimensions, the pipeline says FP32 of 1",
    ),
    "dims": (
        "x FP32 [ -1 ]",
        "y FP32 [ -1 ]",
        "output 'y': config says FP32 of 1 dimensions, the pipeline says FP32 of 2",
    ),
    "count": ("x FP32 [ -1 ]", "y FP32 [ 1, -1 ]; z FP32 [ 1 ]", "config has 2 outputs ['y', 'z'], the pipeline has 1"),
}


@pytest.mark.parametrize("kind", DALI_MISMATCHES)
def test_a_config_that_does_not_fit_the_pipeline_is_refused_at_load_naming_both_sides(server, kind):
    inputs, outputs, message = DALI_MISMATCHES[kind]
    with pytest.raises(InferenceServerException) as refused:
        server.load(f"dali_mismatch_{kind}", config("dali", inputs, outputs), dali_py=TYPED)
    assert message in refused.value.message()


def test_a_model_without_a_pipeline_is_refused_at_load(server):
    with pytest.raises(InferenceServerException) as refused:
        server.load("nothing", config("dali", "x FP32 [ -1 ]", "y FP32 [ -1 ]"))
    assert "version 1 of the model has neither model.dali nor dali.py" in refused.value.message()
