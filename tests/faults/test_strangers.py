"""What strangers may and may not do: the server without its key, Locust's page from elsewhere, files of others."""

import ast
import contextlib
import http.client
import http.cookiejar
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import requires
from pathlib import Path
from types import SimpleNamespace

import grpc
import psutil
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tritonclient.grpc import service_pb2, service_pb2_grpc

from loadgen import payloads
from loadgen.workloads import IMAGE
from models import checkpoint
from serving import canary, local
from serving.rest import Rest
from tests.conftest import ROOT, launch
from tests.test_locust_stats import free_port, python, within

# The server's restricted interfaces ---------------------------------------------------------------------------------

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
    connection = http.client.HTTPConnection(server.address, timeout=30)
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
    assert Rest(server.address).ready("/v2/models/image/ready")


@pytest.mark.parametrize(("method", "path"), RESTRICTED, ids=map(" ".join, RESTRICTED))
def test_http_lets_the_key_in(server, method, path):
    status, told = ask(server, method, path.replace("/image/", "/nobody/"), server.admin_key)
    assert status != 403 and "restricted" not in told  # what it then says of an unknown model is its own affair


@pytest.mark.parametrize("path", OPEN)
def test_health_metadata_configuration_and_statistics_are_open_on_purpose(server, path):
    assert ask(server, "GET", path)[0] == 200


def test_inference_and_metrics_are_open_on_purpose(server):
    canary.sing(Rest(server.address))
    metrics = Rest(f"127.0.0.1:{server.metrics_port}").call("/metrics")[0]
    assert b"nv_inference_count" in metrics and server.admin_key.encode() not in metrics


def test_the_key_really_opens_what_it_guards(server):
    rest = Rest(server.address, server.admin_key)
    for path, names in (("/v2/logging", ("log_info", "log_verbose_level")), ("/v2/trace/setting", ("trace_rate",))):
        before = json.loads(rest.call(path)[0])
        rest.call(path, json.dumps({name: before[name] for name in names}).encode())
        assert json.loads(rest.call(path)[0]) == before
    region = local.SHM / f"{server.name}.strangers"
    region.write_bytes(bytes(4096))
    try:
        place = {"key": f"/{region.name}", "offset": 0, "byte_size": 4096}
        rest.call("/v2/systemsharedmemory/region/strangers/register", json.dumps(place).encode())
        assert "strangers" in str(rest.call("/v2/systemsharedmemory/status")[0])
        rest.call("/v2/systemsharedmemory/region/strangers/unregister", b"")
        assert json.loads(rest.call("/v2/systemsharedmemory/status")[0]) == []
    finally:
        region.unlink()


def raw(server, request: str) -> bytes:
    """All that the server answers to these very bytes; HOST and KEY stand for their lines."""
    lines = {"HOST": f"Host: {server.address}\r\n", "KEY": f"admin-key: {server.admin_key}\r\n"}
    with socket.create_connection(server.address.split(":"), timeout=30) as connection:
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
    assert Rest(server.address).ready("/v2/models/image/ready")


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
    assert Rest(server.address).ready("/v2/health/live")


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
        told = answer(request, metadata=metadata, timeout=30)
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


# Locust's page ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def page(folder: Path, *arguments, **environment):
    """The real Locust with our image file; what it printed is in `output` once it has ended."""
    port, master = free_port(), free_port()
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        "loadgen/image.py",
        "--host=http://127.0.0.1:9",
        f"--web-port={port}",
    ]
    command += [f"--reports={folder}", f"--master-bind-port={master}", *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    run = SimpleNamespace(port=port, master=master, process=psutil.Process(process.pid), output="")
    try:
        within(60, lambda: process.poll() is not None or send(run, "/")[0])
        yield run
    finally:
        if process.poll() is None:
            process.terminate()
        run.output, _ = process.communicate(timeout=60)
        run.code = process.returncode


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A master's page, as it is by default."""
    with page(tmp_path_factory.mktemp("page"), "--master") as run:
        yield run


def send(run, path: str, form: str | None = None, opener=None, **headers) -> tuple[int, str]:
    """(status, text) of a GET, or of a form's POST. Raises URLError while nobody answers."""
    url = f"http://127.0.0.1:{run.port}{path}"
    request = urllib.request.Request(url, None if form is None else form.encode(), headers)
    try:
        with (opener or urllib.request.build_opener()).open(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def listening(run) -> dict[int, str]:
    connections = run.process.net_connections("inet")
    return {each.laddr.port: each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}


def test_the_page_and_the_masters_port_listen_on_loopback_unless_asked_otherwise(alone):
    assert listening(alone) == {alone.port: "127.0.0.1", alone.master: "127.0.0.1"}


COMMANDS = ["/swarm", "/stop", "/stats/reset", "/user"]
ELSEWHERE = ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "http://[", ""]


@pytest.mark.parametrize("origin", ELSEWHERE)
def test_another_sites_page_can_neither_command_nor_read(alone, origin):
    for path in COMMANDS:
        assert send(alone, path, "arrivals=gama:3", Origin=origin)[0] == 403
    for path in ("/stats/requests", "/logs", "/exceptions", "/tasks"):
        status, told = send(alone, path, Origin=origin)
        assert status == 403 and "{" not in told
    assert json.loads(send(alone, "/stats/requests")[1])["state"] == "ready"


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[", "evil.example."]
)
def test_the_page_does_not_answer_to_a_name_that_a_stranger_can_own(alone, name):
    for host in (name, f"{name}:{alone.port}"):
        for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
            assert send(alone, "/stats/requests", **headers)[0] == 403
            assert send(alone, "/swarm", "arrivals=gama:3", **headers)[0] == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "master", "LOCALHOST"])
def test_the_page_obeys_its_own_scripts_and_curl(alone, name):
    host = f"{name}:{alone.port}"
    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
        status, told = send(alone, "/swarm", "arrivals=gama:3", **headers)
        assert status == 200 and "try one of" in json.loads(told)["message"]
        assert send(alone, "/", **headers)[0] == 200


def test_the_page_cannot_be_put_into_another_sites_frame(alone):
    with urllib.request.urlopen(f"http://127.0.0.1:{alone.port}/", timeout=30) as answer:
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_a_machines_own_dotted_name_is_its_own():
    program = """
import socket
from loadgen import access
socket.gethostname = lambda: "First.lab.example"
print([access.local(f"{name}.lab.example:8089") for name in ("first", "FIRST", "second")])
"""
    assert python(program).stdout == "[True, True, False]\n"  # elsewhere, for Locust patches what imports it


def test_a_page_for_everybody_without_a_login_says_so_in_one_line(tmp_path):
    with page(tmp_path, "--web-host=0.0.0.0") as run:
        assert listening(run) == {run.port: "0.0.0.0"}
    [line] = [line for line in run.output.splitlines() if "WARNING" in line]
    assert "0.0.0.0" in line and "--web-login" in line


def test_a_login_without_a_password_is_refused_in_one_line(tmp_path):
    with page(tmp_path, "--web-login", CROSSOVER_WEB_PASSWORD="") as run:
        pass
    assert run.code == 2 and "CROSSOVER_WEB_PASSWORD" in run.output and "Traceback" not in run.output


def test_with_a_login_strangers_see_and_command_nothing_and_the_password_lets_in(tmp_path):
    (tmp_path / "secret.csv").write_text("swordfish\n")
    with page(tmp_path, "--web-login", "--web-host=0.0.0.0", CROSSOVER_WEB_PASSWORD="open sesame") as run:
        for path in ("/stats/requests", "/logs", "/exceptions", "/tasks", "/worker-count"):
            assert "/login" in unfollowed(run, path)
        for form in ("arrivals=constant:rate=1", f"arrivals=trace:file={tmp_path}/secret.csv"):
            assert "/login" in unfollowed(run, "/swarm", form)
        assert "/login" in unfollowed(run, "/enter", "username=x&password=guess")
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        send(run, "/enter", "username=x&password=open+sesame", browser, Host=f"bench.example:{run.port}")
        status, told = send(run, "/swarm", "arrivals=gama:3", browser)
        assert status == 200 and "try one of" in json.loads(told)["message"]
        assert send(run, "/swarm", "arrivals=gama:3", browser, Origin="http://evil.example")[0] == 403
        assert json.loads(send(run, "/stats/requests", None, browser)[1])["state"] == "ready"
    assert "WARNING" not in run.output and "sesame" not in run.output


class Unfollowed(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def unfollowed(run, path: str, form: str | None = None) -> str:
    """Where the answer sends its reader, who has no cookie."""
    request = urllib.request.Request(f"http://127.0.0.1:{run.port}{path}", None if form is None else form.encode())
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.build_opener(Unfollowed).open(request, timeout=30)
    assert answer.value.code == 302
    return answer.value.headers["Location"]


# Files of others ----------------------------------------------------------------------------------------------------


def test_a_payloads_name_is_text_in_the_report_and_the_report_has_no_key(server, tmp_path):
    name = "<img src=x onerror=alert(1)>.jpg"
    (tmp_path / "sent").mkdir()
    shutil.copy(canary.JPEG, tmp_path / "sent" / name)
    command = [sys.executable, "-m", "loadgen.bench", "image", f"--url={server.url}", f"--state={server.state}"]
    command += ["--seconds=4", "--rounds=1", f"--image={tmp_path}/sent", f"--reports={tmp_path}/reports"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode in (0, 3), done.stderr
    [report] = tmp_path.glob("reports/*/report.html")
    assert "<img src=x" not in report.read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in report.read_text()
    for path in filter(Path.is_file, (tmp_path / "reports").rglob("*")):
        assert server.admin_key.encode() not in path.read_bytes()


def test_a_payload_that_memory_cannot_hold_is_one_line(tmp_path):
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2**43)
    with pytest.raises(ValueError, match=r"^cannot read payloads: more than the memory holds: .*$"):
        payloads.read(tmp_path, (".jpg",))


def test_reading_payloads_passes_over_what_is_no_file_and_runs_nothing(tmp_path, monkeypatch):
    shutil.copy(canary.JPEG, tmp_path / "good.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zeros.jpg").symlink_to("/dev/zero")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "gone")
    (tmp_path / "ring.jpg").symlink_to(tmp_path / "ring.jpg")
    for name in ("__init__.py", "conftest.py", "loadgen.py", "sitecustomize.py", "dali.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    with socket.socket(socket.AF_UNIX) as bound:
        monkeypatch.chdir(tmp_path)
        bound.bind("socket.jpg")
        assert [payload.name for payload in payloads.load(IMAGE, tmp_path)] == ["good.jpg"]
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_folder_of_100_000_files_is_read(tmp_path):
    (tmp_path / "one").write_bytes(b"x")
    (many := tmp_path / "many").mkdir()
    for number in range(100_000):
        (many / f"{number}.jpg").symlink_to("../one")
    began = time.monotonic()
    assert len(payloads.load(IMAGE, many)) == 100_000
    assert time.monotonic() - began < 120
    shutil.rmtree(many)


def test_a_checkpoint_in_pickle_is_refused_unread(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    for network in checkpoint.DEFAULT:
        with pytest.raises(checkpoint.Refused, match=r"no model\.safetensors"):
            checkpoint.check(network, tmp_path)


# Our own sources ----------------------------------------------------------------------------------------------------

SOURCES = [
    path
    for folder in (
        "backends",
        "benchmarks",
        "ensembles",
        "loadgen",
        "model_repository",
        "models",
        "preprocess",
        "serving",
    )
    for path in sorted((ROOT / folder).rglob("*.py"))
]
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "pty", "runpy"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp", "torch.load", "np.load",
    "numpy.load", "yaml.load", "exec_module", "import_module", "read_pickle",
}  # fmt: skip
ALLOWED = {
    ("backends/dali/dali_graph.py", "exec_module"): "a model's dali.py, which NVIDIA's native backend executes as well",
    ("loadgen/workloads.py", "import_module"): "our own module, named in the source, imported late",
    ("preprocess/image.py", "import_module"): "one of our own modules, by a name out of LIBRARIES",
}
METHODS_OF_OBJECTS = {"eval", "exec", "compile"}  # a network's .eval() and re.compile() have nothing to do with these


def found(path: Path) -> set[str]:
    """What a file imports or calls of the forbidden; `shell=`, `allow_pickle=` and the like count as calls."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN_MODULES
        elif isinstance(node, ast.ImportFrom):
            names |= {(node.module or "").split(".")[0]} & FORBIDDEN_MODULES
        elif isinstance(node, ast.Call):
            full, name = ast.unparse(node.func), ast.unparse(node.func).rpartition(".")[2]
            names |= {full, "" if full != name and name in METHODS_OF_OBJECTS else name} & FORBIDDEN_CALLS
            names |= {
                key.arg
                for key in node.keywords
                if key.arg in ("shell", "allow_pickle", "trust_remote_code") and ast.unparse(key.value) != "False"
            }
            names |= {
                "weights_only" for k in node.keywords if k.arg == "weights_only" and ast.unparse(k.value) != "True"
            }
    return names


def test_no_source_unpickles_evaluates_or_calls_a_shell_but_for_what_is_listed_with_its_reason():
    assert len(SOURCES) > 60
    used = {(str(path.relative_to(ROOT)), name) for path in SOURCES for name in found(path)}
    assert used == set(ALLOWED)


def test_the_scan_finds_what_it_looks_for(tmp_path):
    lines = {
        "import pickle": "pickle",
        "from joblib import load": "joblib",
        "np.load(x, allow_pickle=True)": "allow_pickle",
        "subprocess.run(x, shell=True)": "shell",
        "eval(x)": "eval",
        "os.system(x)": "os.system",
        "torch.load(x, weights_only=False)": "weights_only",
        "importlib.import_module(x)": "import_module",
    }
    for line, name in lines.items():
        (tmp_path / "bad.py").write_text(line)
        assert name in found(tmp_path / "bad.py")
    (tmp_path / "good.py").write_text("model.eval(); re.compile(x); subprocess.run(x, shell=False)")
    assert found(tmp_path / "good.py") == set()


# Dependencies -------------------------------------------------------------------------------------------------------

DOCKERFILES = ["Dockerfile", "Dockerfile.gpu"]


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_dependency_is_pinned_with_hashes_and_names_no_index(path):
    entries = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", path.read_text(), flags=re.M)).splitlines()
    entries = [entry for entry in entries if entry.strip()]
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9_.\[\]-]+==[\w.+!]+( ;[^#]*?)?( +--hash=sha256:[0-9a-f]{64})+\s*$", entry), entry[
            :90
        ]


@pytest.mark.parametrize("name", [*DOCKERFILES, "Makefile", ".ci/run"])
def test_whatever_installs_from_an_index_requires_hashes_and_names_no_index(name):
    text = (ROOT / name).read_text().replace("\\\n", " ")
    commands = re.findall(r"\bpip\b[^&\n]*\b(?:install|download)\b[^&\n]*", text)
    assert bool(commands) == (name != ".ci/run")
    for command in commands:
        assert "--require-hashes" in command
    assert not re.search(r"index-url|--trusted-host|pypi", text)


def test_a_program_that_runs_pip_requires_hashes():
    programs = {str(path.relative_to(ROOT)): path.read_text() for path in SOURCES if '"pip"' in path.read_text()}
    assert programs.keys() == {"models/environment.py", "benchmarks/perf_analyzer.py"}
    assert all('"--require-hashes"' in text for text in programs.values())


def test_the_gpu_image_takes_out_of_the_lock_all_that_its_libraries_need():
    names = re.search(r'ARG LIBRARIES="(.*?)"', (ROOT / "Dockerfile.gpu").read_text(), re.S)[1]
    needed, waiting = set(), [Requirement(name) for name in ("librosa", "soundfile", "onnx", "tritonclient[grpc]")]
    while waiting:
        requirement = waiting.pop()
        needed.add(canonicalize_name(requirement.name))
        for other in map(Requirement, requires(requirement.name) or []):
            at = [{"extra": extra, "python_full_version": "3.12.3"} for extra in requirement.extras or {""}]
            if other.marker is None or any(map(other.marker.evaluate, at)):
                waiting.append(other)
    assert set(names.replace("\\\n", "").split("|")) == needed


def test_every_test_and_flag_that_security_md_names_exists():
    text = (ROOT / "SECURITY.md").read_text()
    for path in set(re.findall(r"`((?:tests|model_repository|backends|ensembles)/[\w./]*)`", text)):
        assert (ROOT / path).exists(), path
    program = "import locust.argument_parser as parser; parser.get_parser().print_help()"
    known = python(program).stdout
    flags = set(re.findall(r"--[a-z][a-z-]+", text))
    assert flags and all(flag in known for flag in flags)
    assert "CROSSOVER_WEB_PASSWORD" in (ROOT / "loadgen" / "access.py").read_text()
