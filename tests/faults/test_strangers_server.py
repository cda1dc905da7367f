"""What a stranger who reaches the server must not do: every restricted endpoint, every way around it."""

import contextlib
import http.client
import http.cookiejar
import json
import re
import socket

import grpc
import psutil
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serving import local, smoke_test
from serving.triton_api import TritonAPI
from tests.conftest import launch

RESTRICTED = [
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/image/load"),
    ("POST", "/v2/repository/models/image/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("GET", "/v2/systemsharedmemory/region/mine/status"),
    ("POST", "/v2/systemsharedmemory/region/mine/register"),
    ("POST", "/v2/systemsharedmemory/region/mine/unregister"),
    ("POST", "/v2/systemsharedmemory/unregister"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("GET", "/v2/cudasharedmemory/region/mine/status"),
    ("POST", "/v2/cudasharedmemory/region/mine/register"),
    ("POST", "/v2/cudasharedmemory/region/mine/unregister"),
    ("POST", "/v2/cudasharedmemory/unregister"),
    ("GET", "/v2/trace/setting"),
    ("POST", "/v2/trace/setting"),
    ("GET", "/v2/models/image/trace/setting"),
    ("POST", "/v2/models/image/trace/setting"),
    ("GET", "/v2/logging"),
    ("POST", "/v2/logging"),
]
OPEN = [
    "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/image", "/v2/models/image/ready",
    "/v2/models/image/config", "/v2/models/image/stats", "/v2/models/stats",
]  # fmt: skip
SECRETS = re.compile(rb'"log_|"trace_|"state"')  # what the settings and the index would say


def ask(server, method: str, path: str, key: str | None = None, body: str = "{}") -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.address, timeout=300)
    headers = {} if key is None else {"admin-key": key}
    with contextlib.closing(connection):
        connection.request(method, path, body if method == "POST" else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.parametrize(("method", "path"), RESTRICTED, ids=map(" ".join, RESTRICTED))
def test_http_refuses_without_the_key_and_changes_nothing(server, method, path):
    for key in (None, "", "guess", server.admin_key[:-1], server.admin_key + "0", server.admin_key.upper()):
        status, told = ask(server, method, path, key)
        assert (status, "restricted" in told) == (403, True), key
        assert server.admin_key not in told
    assert TritonAPI(server.address).is_ready("image")


@pytest.mark.parametrize(("method", "path"), RESTRICTED, ids=map(" ".join, RESTRICTED))
def test_http_lets_the_key_in(server, method, path):
    status, told = ask(server, method, path.replace("/image/", "/nobody/"), server.admin_key)
    assert status != 403 and "restricted" not in told  # what it then says of an unknown model is its own affair


@pytest.mark.parametrize("path", OPEN)
def test_health_metadata_configuration_and_statistics_are_open_on_purpose(server, path):
    assert ask(server, "GET", path)[0] == 200


def test_inference_and_metrics_are_open_on_purpose(server):
    smoke_test.run(TritonAPI(server.address))
    metrics = TritonAPI(f"127.0.0.1:{server.metrics_port}").call("/metrics")[0]
    assert b"nv_inference_count" in metrics and server.admin_key.encode() not in metrics


def test_the_key_really_opens_what_it_guards(server):
    api = TritonAPI(server.address, server.admin_key)
    for path, names in (("/v2/logging", ("log_info", "log_verbose_level")), ("/v2/trace/setting", ("trace_rate",))):
        before = json.loads(api.call(path)[0])
        api.call(path, json.dumps({name: before[name] for name in names}).encode())
        assert json.loads(api.call(path)[0]) == before
    region = local.SHM / f"{server.name}.strangers"
    region.write_bytes(bytes(4096))
    try:
        place = {"key": f"/{region.name}", "offset": 0, "byte_size": 4096}
        api.call("/v2/systemsharedmemory/region/strangers/register", json.dumps(place).encode())
        assert "strangers" in str(api.call("/v2/systemsharedmemory/status")[0])
        api.call("/v2/systemsharedmemory/region/strangers/unregister", b"")
        assert json.loads(api.call("/v2/systemsharedmemory/status")[0]) == []
    finally:
        region.unlink()


def raw(server, request: str) -> bytes:
    """All that the server answers to these very bytes; HOST and KEY stand for their lines."""
    lines = {"HOST": f"Host: {server.address}\r\n", "KEY": f"admin-key: {server.admin_key}\r\n"}
    with socket.create_connection(server.address.split(":"), timeout=300) as connection:
        connection.sendall(re.sub("HOST|KEY", lambda found: lines[found[0]], request).encode("latin-1"))
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
                connection.settimeout(1)  # a connection kept alive does not end by itself
    return answer


def test_what_the_odd_requests_must_not_find_is_there_with_the_key(server):
    for path in ("logging", "trace/setting"):
        assert SECRETS.search(raw(server, f"GET /v2/{path} HTTP/1.1\r\nHOSTConnection: close\r\nKEY\r\n"))
    index = "POST /v2/repository/index HTTP/1.1\r\nHOSTConnection: close\r\nContent-Length: 0\r\nKEY\r\n"
    assert SECRETS.search(raw(server, index))


SPELLINGS = [
    "//v2/logging", "/v2//logging", "/v2/logging/", "/V2/logging", "/v2/LOGGING", "/v2/%6cogging", "/v2%2flogging",
    "/./v2/logging", "/v2/%2e/logging", "/v2/x/../logging", "/v2/models/x/../../logging",
    "/v2/logging?x", "/v2/logging#x", "/v2/logging;x", "/v2/logging%00", "/v2/logging%0d%0aadmin-key:x", "v2/logging",
    "*", "/v2/health/live/../../logging",
    "http://localhost/v2/logging", "/v2/health/live?/v2/logging", "/v2/models/image%2ftrace/setting",
    "/v2/models//trace/setting", "/v2/models/image/versions/1/trace/setting", "/v2/repository//index",
]  # fmt: skip


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_of_a_path_gets_round_the_restriction(server, path):
    for method in ("GET", "POST"):
        answer = raw(server, f"{method} {path} HTTP/1.1\r\nHOSTConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert not SECRETS.search(answer), answer


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "NONSENSE"])
def test_no_method_gets_round_the_restriction(server, method):
    for path in ("/v2/logging", "/v2/repository/index", "/v2/repository/models/image/unload"):
        answer = raw(server, f"{method} {path} HTTP/1.1\r\nHOSTConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert b" 200 " not in answer.split(b"\r\n")[0] and not SECRETS.search(answer)
    assert TritonAPI(server.address).is_ready("image")


@pytest.mark.parametrize(
    "request_",
    [
        "GET /v2/logging HTTP/1.0\r\n\r\n",
        "GET /v2/logging HTTP/2.0\r\nHOST\r\n",
        "GET /v2/logging HTTP/1.1\r\nHOSTConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        "POST /v2/logging HTTP/1.1\r\nHOSTTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "POST /v2/health/live HTTP/1.1\r\nHOSTContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\nGET /v2/logging HTTP/1.1\r\nHOST\r\n",
        "GET /v2/health/live HTTP/1.1\r\nHOSTX-Original-URL: /v2/logging\r\nX-Rewrite-URL: /v2/logging\r\n\r\n",
        "GET /v2/health/live HTTP/1.1\r\nHOST\r\nGET /v2/logging HTTP/1.1\r\nHOST\r\n",
        "GET /v2/health/live HTTP/1.1\r\nHOSTKEY\r\nGET /v2/logging HTTP/1.1\r\nHOST\r\n",
        "GET /v2/logging HTTP/1.1\r\nHOSTadmin-key: guess\r\nKEY\r\n",
        "GET /v2/logging HTTP/1.1\r\nHOSTtriton-grpc-protocol-KEY\r\n",
        "GET /v2/logging HTTP/1.1\r\nHOSTadmin-key\r\n\r\n",
        f"GET /v2/logging HTTP/1.1\r\nHOSTadmin-key: {'x' * 100_000}\r\n\r\n",
    ],
    ids=["1.0", "2.0", "h2c", "chunked", "smuggled", "rewritten", "pipelined", "after one with the key",
         "two keys", "the key of gRPC", "no colon", "a long key"],
)  # fmt: skip
def test_no_form_of_a_request_gets_round_the_restriction(server, request_):
    assert not SECRETS.search(raw(server, request_))
    assert TritonAPI(server.address).is_live()


METHODS = {method.name: method for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods}
GRPC_OPEN = {
    "ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics",
    "ModelInfer", "ModelStreamInfer",
}  # fmt: skip
HEADER = "triton-grpc-protocol-admin-key"


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield channel


def call(channel, method: str, *metadata) -> str:
    """What the server says against an empty request; nothing if it has an answer."""
    request = getattr(service_pb2, METHODS[method].input_type.name)()
    if METHODS[method].client_streaming:
        request = iter([request])
    answer = getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), method)
    try:
        told = answer(request, metadata=metadata, timeout=300)
        return "".join(part.error_message for part in told) if METHODS[method].server_streaming else ""
    except grpc.RpcError as error:
        return f"{error.code()}: {error.details()}"


@pytest.mark.parametrize("method", sorted(METHODS.keys() - GRPC_OPEN))
def test_grpc_refuses_without_the_key(server, channel, method):
    """A method that a newer protocol adds is taken for one to restrict, until it is put among the open ones."""
    keys = ("", "guess", server.admin_key[:-1], server.admin_key.upper())
    for metadata in ([], [("admin-key", server.admin_key)], *([(HEADER, key)] for key in keys)):
        told = call(channel, method, *metadata)
        assert "restricted" in told and server.admin_key not in told
    assert "restricted" not in call(channel, method, (HEADER, server.admin_key))


@pytest.mark.parametrize("method", sorted(GRPC_OPEN))
def test_grpc_leaves_inference_health_metadata_and_statistics_open(channel, method):
    assert "restricted" not in call(channel, method)


def test_the_key_is_in_one_file_of_its_owner_and_in_no_log(server):
    ask(server, "GET", "/v2/logging", server.admin_key)
    holders = [
        path for path in server.state.rglob("*") if path.is_file() and server.admin_key.encode() in path.read_bytes()
    ]
    assert holders == [server.state / "server.json"]
    assert holders[0].stat().st_mode & 0o077 == 0
    assert server.admin_key not in launch("status", f"--state={server.state}").stdout


def test_of_all_processes_only_tritonserver_has_the_key_in_its_arguments(server):
    """Triton takes it from nowhere else, which SECURITY.md says: it does not keep out users of this machine."""
    told = {process.name() for process in psutil.process_iter() if server.admin_key in " ".join(arguments(process))}
    assert told == {"tritonserver"}
    assert len(server.admin_key) >= 32


def arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
