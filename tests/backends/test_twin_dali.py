"""Laws of `backends/dali`, the Python twin of the native backend, on the real server."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tritonclient.utils import InferenceServerException

from tests.twins import EIGHT, config, running

ROOT = Path(__file__).parents[2]
DALI = "from nvidia.dali import fn, pipeline_def, types\nfrom nvidia.dali.plugin.triton import autoserialize\n"
PIPELINE = DALI + "@autoserialize\n@pipeline_def(batch_size=8, num_threads=1, device_id=None)\ndef pipeline():\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def photographs():
    """Eight JPEGs of different sizes, so that merging them needs a ragged batch."""
    photograph = Image.open(ROOT / "serving" / "smoke_test.jpg")
    encoded = []
    for number in range(8):
        file = io.BytesIO()
        photograph.resize((240 + 31 * number, 400 - 23 * number)).save(file, "JPEG")
        encoded.append(np.frombuffer(file.getvalue(), np.uint8))
    return encoded


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
    samples = 0

    def merged(requests):
        nonlocal samples
        samples += 8
        answers = server.together("merged_images", requests)
        assert set(server.batches("merged_images", samples)) == {8}
        return answers

    return merged


def test_eight_images_of_different_sizes_are_one_run_with_the_answers_of_eight(photographs, alone, merged):
    requests = [{"encoded": encoded[None]} for encoded in photographs]
    answers = merged(requests)
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["pixels"], alone(request))


def without_tables(encoded):
    """A JPEG without its first segment of quantization tables: only decoding it shows that."""
    data = encoded.tobytes()
    begin = data.index(b"\xff\xdb")
    end = begin + 2 + int.from_bytes(data[begin + 2 : begin + 4], "big")
    return np.concatenate([encoded[:begin], encoded[end:]])


DAMAGE = {
    "empty": lambda encoded: encoded[:0],
    "cut": lambda encoded: encoded[:100],
    "half": lambda encoded: encoded[: len(encoded) // 2],
    "tables": lambda encoded: without_tables(encoded),
    "header": lambda encoded: np.concatenate([np.zeros(20, np.uint8), encoded[20:]]),
    "noise": lambda encoded: np.random.default_rng(0).integers(0, 256, len(encoded)).astype(np.uint8),
}
REASONS = {
    "empty": "cannot decode 0 bytes as JPEG, PNG or WebP: not an image of an accepted format",
    "cut": "cannot decode 100 bytes as JPEG, PNG or WebP: a JPEG that ends within its segment",
    "half": "cannot decode .* a JPEG without its end",
    "tables": "the image's data are damaged",
    "header": "cannot decode .* not an image of an accepted format",
    "noise": "cannot decode .* not an image of an accepted format",
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
    assert server.batches("pair", samples=8) == [8]


def test_merged_requests_are_one_run_of_the_pipeline(server):
    """The pipeline numbers the samples of the batch that it sees, in some order."""
    settings = config("dali", "x UINT8 [ -1 ]", "same UINT8 [ -1 ]; number INT32 [ 1 ]")
    source = "    x = fn.external_source(name='x')\n    return x, fn.batch_permutation()\n"
    server.load("numbers", settings, dali_py=PIPELINE + source)
    answers = server.together("numbers", [{"x": np.zeros((rows, 1), np.uint8)} for rows in (1, 5, 2)])
    numbers = [number for answer in answers for number in answer["number"].ravel().tolist()]
    assert sorted(numbers) == list(range(8))


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


def test_the_python_steps_of_a_dali_py_go_before_its_graph_and_may_refuse_a_sample(server):
    settings = config("dali", "x UINT8 [ -1 ]; y UINT8 [ -1 ]", "p UINT8 [ -1 ]; q UINT8 [ -1 ]")
    source = """    return fn.external_source(name="x"), fn.external_source(name="y")

def halved(sample):
    if sample[0] % 2:
        raise ValueError(f"{sample[0]} is odd")
    return sample // 2

PREPARE = {"y": halved}
"""
    server.load("prepared", settings, dali_py=PIPELINE + source)
    numbers = [np.array(rows, np.uint8)[:, None] for rows in ([2, 4, 6], [7], [8, 8, 8, 2])]
    first, refused, last = server.together("prepared", [{"x": number, "y": number} for number in numbers])
    assert (first["p"].ravel().tolist(), first["q"].ravel().tolist()) == ([2, 4, 6], [1, 2, 3])
    assert last["q"].ravel().tolist() == [4, 4, 4, 1]
    assert refused.status() == "400" and "7 is odd" in refused.message()


def test_no_run_holds_more_than_the_shares_of_its_samples_allow(server):
    """The pipeline numbers the samples of each run from 0."""
    settings = config("dali", "x UINT8 [ -1 ]", "same UINT8 [ -1 ]; number INT32 [ 1 ]")
    source = """    x = fn.external_source(name='x')
    return x, fn.batch_permutation()

SHARE = {"x": lambda sample: sample[0] / 10}
"""
    server.load("shares", settings, dali_py=PIPELINE + source)
    shares = [np.array(rows, np.uint8)[:, None] for rows in ([4, 6], [1, 200, 3], [3, 3, 3])]
    answers = server.together("shares", [{"x": share} for share in shares])
    for share, answer in zip(shares, answers, strict=True):
        np.testing.assert_array_equal(answer["same"], share)
    numbers = sorted(number for answer in answers for number in answer["number"].ravel().tolist())
    assert numbers.count(0) >= 3 and max(numbers) < 4  # of one run they would be 0 to 7
    assert server.batches("shares", samples=8) == [8]


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


def test_a_wrong_number_of_threads_is_refused_at_load(server):
    more = 'max_batch_size: 1 parameters { key: "num_threads" value { string_value: "0" } }'
    with pytest.raises(InferenceServerException) as refused:
        server.load("threads", config("dali", "x FP32 [ -1 ]", "y FP32 [ 1, -1 ]", more), dali_py=TYPED)
    assert "parameter num_threads is '0', expected a whole number of threads from 1" in refused.value.message()


def test_num_threads_is_the_size_of_the_pipelines_pool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "backends" / "dali")
    from dali_graph import num_threads

    assert num_threads({"num_threads": {"string_value": "3"}}) == {"num_threads": 3}
    assert num_threads({}) == {}
