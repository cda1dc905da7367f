"""Laws of one request: whatever a server does on the wire becomes an outcome with a reason, within the deadline."""

import gzip
import re
import socket
import threading
import time
import zlib
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from transport import http, http_answer
from transport.http_answer import judge_answer
from transport.http_head import write_head
from transport.message import COMPLETED, FAILED, REJECTED, TIMED_OUT, Outcome, make_request
from workloads.tensors import Input
from workloads.workload import Placement, Target

JSON = b'{"model_name":"m","outputs":[{"name":"logits","datatype":"FP32","shape":[1],"data":[1]}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(JSON)
TARGET = Target("m", (Input("x"),))
REQUEST = make_request(TARGET, np.arange(4, dtype=np.float32))
SIZED = b"inference-header-content-length"
SIZE = write_head("m", (REQUEST.tensors[0].spec,), ("logits",))[1]


@contextmanager
def server(*behaviours):
    """Its n-th connection is handed to the n-th behaviour; each sees whole requests through `read`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for behave in behaviours:
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # the client has gone
                behave(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def read(connection) -> bytes:
    """One whole request; nothing if the client has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def saying(*pieces: bytes, pause: float = 0, linger: float = 0):
    def behave(connection):
        while read(connection):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            time.sleep(linger)
            return

    return behave


def post(url, timeout=60.0, request=REQUEST):
    connection = http.Connection(url, timeout)
    try:
        return connection.post(request)
    finally:
        connection.close()


def test_a_good_answer_is_completed_even_in_single_bytes():
    whole = HEAD + JSON
    with server(saying(*(whole[i : i + 1] for i in range(len(whole))))) as url:
        assert post(url) == Outcome(COMPLETED, "", SIZE, len(JSON))


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(JSON), JSON)


@pytest.mark.parametrize("pieces", [(CONTINUE, HEAD + JSON), (CONTINUE + HEAD + JSON,), (CHUNKED,)])
def test_an_interim_answer_is_passed_over_and_chunks_are_put_together(pieces):
    with server(saying(*pieces, pause=0.01)) as url:
        assert post(url) == Outcome(COMPLETED, "", SIZE, len(JSON))


@pytest.mark.parametrize("callback", ["on_message_begin", "on_header", "on_body", "on_message_complete"])
def test_ctrl_c_while_an_answer_is_parsed_is_no_outcome(monkeypatch, callback):
    def interrupted(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(http_answer.Answer, callback, interrupted)
    with server(saying(HEAD + JSON)) as url, pytest.raises(KeyboardInterrupt):
        post(url)


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ((), "closed by the server without an answer"),
        ((HEAD[:20],), "closed by the server in its answer"),
        ((HEAD, JSON[:10]), "closed by the server in its answer"),
        ((HEAD + JSON + HEAD + JSON,), "not an HTTP answer: there is more behind the answer"),
        ((b"\x00\xff" * 500,), "not an HTTP answer"),
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), "not an HTTP answer"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",), "not an HTTP answer"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nInference-Header-Content-Length: x\r\n\r\nabcd",), "unreadable"),
        ((HEAD[:-2] + b"Inference-Header-Content-Length: 9\r\n\r\n", JSON), "unreadable answer"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",), "unreadable answer"),
    ],
)
def test_garbage_and_half_answers_fail_at_once_with_one_line(pieces, reason):
    with server(saying(*pieces)) as url:
        begun = time.monotonic()
        outcome = post(url, timeout=60)
        assert time.monotonic() - begun < 50  # not by the deadline
    assert outcome.status == FAILED
    assert reason in outcome.reason
    assert outcome.reason and "\n" not in outcome.reason


@pytest.mark.parametrize("pieces", [(), (HEAD[:20],), (HEAD, JSON[:10])])
def test_a_server_that_falls_silent_times_out_at_the_deadline(pieces):
    with server(saying(*pieces, linger=60)) as url:
        begun = time.monotonic()
        outcome = post(url, timeout=0.4)
        took = time.monotonic() - begun
    assert (outcome.status, outcome.reason) == (TIMED_OUT, "no answer within 0.4 s")
    assert 0.39 < took < 50


def test_a_server_that_dribbles_does_not_get_more_than_the_deadline():
    with server(saying(HEAD, *([b"x"] * 600), pause=0.1)) as url:
        begun = time.monotonic()
        assert post(url, timeout=0.5).status == TIMED_OUT
        assert time.monotonic() - begun < 50


def test_a_server_that_does_not_read_times_out_the_sender():
    large = make_request(TARGET, np.zeros(40_000_000, np.uint8))
    with server(lambda connection: time.sleep(60)) as url:
        assert post(url, timeout=0.4, request=large).status == TIMED_OUT


def test_a_connection_that_the_server_closed_between_requests_is_made_anew_and_nothing_is_sent_twice():
    seen = []

    def once(connection):
        seen.append(read(connection))
        connection.sendall(HEAD + JSON)

    with server(once, once) as url:
        connection = http.Connection(url, 60)
        for _ in range(2):
            assert connection.post(REQUEST).status == COMPLETED
            time.sleep(0.1)
        connection.close()
    assert len(seen) == 2


def test_one_connection_serves_many_requests():
    def often(connection):
        while read(connection):
            connection.sendall(HEAD + JSON)

    with server(often) as url:
        connection = http.Connection(url, 60)
        assert {connection.post(REQUEST).status for _ in range(20)} == {COMPLETED}
        connection.close()


@pytest.mark.parametrize("tensor", [np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(5, dtype=np.uint8)])
def test_the_bytes_on_the_wire_are_those_that_tritonclient_would_send(tensor):
    seen = []

    def once(connection):
        seen.append(read(connection))
        connection.sendall(HEAD + JSON)

    for view in (tensor, np.asfortranarray(tensor), np.repeat(tensor, 2, axis=0)[::2]):
        with server(once) as url:
            assert post(url, request=make_request(TARGET, view)).status == COMPLETED
    own = InferInput("x", [1, *tensor.shape], {"f": "FP32", "u": "UINT8"}[tensor.dtype.kind])
    own.set_data_from_numpy(tensor[None])
    body, size = InferenceServerClient.generate_request_body([own], outputs=[InferRequestedOutput("logits")])
    for request in seen:
        head, _, sent = request.partition(b"\r\n\r\n")
        assert sent == body
        assert f"Inference-Header-Content-Length: {size}".encode() in head.split(b"\r\n")
        assert head.startswith(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("batched", [True, False])
def test_several_tensors_lie_on_the_wire_as_tritonclient_would_send_them(batched):
    """The file of a BYTES input is one element; texts are one each; extra inputs come last."""
    seen = []

    def once(connection):
        seen.append(read(connection))
        connection.sendall(HEAD + JSON)

    inputs = (Input("file", "BYTES", (1, 1)), Input("words", "BYTES", (-1,)), Input("flags", "BOOL", (-1,)), Input("z"))
    extra = {"z": np.array([0.5], np.float16)}
    placement = Placement("m", None, inputs=inputs, outputs=("logits",), batched=batched, extra=extra)
    given = {"file": b"\xff\0file", "words": np.array(["a", "\u00e4"]), "flags": np.array([True, False, True])[::2]}
    with server(once) as url:
        assert post(url, request=make_request(placement.target, given)).status == COMPLETED
    arrays = [np.array([[given["file"]]], object), given["words"].astype(object), given["flags"], extra["z"]]
    own = []
    for wanted, array, kind in zip(inputs, arrays, ("BYTES", "BYTES", "BOOL", "FP16"), strict=True):
        shaped = array[None] if batched else np.asarray(array)
        own.append(InferInput(wanted.name, shaped.shape, kind).set_data_from_numpy(shaped))
    body, _ = InferenceServerClient.generate_request_body(own, outputs=[InferRequestedOutput("logits")])
    assert seen[0].partition(b"\r\n\r\n")[2] == body


def test_a_large_array_is_sent_without_a_copy():
    array = np.zeros(1000, np.float32)
    [tensor] = make_request(TARGET, array).tensors
    array[0] = 1
    assert tensor.array[0, 0] == 1
    file = bytes(1000)
    [tensor] = make_request(Target("m", (Input("x", "BYTES", (1,)),)), file).tensors
    assert np.shares_memory(*(np.frombuffer(each, np.uint8) for each in (tensor.pieces[1], file)))


def test_closing_from_another_thread_wakes_the_one_that_waits():
    with server(saying(linger=60)) as url:
        connection = http.Connection(url, 60)
        threading.Timer(0.2, connection.close).start()
        begun = time.monotonic()
        assert connection.post(REQUEST).status == FAILED
        assert time.monotonic() - begun < 50


def test_an_answer_shorter_than_its_header_says_is_no_answer():
    header = b'{"outputs":[{"name":"logits","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}'
    n = len(header)
    outcome = judge_answer(200, {SIZED: str(n).encode()}, header + b"1234", ("logits",))
    assert (outcome.status, outcome.reason) == (FAILED, f"the answer has {n + 4} bytes, its header says {n + 8}")
    assert judge_answer(200, {SIZED: str(n).encode()}, header + b"12345678", ("logits",)).status == COMPLETED


UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


@pytest.mark.parametrize("head", [UNTIL_CLOSED, UNTIL_CLOSED.replace(b"1.1", b"1.0"), CONTINUE + UNTIL_CLOSED])
def test_an_answer_may_end_with_the_connection(head):
    with server(saying(head, JSON[:20], JSON[20:], pause=0.01), saying(HEAD + JSON)) as url:
        connection = http.Connection(url, 60)
        assert connection.post(REQUEST) == Outcome(COMPLETED, "", SIZE, len(JSON))
        assert connection.post(REQUEST).status == COMPLETED
        connection.close()


@pytest.mark.parametrize("pieces", [(UNTIL_CLOSED, JSON[:20]), (UNTIL_CLOSED,), (CONTINUE,), (CHUNKED[:-9],)])
def test_a_half_answer_does_not_end_with_the_connection(pieces):
    with server(saying(*pieces)) as url:
        outcome = post(url)
    assert outcome.status == FAILED and outcome.reason


def test_a_connection_that_the_server_will_close_is_not_used_again():
    closing = HEAD[:-2] + b"Connection: close\r\n\r\n"

    def once(connection):
        read(connection)
        connection.sendall(closing + JSON)
        time.sleep(0.2)  # still open when the next request comes

    with server(once, once) as url:
        connection = http.Connection(url, 60)
        assert [connection.post(REQUEST).status for _ in range(2)] == [COMPLETED] * 2
        connection.close()


class Raced(http.Connection):
    """Lets `meanwhile` happen between the look at a kept connection and the next request."""

    meanwhile = staticmethod(lambda: None)

    def _connect(self) -> bool:
        if kept := super()._connect():
            self.meanwhile()
        return kept


def race(end, request=REQUEST):
    """(outcome of a request that comes as `end(connection)` ends the idle one, what the server read after the end)."""
    go, ended, seen = threading.Event(), threading.Event(), []

    def idle(connection):
        read(connection)
        connection.sendall(HEAD + JSON)
        go.wait(5)
        end(connection, ended)

    def again(connection):
        seen.append(read(connection))
        connection.sendall(HEAD + JSON)

    def meanwhile():
        go.set()
        ended.wait(5)

    with server(idle, again) as url:
        connection = Raced(url, 60)
        assert connection.post(REQUEST).status == COMPLETED
        connection.meanwhile = meanwhile
        outcome = connection.post(request)
        connection.close()
        time.sleep(0.1)
    return outcome, seen


def closing(connection, ended):
    connection.close()
    ended.set()


LARGE = make_request(TARGET, np.zeros(9_000_000, np.uint8))


@pytest.mark.parametrize("request_", [REQUEST, LARGE])
def test_a_request_that_meets_the_end_of_an_idle_connection_is_sent_again_as_nobody_has_read_it(request_):
    outcome, seen = race(closing, request_)
    assert outcome.status == COMPLETED
    assert len(seen) == 1 and seen[0].startswith(b"POST /v2/models/m/infer")


def reading(count):
    """Ends the connection in good order after it has read so much of the request."""

    def end(connection, ended):
        ended.set()
        read(connection) if count is None else connection.recv(count)
        if count is not None:
            time.sleep(0.1)
        connection.shutdown(socket.SHUT_RDWR)

    return end


def resetting(connection, ended):
    """A reset says nothing of what was read: its acknowledgement is not counted."""
    ended.set()
    read(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


@pytest.mark.parametrize("end", [reading(None), reading(1), resetting])
def test_a_request_that_the_server_may_have_read_is_never_sent_twice_and_has_a_reason_of_its_own(end):
    outcome, seen = race(end)
    assert (outcome.status, outcome.reason) == (FAILED, f"ConnectionError: {http.IDLE}")
    assert not seen


def test_a_first_request_is_never_sent_again():
    seen = []

    def silent(connection):
        seen.append(read(connection))

    with server(silent, silent) as url:
        outcome = post(url)
        time.sleep(0.1)
    assert "closed by the server without an answer" in outcome.reason and len(seen) == 1


@pytest.mark.parametrize(
    ("head", "body", "status", "reason"),
    [
        (b"429 Too Many Requests", b'{"error":"slow down"}', REJECTED, "HTTP 429: slow down"),
        (b"503 Service Unavailable", b"no", REJECTED, "HTTP 503: no"),
        (b"301 Moved Permanently\r\nLocation: https://b/", b"<p>", FAILED, "HTTP 301: redirected to https://b/; "),
        (b"304 Not Modified", b"", FAILED, "HTTP 304: "),
    ],
)
def test_refusals_and_redirects_are_said_in_one_line(head, body, status, reason):
    with server(saying(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (head, len(body), body))) as url:
        outcome = post(url)
    assert outcome.status == status and outcome.reason.startswith(reason) and "\n" not in outcome.reason


BOMB = gzip.compress(bytes(2**28 + 1), 1, mtime=0)


@pytest.mark.parametrize(
    ("coding", "packed", "reason"),
    [
        (b"gzip", gzip.compress(JSON, mtime=0), ""),
        (b"X-GZip", gzip.compress(JSON, mtime=0), ""),
        (b"deflate", zlib.compress(JSON), ""),
        (b"identity", JSON, ""),
        (b"br", b"x", "unreadable answer: ValueError: its content-encoding is br; gzip and deflate are read"),
        (b"gzip", gzip.compress(JSON, mtime=0)[:-9], "unreadable answer: ValueError: it is compressed, and cut short"),
        (b"gzip", BOMB, "unreadable answer: ValueError: it unpacks to more than 268435456 bytes"),
        (b"gzip", JSON, "unreadable answer: error: Error -3 while decompressing data"),
    ],
)
def test_compressed_answers_are_read_and_their_bytes_counted_as_they_crossed_the_network(coding, packed, reason):
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(packed))
    with server(saying(head + packed)) as url:
        outcome = post(url)
    assert (outcome.status, outcome.bytes_down) == (FAILED if reason else COMPLETED, len(packed))
    assert outcome.reason.startswith(reason)
