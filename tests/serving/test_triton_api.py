"""Laws of the client of Triton's control interface: whatever answers, the outcome is one line."""

import http.server
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from serving import Failure
from serving.server import Server, Unavailable
from serving.triton_api import Refused, TritonAPI, TritonGRPC, Unreachable
from tests.conftest import ROOT


@contextmanager
def answering(status: int, body: bytes):
    """The address of a server that answers everything so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"1", b"\xff\xfe", b'{"models": []}'])
def test_what_is_not_triton_is_unreachable_in_one_line(body):
    with answering(200, body) as address:
        with pytest.raises(Unreachable, match=r"^no answer from http://[^\n]+$"):
            TritonAPI(address).statistics()
        with pytest.raises(Unavailable, match=r"^no (Triton )?server answers (as Triton does )?at http://[^\n]+$"):
            Server(f"http://{address}", {}).statistics()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": "no such model\\n\\nAt:\\n  /a/b.py(1): f"}', "no such model"),
        (b'{"error": {"code": 5}}', "{'code': 5}"),
        (b"", "no reason given"),
        (b"<html>\nproxy</html>", "<html> proxy</html>"),
    ],
)
def test_a_refusal_is_repeated_in_one_line(body, reason):
    with answering(400, body) as address:
        with pytest.raises(Refused) as refused:
            TritonAPI(address).config("m")
        assert (refused.value.code, refused.value.reason) == (400, reason)
        assert str(refused.value) == f"/v2/models/m/config answered 400: {reason}"
        with pytest.raises(Unavailable, match="HTTP 400: "):
            Server(f"http://{address}", {}).get("/v2/models/m/config")


def test_a_page_that_is_no_metrics_is_unreachable_in_one_line():
    with answering(200, b"nv_gpu_utilization{gpu_uuid= 0.5") as address:
        with pytest.raises(Unreachable, match=r"^no answer from http://[^\n]+$"):
            TritonAPI(address).metrics()
        port = int(address.rpartition(":")[2])
        assert Server(f"http://{address}", {"metrics_port": port}).gpu() is None


GPUS = b"""\
# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.5
nv_gpu_utilization{gpu_uuid="GPU-2"} 0.25
# HELP nv_energy_consumption GPU energy consumption in joules since the Triton Server started
# TYPE nv_energy_consumption counter
nv_energy_consumption{gpu_uuid="GPU-1"} 100.5
nv_energy_consumption{gpu_uuid="GPU-2"} 1e2
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 2e9
nv_gpu_memory_used_bytes{gpu_uuid="GPU-2"} 1e9
"""


def test_energy_is_summed_over_gpus_and_utilisation_averaged():
    with answering(200, GPUS) as address:
        port = int(address.rpartition(":")[2])
        gpu = Server(f"http://{address}", {"metrics_port": port}).gpu()
        assert gpu == {"energy_joules": 200.5, "utilisation": 0.375, "memory_mb": 3000}
        assert Server(f"http://{address}", {}).gpu() is None


def test_a_counter_has_the_name_that_triton_gives_it(server):
    metrics = TritonAPI(f"127.0.0.1:{server.metrics_port}").metrics()
    models = {metric.labels["model"] for metric in metrics if metric.name == "nv_inference_request_success"}
    assert models >= {"image", "audio", "resnet50"}


def test_the_key_is_sent_where_it_is_needed_and_nowhere_else(server):
    running = Server.at(server.url, server.state)
    assert running.admin_api.index()["resnet50"] == "READY"
    with pytest.raises(Refused):
        running.api.index()


def test_over_grpc_a_refusal_is_one_line_too(server):
    grpc = TritonGRPC(f"127.0.0.1:{server.grpc_port}", server.admin_key)
    with pytest.raises(Failure, match=r"^[^\n]*no such model[^\n]*$"):
        grpc.load("no such model", "{}")


def test_the_launcher_needs_neither_gevent_nor_grpc():
    code = "import sys, serving.commands; sys.exit(bool({'gevent', 'grpc', 'numpy', 'loadgen'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
