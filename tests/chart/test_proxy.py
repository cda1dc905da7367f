"""HAProxy with the chart's configuration, for real: requests of one connection are spread over the replicas."""

import collections
import concurrent.futures
import contextlib
import gzip
import http.client
import http.server
import json
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from tests.chart.rendering import CASES, find, render

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.chart,
    pytest.mark.skipif(not HAPROXY, reason="no haproxy (Debian: apt install --no-install-recommends haproxy)"),
]


def read_configuration(case: str = "cpu ours none none", **more) -> str:
    return find(render({**CASES[case], **more}), "ConfigMap", "demo-proxy")["data"]["haproxy.cfg"]


@pytest.mark.parametrize("balance", ["roundrobin", "leastconn"])
def test_haproxy_takes_the_configuration(tmp_path, balance):
    file = tmp_path / "haproxy.cfg"
    file.write_text(read_configuration(proxy={"balance": balance}))
    done = subprocess.run([HAPROXY, "-c", "-f", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    file.write_text(read_configuration().replace("balance", "ballance"))
    assert subprocess.run([HAPROXY, "-c", "-f", file], capture_output=True, check=False).returncode == 1


def test_there_is_room_for_twice_the_replicas_that_an_autoscaler_may_ask_for():
    assert "server-template pod 1-14 demo-triton.prod.svc.cluster.local:8000" in read_configuration("cpu ours hpa none")


class Replica:
    """What answers its own name to everything, by HTTP/1.1 and by gRPC, and is healthy."""

    def __init__(self, name: str):
        import grpc

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one write for header and body: HAProxy does not read a health check's to its end

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(name)))
                self.send_header("Weights", " + ".join(self.headers.get_all("Accept-Encoding", [])))
                self.end_headers()
                self.wfile.write(name.encode())

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_):
                pass

        class Generic(grpc.GenericRpcHandler):
            def service(self, _):
                return grpc.unary_unary_rpc_method_handler(lambda *_: name.encode())

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Generic()])
        self.ports = self.http.server_port, self.grpc.add_insecure_port("127.0.0.1:0")
        self.grpc.start()

    def stop(self):
        self.grpc.stop(0).wait()
        self.http.shutdown()
        self.http.server_close()


def take_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in sockets]


def place_here(configuration: str, replicas: list[Replica], ports: list[int]) -> str:
    """Return the configuration with addresses of this machine in place of the cluster's names and ports."""
    for port, here in zip((8000, 8001, 8404), ports, strict=True):
        configuration = configuration.replace(f"bind :{port}", f"bind 127.0.0.1:{here}")
    configuration = configuration.replace(" resolvers cluster init-addr none", "")
    # Replicas on one machine have ports of their own, so each server says where it is checked.
    configuration = configuration.replace("http-check connect port 8000 ", "http-check connect ")

    def list_servers(found: re.Match) -> str:
        which = found[1] == "8001"
        return "\n".join(
            f"    server pod{n} 127.0.0.1:{each.ports[which]}{found[2]} check port {each.ports[0]}"
            for n, each in enumerate(replicas)
        )

    placed, places = re.subn(r"    server-template pod \S+ \S+:(800[01])(.*)", list_servers, configuration)
    assert places == 2
    return placed


@pytest.fixture
def spread(tmp_path):
    """Two replicas behind HAProxy: them, and the ports of HTTP, gRPC and metrics."""
    replicas, ports = [Replica("first"), Replica("second")], take_ports(3)
    file = tmp_path / "haproxy.cfg"
    file.write_text(place_here(read_configuration(), replicas, ports))
    haproxy = subprocess.Popen([HAPROXY, "-db", "-f", file])
    try:
        # Every check has been answered well; before its first one a server counts as up.
        checked = re.compile(r'^haproxy_server_check_status{.*state="L7OK"} 1', re.M)
        wait_until(lambda: len(checked.findall(fetch(ports[2], "/metrics")[1])) == 4)
        yield replicas, ports
    finally:
        haproxy.kill()
        haproxy.wait()
        for each in replicas:
            each.stop()


def wait_until(holds) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if holds():
                return
        time.sleep(0.05)
    raise AssertionError("it never came")


def fetch(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def ask(ports: list[int], count: int = 20) -> tuple[collections.Counter, collections.Counter]:
    """Send requests on one connection each, by HTTP and by gRPC, and return how many each replica answered."""
    import grpc

    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=60)
    by_http: collections.Counter = collections.Counter()
    for _ in range(count):
        connection.request("GET", "/v2")
        by_http[connection.getresponse().read().decode()] += 1
    with grpc.insecure_channel(f"127.0.0.1:{ports[1]}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        by_grpc = collections.Counter(call(b"", timeout=60, wait_for_ready=True).decode() for _ in range(count))
    return by_http, by_grpc


def test_every_server_of_a_template_is_checked_in_the_protocol_that_the_replica_speaks(tmp_path):
    """The chart's own templates, with one replica at all of their places."""
    replica, ports = Replica("one"), take_ports(3)
    configuration = read_configuration().replace(" resolvers cluster init-addr none", "")
    for port, here in zip((8000, 8001, 8404), ports, strict=True):
        configuration = configuration.replace(f"bind :{port}", f"bind 127.0.0.1:{here}")
    for port, there in zip((8000, 8001), replica.ports, strict=True):
        configuration = re.sub(rf"(server-template pod \S+) \S+:{port}", rf"\1 127.0.0.1:{there}", configuration)
    configuration = configuration.replace(" port 8000 ", f" port {replica.ports[0]} ")
    file = tmp_path / "haproxy.cfg"
    file.write_text(configuration)
    haproxy = subprocess.Popen([HAPROXY, "-db", "-f", file])
    try:
        checked = re.compile(r'^haproxy_server_check_status{.*state="(?!INI|UNK|CHECKED)(\w+)"} 1', re.M)
        wait_until(lambda: len(checked.findall(fetch(ports[2], "/metrics")[1])) == 12)
        assert checked.findall(fetch(ports[2], "/metrics")[1]) == ["L7OK"] * 12
    finally:
        haproxy.kill()
        haproxy.wait()
        replica.stop()


def test_one_connection_reaches_both_replicas_by_http_and_by_grpc(spread):
    _, ports = spread
    assert fetch(ports[2], "/ready")[0] == 200
    even = collections.Counter(first=10, second=10)
    assert ask(ports) == (even, even)


def test_a_replica_that_ends_is_left_out_and_without_any_the_proxy_is_not_ready(spread):
    replicas, ports = spread
    replicas[0].stop()
    wait_until(lambda: fetch(ports[2], "/metrics")[1].count('server="pod0",state="DOWN"} 1') == 2)
    assert ask(ports) == (collections.Counter(second=20), collections.Counter(second=20))
    replicas[1].stop()
    wait_until(lambda: fetch(ports[2], "/ready")[0] == 503)
    assert fetch(ports[2], "/alive")[0] == 200


LENGTH = "Inference-Header-Content-Length"
OVERFLOW = [32, 2**59]  # 2**64 bytes: none, as the wheel's Triton counts, and its stub dies of them
PICTURE = b"\xff\xd8\xff[1234567890, 1234567890]" + bytes(40_000)


def describe_input(shape: list[int], **more) -> bytes:
    tensor = {"name": "encoded", "datatype": "UINT8", "shape": shape, "parameters": {"binary_data_size": 0}}
    return json.dumps({"inputs": [tensor], **more}).encode()


HARMLESS, HARMFUL = describe_input([1, 999_999_999]), describe_input(OVERFLOW)
PASSED = {
    "a file alone": (PICTURE, {LENGTH: "0"}),
    "a file with digits behind its JSON": (HARMLESS + PICTURE, {LENGTH: str(len(HARMLESS))}),
    "digits in an id": (describe_input([1, 0], id='12345678901, "12345678901]}'), {}),
    "many decimals": (describe_input([1, 0], parameters={"x": [0.12345678901234567, -1.0]}), {}),
    "a model's configuration": (b'{"parameters":{"config":[12345678901]}}', {}, "/v2/repository/models/x/load"),
}
DENIED = {
    "an overflow": (HARMFUL, {LENGTH: str(len(HARMFUL))}),
    "an overflow before a file": (HARMFUL + PICTURE, {LENGTH: str(len(HARMFUL))}),
    "an overflow without a length": (HARMFUL, {}),
    "another length than 0 alone": (HARMFUL, {LENGTH: f"0, {len(HARMFUL)}"}),
    "an escaped key": (HARMFUL.replace(b"shape", b"sh\\u0061pe"), {LENGTH: str(len(HARMFUL) + 5)}),
    "a batch of 2**32": (describe_input([2**32, 5]), {}),
    "a negative one": (describe_input([-(2**59), -32]), {}),
    "ten digits behind a string with brackets": (describe_input(OVERFLOW, id='"]}\\'), {}),
    "white space before it": (b" " * 20_000 + HARMFUL, {LENGTH: str(20_000 + len(HARMFUL))}),
    "an overflow in gzip": (gzip.compress(HARMFUL), {LENGTH: str(len(HARMFUL)), "Content-Encoding": "gzip"}),
    "an overflow in another version": (HARMFUL, {}, "/v2/models/image/versions/1/infer"),
    "nesting that overflows a stack": (b"[" * 20_000, {LENGTH: "0"}, "/v2/models/image/generate"),
    "an overflow where no body is a file alone": (HARMFUL, {LENGTH: "0"}, "/v2/models/image/generate_stream"),
    "no JSON": (b"shape", {}),
    "JSON that is cut": (HARMLESS[:-1], {}),
}


def post(port: int, body: bytes, headers: dict[str, str], path: str = "/v2/models/image/infer") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_shape_that_overflows_is_denied_and_nothing_else(spread):
    """The JSON is looked at, never what follows it."""
    _, (port, *_) = spread
    for case, request in PASSED.items():
        assert post(port, *request) in {(200, "first"), (200, "second")}, case
    for case, request in DENIED.items():
        status, content = post(port, *request)
        assert status == 400 and "the proxy takes" in json.loads(content)["error"], case


def classify(name: bytes = b"classification") -> bytes:
    return b'{"inputs":[],"outputs":[{"name":"transcript","parameters":{"%s":1}}]}' % name


CLASSES_PASSED = {
    "classes of numbers": (classify(), {}, "/v2/models/image/infer"),
    "classes of numbers in another version": (classify(), {}, "/v2/models/resnet50/versions/1/infer"),
    "the word behind the JSON": (
        HARMLESS + b'"classification"',
        {LENGTH: str(len(HARMLESS))},
        "/v2/models/audio/infer",
    ),
    "another word": (classify(b"classifications"), {}, "/v2/models/audio/infer"),
    "the word in a text": (classify(b"no classification"), {}, "/v2/models/audio/infer"),
    "another model's configuration": (classify(), {}, "/v2/repository/models/x/load"),
}
CLASSES_DENIED = {
    "classes of a text": (classify(), {}, "/v2/models/audio/infer"),
    "in another version": (classify(), {}, "/v2/models/ctc_decode/versions/1/infer"),
    "before a file": (classify() + PICTURE, {LENGTH: str(len(classify()))}, "/v2/models/audio/infer"),
    "escaped": (classify(b"cla\\u0073sificati\\u006Fn"), {}, "/v2/models/audio/infer"),
    "wholly escaped": (classify(b"".join(b"\\u%04x" % each for each in b"classification")), {}, "/v2/models/x/infer"),
    "a path with another model's name in it": (classify(), {}, "/v2/models/audio/infer?/v2/models/image/infer"),
    "a path upwards": (classify(), {}, "/v2/models/image/../audio/infer"),
}


def test_classes_are_asked_of_models_of_numbers_only(spread):
    """The wheel's Triton divides by the size of an element to count classes: 0 for a text, and ends."""
    _, (port, *_) = spread
    for case, request in CLASSES_PASSED.items():
        assert post(port, *request) in {(200, "first"), (200, "second")}, case
    for case, request in CLASSES_DENIED.items():
        status, content = post(port, *request)
        assert status == 400 and "the proxy takes classification" in json.loads(content)["error"], case


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        (["gzip"], "gzip"),
        (["gzip, deflate, br"], "gzip, deflate, br"),
        (["gzip;q=1.0, deflate;q=0.5,*;q=0"], "gzip;q=1.0, deflate;q=0.5,*;q=0"),
        (["gzip;q=1e400"], ""),
        (["gzip;q=" + "9" * 400], ""),
        (["deflate, gzip ; q = 1e400"], ""),
        (["identity", "gzip;q=1e400"], ""),
        (["gzip;q=1e400", "identity"], ""),
    ],
)
def test_a_weight_that_is_no_number_for_the_wheels_triton_is_not_passed_on(spread, sent, passed):
    _, (port, *_) = spread
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/v2/models/image/infer", skip_accept_encoding=True)
    for value in sent:
        connection.putheader("Accept-Encoding", value)
    connection.putheader(LENGTH, "0")
    connection.putheader("Content-Length", "3")
    connection.endheaders(b"abc")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.headers["Weights"] == passed


def test_two_lengths_are_denied(spread):
    """Triton reads one of them, and who looks at the other one sees another JSON."""
    _, (port, *_) = spread
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/v2/models/image/infer")
    for length in ("0", str(len(HARMFUL))):
        connection.putheader(LENGTH, length)
    connection.putheader("Content-Length", str(len(HARMFUL)))
    connection.endheaders(HARMFUL)
    assert connection.getresponse().status == 400
