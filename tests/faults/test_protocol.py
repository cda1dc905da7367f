"""Requests that are no inference requests: each is refused in one line, and the server goes on.

With a 4xx, but where Triton's own reader of JSON stumbles: that says 500 of what it cannot parse, before any model.
"""

import contextlib
import http.client
import json
import socket

import pytest

from serving import smoke_test
from serving.triton_api import TritonAPI

ENCODED = {"name": "encoded", "datatype": "UINT8", "shape": [1, 3], "data": [1, 2, 3]}


def asking(**changes) -> bytes:
    return json.dumps({"inputs": [{**ENCODED, **changes}]}).encode()


REQUESTS = {
    "no JSON": (b"photograph", {}),
    "half a JSON": (asking()[:-9], {}),
    "JSON that is a list": (b"[]", {}),
    "no inputs": (b"{}", {}),
    "inputs that are a number": (b'{"inputs": 7}', {}),
    "an input without a name": (b'{"inputs": [{"shape": [1, 3]}]}', {}),
    "a shape below zero": (asking(shape=[1, -3]), {}),
    "a shape of text": (asking(shape="large"), {}),
    "a shape that overflows": (asking(shape=[2**40, 2**40]), {}),
    "fewer data than the shape says": (asking(shape=[1, 300]), {}),
    "more data than the shape says": (asking(shape=[1, 1]), {}),
    "data that do not fit the type": (asking(data=[1, 2, 300]), {}),
    "data of text": (asking(data=["a", "b", "c"]), {}),
    "a type that does not exist": (asking(datatype="UINT9"), {}),
    "the same input twice": (json.dumps({"inputs": [ENCODED, ENCODED]}).encode(), {}),
    "an output that does not exist": (json.dumps({"inputs": [ENCODED], "outputs": [{"name": "x"}]}).encode(), {}),
    "a header longer than the body": (asking(), {"Inference-Header-Content-Length": "99999"}),
    "a header shorter than nothing": (asking(), {"Inference-Header-Content-Length": "-1"}),
    "a header length that is no number": (asking(), {"Inference-Header-Content-Length": "many"}),
    "a binary size that is not there": (
        asking(data=[], parameters={"binary_data_size": 2**40}),
        {"Inference-Header-Content-Length": str(len(asking(data=[], parameters={"binary_data_size": 2**40})))},
    ),
    "a compression that is none": (asking(), {"Content-Encoding": "gzip"}),
    "no bytes at all": (b"", {"Inference-Header-Content-Length": "0"}),
}


@pytest.fixture(scope="module", autouse=True)
def unharmed(server):
    yield
    smoke_test.run(TritonAPI(server.address))


@pytest.mark.parametrize("model", ["image", "audio", "image_preprocess", "audio_preprocess"])
@pytest.mark.parametrize("kind", REQUESTS)
def test_what_is_no_request_is_refused(server, kind, model):
    body, headers = REQUESTS[kind]
    connection = http.client.HTTPConnection(server.address, timeout=60)
    connection.request("POST", f"/v2/models/{model}/infer", body, headers)
    answer = connection.getresponse()
    told = answer.read().decode()
    reason = json.loads(told)["error"]
    assert 400 <= answer.status < 500 or (answer.status == 500 and "parse" in reason), (answer.status, told)
    assert "\n" not in reason.strip()


def test_a_body_in_a_million_pieces_is_refused(server):
    """Triton puts an entry on its stack for each piece: with a thread's usual 8 MiB this ended the server."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        head = ["POST /v2/models/image/infer HTTP/1.1", f"Host: {host}", "Inference-Header-Content-Length: 0"]
        connection.sendall("\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode())
        for _ in range(100):
            connection.sendall(b"1\r\nx\r\n" * 10_000)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(99).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/image/infer"),
        ("POST", "/v2/models/nobody/infer"),
        ("POST", "/v2/models/image/versions/9/infer"),
        ("POST", "/v2/models/../../etc/passwd"),
        ("DELETE", "/v2/models/image"),
    ],
)
def test_what_is_not_there_is_refused(server, method, path):
    connection = http.client.HTTPConnection(server.address, timeout=60)
    connection.request(method, path, asking())
    assert 400 <= connection.getresponse().status < 500


def test_a_path_of_8000_characters_is_refused_or_hung_up_on_and_the_next_request_is_answered(server):
    """Tritonserver 2.51 hangs up on 16,000 always, on 8,000 once in many runs of these tests, for no known reason."""
    connection = http.client.HTTPConnection(server.address, timeout=60)
    with contextlib.suppress(http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
        connection.request("POST", "/" + "v" * 8000, asking())
        assert 400 <= connection.getresponse().status < 500
    following = http.client.HTTPConnection(server.address, timeout=60)
    following.request("GET", "/v2/health/ready")
    assert following.getresponse().status == 200
