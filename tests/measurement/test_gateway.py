"""A gateway between clients and server: it answers as the server does, is counted, and leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from arrivals import parse
from crossover.measurement.gateways import Gateways
from loadgen.arm import Arm, Mode
from preprocess.limits import MAX_BYTES
from serving.server import Server, Unavailable
from tests.conftest import ROOT, launch
from transport.message import Request, make_request
from workloads.image import IMAGE, photographs
from workloads.tensors import Input, encode

PHOTOGRAPH = photographs((320,))[0]
OPTIONS = Namespace(library="pillow", gateway_cores="")


def connect(workload, timeout=30.0):
    return Arm(workload, "gateway", Mode("sequential")).connect("http://127.0.0.1:9", timeout)


def post(connection, payload, model="image", name="encoded"):
    array = np.frombuffer(payload, np.uint8)
    return connection.post(Request(model, (encode(Input(name, "UINT8", (-1,)), array, batched=True),), ("logits",)))


@pytest.fixture(scope="module")
def started(server):
    """(gateways, the workload with the address of the one that was started, what was said of it)."""
    said = []
    gateways = Gateways(Server.at(server.url, server.state), OPTIONS, said.append)
    try:
        yield gateways, gateways.start(IMAGE.with_arms(["gateway"]), ["gateway"]), said
    finally:
        gateways.stop()


def test_a_gateway_answers_as_the_server_does_and_refuses_in_words(server, started):
    _, workload, said = started
    assert said == [f"image: a gateway until the end of this run, on cores {', '.join(map(str, server.cores))}"]
    connection = connect(workload)
    assert post(connection, PHOTOGRAPH.encoded).status == "completed"
    logits = connection.read_outputs()["logits"]
    direct = Arm(IMAGE, "client", Mode("sequential"), "pillow")
    asked = direct.connect(server.url, 30)
    assert asked.post(make_request(direct.target, direct.preprocessor()(PHOTOGRAPH.encoded))).status == "completed"
    assert np.array_equal(logits, asked.read_outputs()["logits"])
    assert post(connection, b"no photograph").reason.startswith("HTTP 400: gateway: ")
    other = post(connection, PHOTOGRAPH.encoded, "resnet50").reason
    assert other.startswith("HTTP 404: gateway: it has the model image")
    wrong = encode(Input("encoded", "FP32", (3,)), np.zeros(3, np.float32), batched=True)
    assert "not 12 bytes of FP32" in connection.post(Request("image", (wrong,), ("logits",))).reason
    assert post(connection, PHOTOGRAPH.encoded).status == "completed"


def exchange(workload, *requests: bytes) -> list[tuple[int, bytes]]:
    """(status, body) of each answer on one connection, until the gateway closes it or has answered all."""
    address = urlsplit(connect(workload)._server.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(b"".join(requests))
        connection.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    answers = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1])
        answers.append((int(head.split()[1]), rest[:length]))
        data = rest[length:]
    return answers


ASKS = b"POST /v2/models/image/infer HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        (b"Transfer-Encoding: chunked\r\n", 501, "reads no Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 501, "reads no Transfer-Encoding"),
        (b"Transfer-Encoding: gzip, chunked\r\n", 501, "reads no Transfer-Encoding"),
        (b"Content-Length: abc\r\n", 400, "no number: abc"),
        (b"Content-Length: -1\r\n", 400, "no number: -1"),
        (b"Content-Length: +5\r\n", 400, "no number: +5"),
        (b"Content-Length: 0\r\nContent-Length: 45\r\n", 400, "no number"),
        (b"", 411, "needs a Content-Length"),
        (b"Content-Length: 33619969\r\n", 413, "a body of 33619969 bytes: 33619968 are the most"),
        (b"Content-Length: %s\r\n" % (b"9" * 5000), 413, "a body of 99999999999999999999 bytes"),
        (b"Transfer-Encoding : chunked\r\nContent-Length: 0\r\n", 400, "no headers of HTTP"),
    ],
)
@pytest.mark.parametrize("begin", [ASKS, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n"], ids=["POST", "GET"])
def test_what_follows_a_body_of_unknown_length_is_never_taken_for_a_request(started, begin, headers, status, says):
    if begin is not ASKS and not headers:
        return  # a GET needs no body
    [(answered, body)] = exchange(started[1], begin + headers + b"\r\n" + SMUGGLED)
    assert answered == status and json.loads(body)["error"].startswith("gateway: ") and says in body.decode()


def test_the_body_of_a_get_is_no_request(started):
    asks = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
    assert [status for status, _ in exchange(started[1], asks + SMUGGLED)] == [200]


def test_a_client_that_sends_too_much_gets_the_reason_and_not_a_reset(started):
    connection = connect(started[1])
    outcome = post(connection, bytes(2 * MAX_BYTES))
    assert outcome.status == "failed" and outcome.reason.startswith("HTTP 413: gateway: a body of 6710"), outcome
    assert post(connection, PHOTOGRAPH.encoded).status == "completed"
    assert post(connection, bytes(MAX_BYTES)).reason.startswith("HTTP 400: gateway: cannot decode")


def test_a_body_that_breaks_off_is_not_answered(started):
    assert exchange(started[1], ASKS + b"Content-Length: 99\r\n\r\nabc") == []


def test_tritons_raw_form_is_taken_and_a_wrong_length_of_the_json_is_named(started):
    def ask(size: bytes, body: bytes) -> bytes:
        lengths = b"Inference-Header-Content-Length: %s\r\nContent-Length: %d\r\n\r\n" % (size, len(body))
        return ASKS + lengths + body

    wrong = [ask(size, PHOTOGRAPH.encoded) for size in (b"-5", b"abc", b"999999999")]
    raw, *refused = exchange(started[1], ask(b"0", PHOTOGRAPH.encoded), *wrong)
    assert raw[0] == 200 and b"logits" in raw[1]
    assert [status for status, _ in refused] == [400] * 3
    assert all(b"its Inference-Header-Content-Length is '" in body for _, body in refused)


def tensors(count: int, datatype: str, **changes) -> bytes:
    """A request of so many photographs in one tensor."""
    file = PHOTOGRAPH.encoded
    row = file if datatype == "UINT8" else len(file).to_bytes(4, "little") + file
    shape = [count, len(file) if datatype == "UINT8" else 1]
    said = {"name": "encoded", "datatype": datatype, "shape": shape, **changes}
    asks = json.dumps({"inputs": [{**said, "parameters": {"binary_data_size": count * len(row)}}]}).encode()
    lengths = b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
    return ASKS + lengths % (len(asks), len(asks) + count * len(row)) + asks + count * row


def test_a_request_of_several_files_is_refused_and_not_answered_by_the_first_of_them(started):
    size = len(PHOTOGRAPH.encoded)
    right = [
        tensors(1, "UINT8"),
        tensors(1, "UINT8", shape=[size]),
        tensors(1, "BYTES"),
        tensors(1, "BYTES", shape=[1]),
    ]
    assert [status for status, _ in exchange(started[1], *right)] == [200] * 4
    wrong = [
        tensors(2, "UINT8"),
        tensors(2, "BYTES"),
        tensors(1, "UINT8", shape=[size, 1]),
        tensors(1, "UINT8", shape=[7, 3]),
        tensors(1, "UINT8", shape=[]),
        tensors(1, "UINT8", shape={}),
        tensors(1, "BYTES", shape=[0, 1]),
        tensors(1, "BYTES", shape=[1, 3]),
        tensors(1, "BYTES").replace(size.to_bytes(4, "little"), (5).to_bytes(4, "little")),
    ]
    answers = exchange(started[1], *wrong)
    assert [status for status, _ in answers] == [400] * len(wrong)
    assert all(b"gateway: it takes one" in body for _, body in answers), answers
    deep = ASKS + b"Content-Length: 99999\r\n\r\n" + b"[" * 99_999
    assert b"it takes one input" in exchange(started[1], deep)[0][1]


def test_a_client_that_waits_to_be_told_to_send_its_body_is_told(started):
    address = urlsplit(connect(started[1])._server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        size = len(PHOTOGRAPH.encoded)
        lengths = b"Inference-Header-Content-Length: 0\r\nContent-Length: %d\r\n" % size
        connection.sendall(ASKS + lengths + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(99) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PHOTOGRAPH.encoded)
        assert connection.recv(99).startswith(b"HTTP/1.1 200 OK")


def test_a_gateway_that_dies_is_named_in_the_reason_and_another_one_takes_its_port(server, started):
    gateways, workload, said = started
    connection, [pid], child = connect(workload), gateways.pids, gateways.running["image"].child
    assert post(connection, PHOTOGRAPH.encoded).status == "completed"
    os.kill(pid, signal.SIGKILL)
    child.wait()
    lost = [post(connection, PHOTOGRAPH.encoded) for _ in range(2)]
    assert {each.status for each in lost} == {"failed"}
    assert all(each.reason.startswith("the gateway at 127.0.0.1:") for each in lost), lost
    known = gateways.restore(Server.at(server.url, server.state))
    assert said[-1] == "image: the gateway has died (SIGKILL); another one takes its port"
    assert known.gateways == gateways.pids != (pid,) and known.gateway_seconds() > 0
    assert post(connection, PHOTOGRAPH.encoded).status == "completed"


def test_its_cpu_is_counted_with_the_servers_and_told_apart(server, started, tmp_path):
    from crossover.measurement.measure import measure

    gateways, workload, _ = started
    at, schedule = gateways.restore(Server.at(server.url, server.state)), parse("constant:rate=40").schedule(0.5, 1)
    arm = Arm(workload, "gateway", Mode("async"))
    trial = measure(at, arm, schedule, [PHOTOGRAPH], tmp_path / "round-01", 1)
    assert trial.completed == 20 and 0 < trial.gateway_cpu < trial.server_cpu
    assert trial.steps["resnet50"]["requests"] == 20
    other = replace(arm, placement="server")
    assert measure(at, other, schedule, [PHOTOGRAPH], tmp_path / "round-02", 1).gateway_cpu is None


def test_a_gateway_without_a_server_behind_it_says_so(server):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nobody = Server(f"http://127.0.0.1:{port}", {"cores": server.cores})
    gateways = Gateways(nobody, OPTIONS, lambda line: None)
    try:
        reason = post(connect(gateways.start(IMAGE.with_arms(["gateway"]), ["gateway"])), PHOTOGRAPH.encoded).reason
        assert reason.startswith("HTTP 502: gateway: the server: ConnectionRefusedError")
    finally:
        gateways.stop()


def test_what_cannot_start_is_one_line(server):
    workload = IMAGE.with_arms(["gateway"])
    with pytest.raises(ValueError, match=r"placement 'gateway' of image runs on .*; name some by --gateway-cores"):
        Gateways(Server("http://127.0.0.1:9", {}), OPTIONS).start(workload, ["gateway"])
    with pytest.raises(ValueError, match="--gateway-cores '99': expected 'all' or a list of cores"):
        Gateways(Server(server.url, {}), Namespace(library="", gateway_cores="99"))
    gateways = Gateways(Server(server.url, {"cores": [4095]}), OPTIONS)
    with pytest.raises(Unavailable, match=r"the gateway of image does not start: .*Invalid argument") as refused:
        gateways.start(workload, ["gateway"])
    assert "\n" not in str(refused.value) and not gateways.pids
    with pytest.raises(ValueError, match=r"gateway is asked over HTTP only; leave out \+grpc"):
        IMAGE.with_arms(["gateway+grpc"])
    with pytest.raises(ValueError, match="nobody has started a gateway"):
        connect(workload)


OWNER = """
import sys, time
from argparse import Namespace
from crossover.measurement.gateways import Gateways
from serving.server import Server
from workloads.image import IMAGE
gateways = Gateways(Server(sys.argv[1], {"cores": [int(sys.argv[2])]}), Namespace(library="pillow"), lambda line: None)
gateways.start(IMAGE.with_arms(["gateway"]), ["gateway"])
print(*gateways.pids, flush=True)
time.sleep(60)
"""


def test_a_gateway_ends_with_a_command_that_is_killed(server):
    command = [sys.executable, "-c", OWNER, server.url, str(server.cores[0])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        gateway = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    end = time.monotonic() + 30
    while gateway.is_running() and gateway.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.05)
    assert not gateway.is_running() or gateway.status() == psutil.STATUS_ZOMBIE


def test_check_starts_and_ends_a_gateway(server):
    done = launch("check", "image", "--arms", "client,gateway", "--state", server.state)
    assert done.returncode == 0, done.stderr
    assert "image client and gateway: the same computation" in done.stdout
    named = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    left = [json.loads(each[-1]) for each in named if "crossover.measurement.gateway_process" in each]
    assert not [each for each in left if each["url"] == server.url and each["parent"] != os.getpid()]
