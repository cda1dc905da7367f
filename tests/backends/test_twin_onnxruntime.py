"""Laws of `backends/onnxruntime`, the Python twin of the native backend, on the real server."""

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from tests.twins import EIGHT, config, network, running, tensors

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


def double(shape=("batch", 3)):
    """x FP32 -> y = 2 x."""
    tensor = (TensorProto.FLOAT, shape)
    return network([helper.make_node("Add", ["x", "x"], ["y"])], {"x": tensor}, {"y": tensor})


def lookup():
    """index INT64 [batch, 1] -> value FP32 [batch, 1], out of a table of ten: other indices are an error."""
    types = {"index": (TensorProto.INT64, ["batch", 1])}, {"value": (TensorProto.FLOAT, ["batch", 1])}
    return network(
        [helper.make_node("Gather", ["table", "index"], ["value"])], *types, table=np.arange(10, dtype="f4") ** 2
    )


def test_eight_requests_are_one_run_and_each_gets_its_own_answer(server):
    server.load("merged", config("onnxruntime", "x FP32 [ 3 ]", "y FP32 [ 3 ]"), model_onnx=double())
    requests = [{"x": np.full((1, 3), number, "f4")} for number in range(8)]
    answers = server.together("merged", requests)
    assert [answer["y"].tolist() for answer in answers] == [[[2 * number] * 3] for number in range(8)]
    assert server.batches("merged", samples=8) == [8]


def test_merged_requests_are_one_run_of_the_network(server):
    """The network gives the size of the batch that it sees."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["batch"]),
        helper.make_node("Expand", ["batch", "shape"], ["seen"]),
    ]
    inputs, outputs = {"x": (TensorProto.FLOAT, ["n", 1])}, {"seen": (TensorProto.INT64, ["n", 1])}
    model = network(nodes, inputs, outputs, first=np.array(0))
    server.load("size", config("onnxruntime", "x FP32 [ 1 ]", "seen INT64 [ 1 ]"), model_onnx=model)
    answers = server.together("size", [{"x": np.zeros((rows, 1), "f4")} for rows in (1, 5, 2)])
    assert [answer["seen"].ravel().tolist() for answer in answers] == [[8], [8] * 5, [8] * 2]


def test_requests_of_several_rows_are_merged_and_split_again(server):
    server.load("rows", config("onnxruntime", "x FP32 [ 3 ]", "y FP32 [ 3 ]"), model_onnx=double())
    requests = [{"x": np.random.default_rng(rows).normal(size=(rows, 3)).astype("f4")} for rows in (3, 1, 4)]
    answers = server.together("rows", requests)
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * request["x"])
    assert server.batches("rows", samples=8) == [8]


def test_a_request_that_the_network_refuses_fails_alone(server):
    server.load("lookup", config("onnxruntime", "index INT64 [ 1 ]", "value FP32 [ 1 ]"), model_onnx=lookup())
    answers = server.together("lookup", [{"index": np.array([[index]])} for index in (0, 1, 2, 99, 4, 5, 6, 7)])
    refused = answers.pop(3)
    assert refused.status() == "400" and "99" in refused.message() and "\n" not in refused.message()
    assert [answer["value"].item() for answer in answers] == [0, 1, 4, 16, 25, 36, 49]
    assert server.batches("lookup", samples=8) == [8]


def limits(**parameters):
    entries = (f'{{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in parameters.items())
    return f"{EIGHT} parameters [ {', '.join(entries)} ]"


def test_samples_beyond_the_configs_limits_fail_alone_and_never_reach_the_network(server):
    settings = config("onnxruntime", "x FP32 [ 3 ]", "y FP32 [ 3 ]", limits(finite=1))
    server.load("finite", settings, model_onnx=double())
    requests = [{"x": np.full((1, 3), value, "f4")} for value in (0, 1, np.nan, 3, np.inf, 5, -np.inf, 7)]
    answers = server.together("finite", requests)
    for index in (6, 4, 2):
        refused = answers.pop(index)
        assert refused.status() == "400"
        assert refused.message().startswith("input 'x' has values that are not finite: NaN or infinity; ")
    assert [answer["y"][0, 0] for answer in answers] == [0, 2, 6, 10, 14]
    assert server.batches("finite", samples=8) == [8]


@pytest.mark.parametrize(("count", "expected"), [(1, "2 to 6"), (7, "2 to 6")])
def test_a_sample_of_too_many_or_too_few_elements_is_refused(server, count, expected):
    name = f"elements_{count}"
    settings = config("onnxruntime", "x FP32 [ -1 ]", "y FP32 [ -1 ]", limits(min_elements=2, max_elements=6))
    server.load(name, settings, model_onnx=double(["n", "m"]))
    answers = server.together(name, [{"x": np.zeros((8, count), "f4")}])
    assert answers[0].message() == f"input 'x' has {count} elements, expected {expected}"
    for fits in (2, 6):
        assert server.ask(name, x=np.ones((8, fits), "f4"))["y"].tolist() == [[2] * fits] * 8


def test_no_run_holds_more_elements_than_one_sample_may_have(server):
    """The network gives the size of the batch that it sees."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["batch"]),
        helper.make_node("Expand", ["batch", "shape"], ["seen"]),
    ]
    inputs, outputs = {"x": (TensorProto.FLOAT, ["n", 2])}, {"seen": (TensorProto.INT64, ["n", 2])}
    model = network(nodes, inputs, outputs, first=np.array(0))
    settings = config("onnxruntime", "x FP32 [ 2 ]", "seen INT64 [ 2 ]", limits(max_elements=6))
    server.load("parts", settings, model_onnx=model)
    answers = server.together("parts", [{"x": np.zeros((rows, 2), "f4")} for rows in (1, 5, 2)])
    seen = [answer["seen"][:, 0].tolist() for answer in answers]
    assert [len(sizes) for sizes in seen] == [1, 5, 2]
    assert sorted(size for sizes in seen for size in sizes) == [2] * 2 + [3] * 6


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


MISMATCHES = {  # the network's shape, the config's tensors, what the server says
    "input": (["n", 3], "z FP32 [ 3 ]", "y FP32 [ 3 ]", "config has inputs ['z'], model.onnx has ['x']"),
    "output": (["n", 3], "x FP32 [ 3 ]", "z FP32 [ 3 ]", "config has outputs ['z'], model.onnx has ['y']"),
    "type": (["n", 3], "x FP16 [ 3 ]", "y FP32 [ 3 ]", "input 'x': config says FP16 [3]BATCH FP32 [n,3]"),
    "size": (["n", 3], "x FP32 [ 3 ]", "y FP32 [ 5 ]", "output 'y': config says FP32 [5]BATCH FP32 [n,3]"),
    "rank": (["n", 3], "x FP32 [ 3, 1 ]", "y FP32 [ 3 ]", "input 'x': config says FP32 [3,1]BATCH FP32 [n,3]"),
    "batch": ([1, 3], "x FP32 [ 3 ]", "y FP32 [ 3 ]", "input 'x': config says FP32 [3]BATCH FP32 [1,3]"),
    "free": (["n", "m"], "x FP32 [ 3 ]", "y FP32 [ 3 ]", "output 'y': config says FP32 [3]BATCH FP32 [n,m]"),
}


@pytest.mark.parametrize("kind", MISMATCHES)
def test_a_config_that_does_not_fit_the_network_is_refused_at_load_naming_both_sides(server, kind):
    shape, inputs, outputs, message = MISMATCHES[kind]
    with pytest.raises(InferenceServerException) as refused:
        server.load(f"mismatch_{kind}", config("onnxruntime", inputs, outputs), model_onnx=double(shape))
    assert message.replace("BATCH", " with max_batch_size 8, model.onnx says") in refused.value.message()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("intra_op_thread_count", "two", "'two', expected a whole number of threads"),
        ("execution_mode", "2", "'2', expected 0 (sequential) or 1 (parallel)"),
        ("max_elements", "-1", "'-1', expected a whole number of elements, or 0 for no limit"),
        ("enable_mem_arena", "maybe", "'maybe', expected 0 or 1, false or true"),
    ],
)
def test_a_wrong_parameter_is_refused_at_load(server, key, value, expected):
    more = f'max_batch_size: 1 parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
    with pytest.raises(InferenceServerException) as refused:
        server.load(f"wrong_{key}", config("onnxruntime", "x FP32 [ 3 ]", "y FP32 [ 3 ]", more), model_onnx=double())
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
