"""A request is completed only if every output that it asked for can be read, by whatever transport it comes."""

import json
import struct
from contextlib import contextmanager

import numpy as np
import pytest

from tests.transport.test_grpc import service
from tests.transport.test_wire import REQUEST, SIZED, read, server
from transport import grpc, http, json_text, shared_memory
from transport.answer_check import read_head
from transport.http_answer import judge_answer
from transport.message import COMPLETED, FAILED, Outcome, Request, make_request
from transport.outputs import read_body
from workloads.tensors import Input
from workloads.transport_choice import Transport
from workloads.workload import Target

LOGITS = {"name": "logits", "datatype": "FP32", "shape": [1, 4]}
NEEDS = "where FP32 of shape [1, 4] needs 16"


def sized(size: object, **changed) -> dict:
    return {**LOGITS, "parameters": {"binary_data_size": size}, **changed}


def judge(*outputs: dict, tensors: bytes | None = b"", wanted=("logits",), **more) -> Outcome:
    """What an answer is worth whose JSON is followed by these bytes; None: the body is JSON altogether."""
    text = json.dumps({"outputs": outputs, **more}).encode()
    return judge_answer(200, {} if tensors is None else {SIZED: b"%d" % len(text)}, text + (tensors or b""), wanted)


BEHIND = [
    ((sized(0),), b"", f"logits has 0 bytes {NEEDS}"),
    ((sized(12),), bytes(12), f"logits has 12 bytes {NEEDS}"),
    ((sized(16, shape=[1, 3]),), bytes(16), "logits has 16 bytes where FP32 of shape [1, 3] needs 12"),
    ((sized(16, shape=[]),), bytes(16), "logits has 16 bytes where FP32 of shape [] needs 4"),
    ((sized(16, shape=[-1, 4]),), bytes(16), "logits has the shape [-1, 4]"),
    ((sized(16, shape=[-2, -2]),), bytes(16), "logits has the shape [-2, -2]"),
    ((sized(16, shape=["4"]),), bytes(16), "logits has the shape ['4']"),
    ((sized(16, shape=[[4]]),), bytes(16), "logits has the shape [[4]]"),
    ((sized(16, shape=None),), bytes(16), "logits has the shape None"),
    ((sized(16, datatype="INT8"),), bytes(16), "logits has 16 bytes where INT8 of shape [1, 4] needs 4"),
    ((sized(16, datatype="FP31"),), bytes(16), "logits has an unknown data type 'FP31'"),
    ((sized(16, datatype=[1]),), bytes(16), "logits has the type [1]"),
    ((sized(16), {**sized(-16), "name": "z"}), b"", "the answer says that z has -16 bytes"),
    ((sized(32), {**sized(-16), "name": "z"}), bytes(16), f"logits has 32 bytes {NEEDS}"),
    ((sized(16.0),), bytes(16), "the answer says that logits has 16.0 bytes"),
    ((sized("16"),), bytes(16), "the answer says that logits has '16' bytes"),
    ((sized(16), sized(16)), bytes(32), "the answer has logits twice"),
    ((LOGITS,), b"", "logits has no data"),
]
IN_JSON = [
    ((LOGITS,), "logits has no data"),
    (({**LOGITS, "data": []},), "logits has 0 elements where shape [1, 4] needs 4"),
    (({**LOGITS, "data": [1, 2, 3]},), "logits has 3 elements where shape [1, 4] needs 4"),
    (({**LOGITS, "data": [[1, 2], [3]]},), "logits has 3 elements where shape [1, 4] needs 4"),
    (({**LOGITS, "data": [[1, 2, 3], 4]},), "logits has numbers beside lists of numbers"),
    (({**LOGITS, "data": [1, 2, 3, "4"]},), "logits has elements that are no FP32: str"),
    (({**LOGITS, "data": [1, 2, 3, {}]},), "logits has elements that are no FP32: dict"),
    (({**LOGITS, "datatype": "INT32", "data": [1, 2, 3, None]},), "logits has elements that are no INT32: NoneType"),
    (({**LOGITS, "datatype": "BYTES", "data": [1, 2, 3, 4]},), "logits has elements that are no BYTES: int"),
    (({**LOGITS, "data": [0.5, 2, 3, 10**400]},), "logits has elements that are no FP32: too large"),
    (({**LOGITS, "data": "1234"},), "logits has str as data where shape [1, 4] needs 4"),
    (({**LOGITS, "data": None},), "logits has NoneType as data where shape [1, 4] needs 4"),
]


@pytest.mark.parametrize(("outputs", "tensors", "reason"), BEHIND)
def test_bytes_that_do_not_fit_what_the_answer_says_of_them_have_failed(outputs, tensors, reason):
    for _ in range(2):  # an answer's JSON is read once
        outcome = judge(*outputs, tensors=tensors)
        assert (outcome.status, outcome.reason) == (FAILED, reason)


@pytest.mark.parametrize(("outputs", "reason"), IN_JSON)
def test_numbers_that_do_not_fit_what_the_answer_says_of_them_have_failed(outputs, reason):
    outcome = judge(*outputs, tensors=None)
    assert (outcome.status, outcome.reason) == (FAILED, reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"error": "boom"}, "HTTP 200 with an error: boom"),
        ({"error": "boom", "outputs": [{**LOGITS, "data": [1, 2, 3, 4]}]}, "HTTP 200 with an error: boom"),
        ({"error": {"code": 5}}, "HTTP 200 with an error: {'code': 5}"),
        ({}, "the answer has no outputs"),
        ([], "the answer has no outputs"),
        (5, "the answer has no outputs"),
        ({"outputs": None}, "the answer has no outputs"),
        ({"outputs": {"name": "logits"}}, "the answer has no outputs"),
        ({"outputs": []}, "the answer lacks logits"),
    ],
)
def test_an_error_in_an_answer_of_status_200_is_the_reason_and_so_is_what_the_answer_lacks(content, reason):
    text = json.dumps(content).encode()
    for headers in ({}, {SIZED: b"%d" % len(text)}):
        outcome = judge_answer(200, headers, text, ("logits",))
        assert (outcome.status, outcome.reason) == (FAILED, reason)


@pytest.mark.parametrize("size", [b"-4", b"x", b"1e3", b" "])
def test_a_length_of_the_json_that_is_no_number_is_named(size):
    assert judge_answer(200, {SIZED: size}, b"{}", ()).reason.startswith("unreadable answer: its Inference-Header")


ELEMENTS = b"".join(struct.pack("<I", len(each)) + each for each in (b"a", b"", b"cde", b"f"))


@pytest.mark.parametrize("raw", [ELEMENTS[:-1], ELEMENTS + b"x", b"\xff" * 16, bytes(20), bytes(12)])
def test_elements_of_bytes_that_are_cut_or_too_few_have_failed(raw):
    outcome = judge(sized(len(raw), datatype="BYTES"), tensors=raw)
    assert outcome.status == FAILED and outcome.reason.startswith(
        f"logits has {'not 4' if len(raw) > 12 else '12 byte'}"
    )


GOOD = [
    ((sized(16),), bytes(16)),
    ((sized(8, datatype="BF16"),), bytes(8)),
    ((sized(4, datatype="BOOL"),), bytes(4)),
    ((sized(len(ELEMENTS), datatype="BYTES"),), ELEMENTS),
    ((sized(0, shape=[0, 4]),), b""),
    ((sized(0, shape=[0], datatype="BYTES"),), b""),
    ((sized(4, shape=[]),), bytes(4)),
    (({**sized(3, datatype="INT8", shape=[3]), "name": "more"}, sized(16)), bytes(19)),
    (({**LOGITS, "data": [1, 2.5, 3, 4]},), None),
    (({**LOGITS, "data": [[1, 2], [3, 4]]},), None),
    (({**LOGITS, "data": [1, float("nan"), float("inf"), None]},), None),
    (({**LOGITS, "datatype": "BOOL", "data": [True, False, True, True]},), None),
    (({**LOGITS, "datatype": "BYTES", "data": ["a", "b", "", "d"]},), None),
    (({**LOGITS, "shape": [0], "data": []},), None),
]


@pytest.mark.parametrize(("outputs", "tensors"), GOOD)
def test_what_is_completed_can_be_read(outputs, tensors):
    assert judge(*outputs, tensors=tensors).reason == ""
    text = json.dumps({"outputs": outputs}).encode()
    arrays = read_body(text + (tensors or b""), len(text))
    assert list(arrays["logits"].shape) == outputs[-1]["shape"]


def test_an_output_that_nobody_asked_for_may_be_of_any_form():
    assert judge(sized(16), {"name": "other"}, tensors=bytes(16)).status == COMPLETED


def test_the_json_of_answers_of_one_kind_is_read_once():
    read_head.cache_clear()
    for _ in range(5):
        assert judge(sized(16), tensors=bytes(16)).status == COMPLETED
    assert read_head.cache_info()[:2] == (4, 1)


@contextmanager
def triton_that_answers(text: bytes, tensors: bytes | None):
    """Its address; every inference is answered with this, and what is asked of shared memory with an empty 200."""

    def behave(connection):
        while request := read(connection):
            infers = b"/infer" in request.partition(b"\r\n")[0]
            body = text + (tensors or b"") if infers else b"[]"
            length = b"Inference-Header-Content-Length: %d\r\n" % len(text) if infers and tensors is not None else b""
            connection.sendall(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (length, len(body), body))

    with server(behave) as url:
        yield url


def connect(name: str, url: str) -> http.Connection:
    if name == "shm":
        return shared_memory.Connection(url, 30, Transport("shm", outputs={"logits": 16}))
    return http.Connection(url, 30) if name == "http" else json_text.Connection(url, 30, name == "base64")


WORDS = make_request(Target("m", (Input("x", "BYTES", (1,)),)), np.array([b"a"], object))
TOO_FEW = f"logits has 12 bytes {NEEDS}"
HALF_THERE = "logits has 16 bytes where FP32 of shape [1, 2] needs 8"


@pytest.mark.parametrize(
    ("name", "output", "tensors", "reason"),
    [
        ("http", sized(12), bytes(12), TOO_FEW),
        ("http", sized(16), bytes(16), ""),
        ("json", {**LOGITS, "data": []}, None, "logits has 0 elements where shape [1, 4] needs 4"),
        ("json", {**LOGITS, "data": [1, 2, 3, 4]}, None, ""),
        ("json", sized(12), bytes(12), TOO_FEW),
        ("base64", {**LOGITS, "data": []}, None, "logits has 0 elements where shape [1, 4] needs 4"),
        ("base64", {**LOGITS, "data": [1, 2, 3, 4]}, None, ""),
        ("shm", {**LOGITS, "shape": [1, 2]}, b"", HALF_THERE),
        ("shm", sized(16), bytes(16), "logits is not in shared memory, where it was asked for"),
        ("shm", LOGITS, b"", ""),
        ("http", LOGITS, b"", "logits has no data"),
    ],
)
def test_every_transport_over_http_refuses_what_cannot_be_read(name, output, tensors, reason):
    text = json.dumps({"outputs": [output]}).encode()
    with triton_that_answers(text, tensors) as url:
        connection = connect(name, url)
        outcome = connection.post(WORDS if name == "base64" else REQUEST)
        connection.close()
    assert (outcome.status, outcome.reason) == (FAILED if reason else COMPLETED, reason)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "reason"),
    [
        ("FP32", [1, 4], bytes(16), ""),
        ("BYTES", [4], ELEMENTS, ""),
        ("FP32", [1, 4], b"", f"logits has 0 bytes {NEEDS}"),
        ("FP32", [1, 4], bytes(12), TOO_FEW),
        ("INT8", [1, 4], bytes(16), "logits has 16 bytes where INT8 of shape [1, 4] needs 4"),
        ("FP32", [-1, 4], bytes(16), "logits has the shape [-1, 4]"),
        ("", [1, 4], bytes(16), "logits has an unknown data type ''"),
        ("BYTES", [4], ELEMENTS[:-1], "logits has not 4 elements of BYTES in its 20 bytes"),
    ],
)
def test_grpc_refuses_what_cannot_be_read(datatype, shape, raw, reason):
    output = grpc.ModelInferResponse.InferOutputTensor(name="logits", datatype=datatype, shape=shape)
    answer = grpc.ModelInferResponse(outputs=[output], raw_output_contents=[raw]).SerializeToString()
    with service(lambda *_: answer) as port:
        connection = grpc.Connection("http://127.0.0.1", 30, port)
        outcome = connection.post(Request("m", REQUEST.tensors, ("logits",)))
        connection.close()
    assert (outcome.status, outcome.reason) == (FAILED if reason else COMPLETED, reason)
