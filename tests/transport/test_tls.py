"""Laws of a request over TLS: as without it, and nothing is sent to a server whose certificate does not fit."""

import contextlib
import datetime
import socket
import threading
import time

import numpy as np
import pytest

from common import access
from tests.tls_proxy import Authority
from tests.transport.test_wire import CHUNKED, HEAD, JSON, REQUEST, SIZE, TARGET, read, saying
from transport import http
from transport.message import COMPLETED, FAILED, TIMED_OUT, Outcome, make_request

ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@contextlib.contextmanager
def server(context, *behaviours, announce=True):
    """As test_wire's, with TLS: yields a port. Each connection ends as TLS wants it, or with `announce` false without.

    A behaviour that takes no part in TLS has `plain` set.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for behave in behaviours:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):  # the client has gone
                if getattr(behave, "plain", False):
                    behave(connection)
                    continue
                wrapped = context.wrap_socket(connection, server_side=True)
                behave(wrapped)
                if announce:
                    wrapped.unwrap()
                else:
                    wrapped.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def open_connection(port, name="localhost", timeout=5.0, **options):
    access.grant(f"https://{name}:{port}", **options)
    return http.Connection(f"https://{name}:{port}", timeout)


def post(port, request=REQUEST, **options):
    connection = open_connection(port, **options)
    try:
        return connection.post(request)
    finally:
        connection.close()


GOOD = Outcome(COMPLETED, "", SIZE, len(JSON))


@pytest.mark.parametrize(
    "pieces", [[HEAD + JSON], [CHUNKED], [(HEAD + JSON)[i : i + 1] for i in range(len(HEAD + JSON))]]
)
def test_an_answer_is_read_however_it_is_cut_into_records(authority, pieces):
    with server(authority.context("localhost"), saying(*pieces)) as port:
        assert post(port, ca_file=str(authority.file)) == GOOD


def test_a_connection_is_kept_with_one_handshake(authority):
    def answer_all(connection):
        while read(connection):
            connection.sendall(HEAD + JSON)

    # A second connection would not be accepted, and the request time out.
    with server(authority.context("localhost"), answer_all) as port:
        connection = open_connection(port, ca_file=str(authority.file))
        assert [connection.post(REQUEST) for _ in range(3)] == [GOOD] * 3
        connection.close()


def test_a_large_tensor_arrives_whole(authority):
    received = []

    def keep(connection):
        received.append(read(connection))
        connection.sendall(HEAD + JSON)

    tensor = np.random.default_rng(1).random(3_000_000, np.float32)
    with server(authority.context("localhost"), keep) as port:
        assert post(port, make_request(TARGET, tensor), ca_file=str(authority.file)).status == COMPLETED
    assert received[0].endswith(tensor.tobytes())


def expired():
    return {"not_after": datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)}


@pytest.mark.parametrize(
    ("names", "issued", "trusted", "says"),
    [
        (["localhost"], {}, False, "its certificate is not trusted (unable to get local issuer certificate); give "),
        (["other.example"], {}, True, "its certificate is for another name (Hostname mismatch"),
        (["localhost"], expired(), True, "its certificate is not valid now (certificate has expired); renew it"),
    ],
)
def test_nothing_is_sent_to_a_server_whose_certificate_does_not_fit(authority, names, issued, trusted, says):
    received = []
    with server(authority.context(*names, **issued), lambda connection: received.append(read(connection))) as port:
        outcome = post(port, ca_file=str(authority.file) if trusted else "")
    assert outcome.status == FAILED and outcome.reason.startswith(says), outcome
    assert not any(received)


def test_insecure_takes_any_certificate(authority):
    with server(authority.context("other.example"), saying(HEAD + JSON)) as port:
        assert post(port, insecure=True) == GOOD


def test_a_certificate_of_an_address_is_checked_as_a_name_is(authority):
    with server(authority.context("127.0.0.1"), saying(HEAD + JSON)) as port:
        assert post(port, name="127.0.0.1", ca_file=str(authority.file)) == GOOD


def plain(behave):
    behave.plain = True
    return behave


def test_what_speaks_no_tls_is_named(authority):
    @plain
    def greet(connection):
        connection.sendall(HEAD)

    with server(None, greet) as port:
        assert "does not speak TLS; is it http://" in post(port).reason


def test_a_server_that_hangs_up_in_the_handshake_is_a_failure(authority):
    with server(None, plain(lambda connection: connection.recv(1))) as port:
        assert post(port).status == FAILED


def test_a_handshake_that_does_not_come_ends_at_the_deadline(authority):
    with server(None, plain(lambda connection: time.sleep(3))) as port:
        began = time.monotonic()
        assert post(port, timeout=0.3) == Outcome(TIMED_OUT, "no answer within 0.3 s", SIZE)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("announce", "outcome"),
    [(True, GOOD), (False, Outcome(FAILED, "ConnectionError: closed without TLS's own end", SIZE))],
)
def test_an_answer_that_ends_with_its_connection_is_believed_only_if_tls_says_so(authority, announce, outcome):
    with server(authority.context("localhost"), saying(ENDLESS + JSON), announce=announce) as port:
        assert post(port, ca_file=str(authority.file)) == outcome


@pytest.mark.parametrize("announce", [True, False])
def test_a_request_on_a_connection_that_the_server_has_closed_is_sent_on_another(authority, announce):
    behaviours = (saying(HEAD + JSON), saying(HEAD + JSON))
    with server(authority.context("localhost"), *behaviours, announce=announce) as port:
        connection = open_connection(port, ca_file=str(authority.file))
        assert connection.post(REQUEST) == GOOD
        time.sleep(0.2)  # its end may be on its way
        assert connection.post(REQUEST) == GOOD
        connection.close()


def test_another_thread_that_closes_the_connection_wakes_a_request(authority):
    began = threading.Event()

    def keep_silent(connection):
        read(connection)
        began.set()
        time.sleep(30)

    with server(authority.context("localhost"), keep_silent) as port:
        connection = open_connection(port, timeout=25.0, ca_file=str(authority.file))
        threading.Thread(target=lambda: (began.wait(20), connection.close()), daemon=True).start()
        outcome = connection.post(REQUEST)
    assert outcome.status == FAILED
