"""Requests for no rows on the real server: 400 with one line, and those they come together with are answered.

Triton drops the first axis of such a tensor (backends/rows.py says what follows). Clients' libraries refuse to make
one, so these are written by hand. A batch of 2**32 is one of none, as Triton counts in 32 bits.
"""

import http.client
import json
import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tritonclient.grpc.service_pb2 import ModelInferRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from serving import smoke_test
from serving.triton_api import reason

HANG = 60  # seconds without an answer that count as none
BYTES = {"UINT8": 1, "FP32": 4}
INPUTS = {
    "image_preprocess": ("encoded", "UINT8", [(0,), (5,), (33,)]),
    "audio_preprocess": ("encoded", "UINT8", [(0,), (5,), (9,)]),
    "resnet50": ("pixels", "FP32", [(3, 224, 224)]),
    "wav2vec2": ("waveform", "FP32", [(0,), (5,), (400,)]),
    "ctc_decode": ("logits", "FP32", [(0, 32), (1, 32), (9, 32)]),
}
CASES = [
    (model, [rows, *sample])
    for model, (_, _, samples) in INPUTS.items()
    for sample in samples
    for rows in (0, 2**32)
    if 0 not in sample or not rows
]
FILES = {"image": smoke_test.JPEG.read_bytes, "audio": smoke_test.chirp}


def ask(server, model: str, shape: list[int], data: bytes) -> tuple[int, str]:
    """Send a tensor of this shape as HTTP has it; return the status, and the reason if it is refused."""
    name, datatype = INPUTS[model][:2] if model in INPUTS else ("encoded", "UINT8")
    tensor = {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    connection = http.client.HTTPConnection(*server.address.split(":"), timeout=HANG)
    try:
        length = {"Inference-Header-Content-Length": str(len(head))}
        connection.request("POST", f"/v2/models/{model}/infer", head + data, length)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, "" if answer.status == 200 else reason(content)
    finally:
        connection.close()


def sample_bytes(model: str, shape: list[int]) -> bytes:
    return bytes(math.prod(shape[1:]) * BYTES[INPUTS[model][1]])


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_a_request_without_rows_is_refused_by_http(server, model, shape):
    status, why = ask(server, model, shape, sample_bytes(model, shape))
    assert status == 400 and "the request has no rows" in why, why


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_a_request_without_rows_is_refused_by_grpc(server, model, shape):
    name, datatype, _ = INPUTS[model]
    tensor = ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    request = ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[sample_bytes(model, shape)])
    channel = grpc.insecure_channel(f"{server.host}:{server.grpc_port}")
    with channel, pytest.raises(grpc.RpcError) as refused:
        GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=HANG)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "the request has no rows" in refused.value.details()


@pytest.mark.parametrize("workload", FILES)
def test_requests_without_rows_do_their_neighbours_no_harm(server, workload):
    """Forty at a time: Triton merges them with each other, and with the good ones."""
    model, file = f"{workload}_preprocess", FILES[workload]()
    done, refused = threading.Event(), []

    def send_empty(_):
        while not done.is_set():
            refused.append(ask(server, model, [0, 5], b"12345"))

    with ThreadPoolExecutor(40) as pool:
        senders = pool.map(send_empty, range(40))
        try:
            good = [ask(server, model, [1, len(file)], file) for _ in range(20)]
        finally:
            done.set()
        list(senders)
    assert Counter(status for status, _ in good) == {200: 20}, good
    assert Counter(status for status, _ in refused) == {400: len(refused)}, Counter(refused)


@pytest.mark.parametrize("workload", FILES)
def test_an_ensemble_takes_a_file_of_no_rows_for_one_row_or_refuses_it(server, workload):
    file = FILES[workload]()
    assert ask(server, workload, [0, len(file)], file) == (200, "")
    status, why = ask(server, workload, [0, 0], b"")
    assert status == 400 and "0 bytes" in why


@pytest.mark.parametrize("workload", FILES)
def test_a_body_that_is_said_to_have_no_json_is_taken_for_a_file(server, workload):
    """With this header, which SECURITY.md lets the proxy set, nobody can send a shape, even one that ends the stub."""
    tensor = {"name": "encoded", "datatype": "UINT8", "shape": [32, 2**59], "parameters": {"binary_data_size": 0}}
    bodies = FILES[workload](), json.dumps({"inputs": [tensor]}).encode()
    connection = http.client.HTTPConnection(*server.address.split(":"), timeout=HANG)
    statuses = []
    for body in bodies:
        connection.request("POST", f"/v2/models/{workload}/infer", body, {"Inference-Header-Content-Length": "0"})
        answer = connection.getresponse()
        statuses.append((answer.status, b"cannot decode" in answer.read()))
    assert statuses == [(200, False), (400, True)]
