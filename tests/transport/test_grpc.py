"""Laws of one request over gRPC: whatever a server does becomes the same kind of outcome as over HTTP."""

import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import grpc
import numpy as np
import pytest
from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

from loadgen.arm import Arm, Mode
from transport import grpc as transport
from transport.message import COMPLETED, FAILED, REJECTED, TIMED_OUT, make_request
from transport.reach import reach
from workloads.image import IMAGE
from workloads.tensors import Input
from workloads.workload import Placement, Target, Workload

TARGET = Target("m", (Input("x"),))
REQUEST = make_request(TARGET, np.arange(4, dtype=np.float32))
ANSWER = ModelInferResponse(
    outputs=[ModelInferResponse.InferOutputTensor(name="logits", datatype="FP32", shape=[1, 2])],
    raw_output_contents=[np.array([1, 2], np.float32).tobytes()],
).SerializeToString()
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # the frame with which an HTTP/2 server begins


@contextmanager
def service(behave):
    """A gRPC server whose every method is `behave(message, context)`, bytes to bytes."""
    handler = grpc.unary_unary_rpc_method_handler(behave)
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((type("All", (grpc.GenericRpcHandler,), {"service": lambda *_: handler})(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0)


@contextmanager
def raw(behave):
    """A server whose every connection is handed to `behave`, and closed after it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    behave(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def post(port, timeout=20.0, request=REQUEST):
    connection = transport.Connection("http://127.0.0.1", timeout, port)
    try:
        return connection.post(request)
    finally:
        connection.close()


def test_a_good_answer_is_completed_and_both_messages_are_counted():
    seen = []
    with service(lambda message, _: seen.append(message) or ANSWER) as port:
        outcome = post(port)
    assert (outcome.status, outcome.reason) == (COMPLETED, "")
    assert (outcome.bytes_up, outcome.bytes_down) == (len(seen[0]) + 5, len(ANSWER) + 5)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 602_112])
def test_the_message_is_protobufs_own_whatever_its_size(size):
    request = make_request(TARGET, np.arange(size, dtype=np.uint8))
    read = ModelInferRequest.FromString(transport.write_message(request))
    assert (read.model_name, [each.name for each in read.outputs]) == ("m", ["logits"])
    assert [(each.name, each.datatype, list(each.shape)) for each in read.inputs] == [("x", "UINT8", [1, size])]
    assert list(read.raw_input_contents) == [np.arange(size, dtype=np.uint8).tobytes()]


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("UNAVAILABLE", REJECTED, "gRPC UNAVAILABLE: no room"),
        ("RESOURCE_EXHAUSTED", REJECTED, "gRPC RESOURCE_EXHAUSTED: no room"),
        ("INVALID_ARGUMENT", FAILED, "gRPC INVALID_ARGUMENT: no room"),
        ("NOT_FOUND", FAILED, "gRPC NOT_FOUND: no room"),
        ("INTERNAL", FAILED, "gRPC INTERNAL: no room"),
        ("DEADLINE_EXCEEDED", TIMED_OUT, "no answer within 20 s"),
    ],
)
def test_a_status_of_the_server_is_the_outcome_that_http_has_for_it(code, status, reason):
    with service(lambda _, context: context.abort(grpc.StatusCode[code], "no room")) as port:
        outcome = post(port)
    assert (outcome.status, outcome.reason) == (status, reason)
    assert outcome.bytes_up


def reset(connection):
    connection.recv(1 << 16)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def begin_and_hang_up(connection):
    connection.sendall(SETTINGS)
    connection.recv(1 << 16)
    time.sleep(0.2)


@pytest.mark.parametrize(
    "behave",
    [
        reset,
        lambda connection: connection.recv(1 << 16),
        begin_and_hang_up,
        lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda connection: connection.sendall(b"\x00\xff" * 500),
    ],
)
def test_a_connection_that_breaks_has_failed_and_is_not_taken_for_a_full_queue(behave):
    with raw(behave) as port:
        outcome = post(port, timeout=5)
    assert outcome.status == FAILED
    assert outcome.reason.startswith("ConnectionError: ") and "\n" not in outcome.reason


def test_a_refused_connection_has_failed_and_the_next_request_may_succeed():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connection = transport.Connection("http://127.0.0.1", 20, port)
    assert "refused" in connection.post(REQUEST).reason
    server = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(lambda *_: ANSWER)
    server.add_generic_rpc_handlers((type("All", (grpc.GenericRpcHandler,), {"service": lambda *_: handler})(),))
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    server.start()
    assert connection.post(REQUEST).status == COMPLETED
    server.stop(0)
    connection.close()


def test_a_silent_server_times_out_at_the_deadline():
    with raw(lambda connection: time.sleep(3)) as port:
        begun = time.monotonic()
        outcome = post(port, timeout=0.4)
        took = time.monotonic() - begun
    assert (outcome.status, outcome.reason) == (TIMED_OUT, "no answer within 0.4 s")
    assert 0.39 < took < 4


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "the answer lacks logits"),
        (b"\xff\xff", "unreadable answer: DecodeError"),
        (ANSWER[:-10], "the answer has not as many tensors as outputs"),
    ],
)
def test_half_an_answer_has_failed(answer, reason):
    with service(lambda *_: answer) as port:
        outcome = post(port)
    assert outcome.status == FAILED and outcome.reason.startswith(reason)


def test_another_thread_wakes_a_request_by_closing_its_connection():
    arrived = threading.Event()

    def wait(*_):
        arrived.set()
        time.sleep(2)
        return ANSWER

    with service(wait) as port:
        connection = transport.Connection("http://127.0.0.1", 60, port)
        outcomes = []
        thread = threading.Thread(target=lambda: outcomes.append(connection.post(REQUEST)))
        thread.start()
        arrived.wait(30)
        connection.close()
        thread.join(30)
    assert [each.status for each in outcomes] == [FAILED]


def test_every_connection_has_a_channel_of_its_own():
    with service(lambda _, context: context.peer().encode()) as port:
        connections = [transport.Connection("http://127.0.0.1", 20, port) for _ in range(3)]
        peers = {connection._open()(b"") for connection in connections for _ in range(2)}
        for connection in connections:
            connection.close()
    assert len(peers) == 3


def test_a_server_without_grpc_is_refused_in_one_line_before_anything_is_sent():
    workload = Workload(name="toy", placements={"a": Placement("m")}, payloads=list).with_arms(["a+grpc"])
    with raw(lambda connection: connection.recv(1000)) as port, pytest.raises(ValueError) as refusal:
        reach(workload, "http://127.0.0.1:1", ["a+grpc"], {"grpc_port": port})
    assert str(refusal.value).startswith(f"a+grpc: no server answers gRPC at 127.0.0.1:{port} (")
    assert "\n" not in str(refusal.value)


def test_both_placements_answer_the_same_over_grpc_and_http(server):
    arms = ["client", "server", "client+grpc", "server+grpc"]
    workload = reach(IMAGE.with_arms(arms), server.url, arms, vars(server))
    payload, answers = workload.load("")[0], {}
    for name in arms:
        arm = Arm(workload, name, Mode("sequential"))
        connection = arm.connect(server.url, 60)
        outcome = connection.post(make_request(arm.target, arm.preprocessor()(payload.encoded)))
        assert (outcome.status, outcome.reason) == (COMPLETED, "")
        answers[name] = connection.read_outputs()["logits"]
        connection.close()
    for name in ("client", "server"):
        np.testing.assert_array_equal(answers[name], answers[f"{name}+grpc"])
