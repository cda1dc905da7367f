"""gRPC over TLS: the certificate is checked, and the login goes along."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from common import access
from tests.tls_proxy import Authority
from tests.transport.test_grpc import ANSWER, REQUEST
from transport import grpc as transport
from transport.message import COMPLETED, FAILED


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def service(authority):
    """A gRPC server with a certificate for localhost: its port, and the logins that came."""
    logins = []

    def behave(message, context):
        logins.append(dict(context.invocation_metadata()).get("authorization"))
        return ANSWER

    handler = grpc.unary_unary_rpc_method_handler(behave)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((type("All", (grpc.GenericRpcHandler,), {"service": lambda *_: handler})(),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([authority.pair("localhost")]))
    server.start()
    yield port, logins
    server.stop(0)


def post(port, **options):
    url = f"https://localhost:{port}"
    access.grant(url, **options)
    connection = transport.Connection(url, 10.0, port)
    try:
        return connection.post(REQUEST)
    finally:
        connection.close()


def test_a_request_gets_its_answer_and_carries_the_login(service, authority, monkeypatch):
    port, logins = service
    monkeypatch.setenv("CROSSOVER_TOKEN", "abc")
    assert post(port, ca_file=str(authority.file)).status == COMPLETED
    assert logins == ["Bearer abc"]


def test_nothing_is_sent_to_a_server_that_is_not_trusted(service, monkeypatch):
    port, logins = service
    monkeypatch.setenv("CROSSOVER_TOKEN", "abc")
    assert post(port).status == FAILED
    assert not logins


def test_insecure_is_refused(service):
    with pytest.raises(ValueError, match="give --cacert instead of --insecure"):
        post(service[0], insecure=True)
