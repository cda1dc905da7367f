"""What servers of the Open Inference Protocol say of a model in forms of their own: it is read, or refused in one line.

MLServer and KServe describe no tensors of a model that nobody has described to them; others name a length "batch", or a
type as NumPy does.
"""

import contextlib
import gzip
import json
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tests.commands import conduct
from workloads.model_config import complete, read_model
from workloads.payloads import Payload
from workloads.tensors import Input
from workloads.workload import Placement, Workload

X = {"name": "x", "datatype": "FP32", "shape": [-1, 8]}
OUT = {"name": "y", "datatype": "FP32", "shape": [-1, 4]}


@contextlib.contextmanager
def serve(pages: dict, pack=lambda body: body, coding=""):
    """Yields the URL of a server that answers GET with this JSON by path, and 404 for any other one.

    `pack` makes the body of what is written, in the Content-Encoding `coding`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = pack(json.dumps(pages.get(self.path, {"detail": "Not Found"})).encode())
            self.send_response(200 if self.path in pages else 404)
            if coding:
                self.send_header("Content-Encoding", coding)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def read(metadata, config=None, batched=None):
    """Return what is read of a model with these metadata, and with what the server has in place of a configuration."""
    pages = {"/v2/models/net": metadata} | ({} if config is None else {"/v2/models/net/config": config[0]})
    with serve(pages) as url:
        return read_model(url, "net", "this test", batched)


@pytest.mark.parametrize(
    ("tensor", "datatype", "dims"),
    [
        (X, "FP32", (8,)),
        ({**X, "shape": ["-1", "8"]}, "FP32", (8,)),
        ({**X, "shape": ["batch", 8]}, "FP32", (8,)),
        ({**X, "shape": [None, 8]}, "FP32", (8,)),
        ({"name": "x", "datatype": "FP32"}, "FP32", None),
        ({**X, "shape": None}, "FP32", None),
        ({**X, "datatype": "float32"}, "", (8,)),
        ({**X, "datatype": None}, "", (8,)),
    ],
)
def test_what_is_not_the_protocols_is_not_known_and_the_rest_is(tensor, datatype, dims):
    found = read({"name": "net", "inputs": [tensor], "outputs": [OUT]})
    assert found.inputs == (Input("x", datatype, dims),) and found.outputs == ("y",)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)])
def test_what_a_proxy_has_compressed_is_read(coding, pack):
    with serve({"/v2/models/net": {"name": "net", "inputs": [X], "outputs": [OUT]}}, pack, coding) as url:
        assert read_model(url, "net", "this test").inputs == (Input("x", "FP32", (8,)),)
        with pytest.raises(ValueError, match=r'has no model nobody, which this test asks: \{"detail": "Not Found"\}'):
            read_model(url, "nobody", "this test")


def test_what_cannot_be_unpacked_is_one_line():
    with serve({}, lambda body: b"no gzip", "gzip") as url, pytest.raises(ConnectionError, match="unreadable answer: "):
        read_model(url, "net", "this test")


@pytest.mark.parametrize("config", [{"detail": "no such path"}, None, [], "page"])
def test_an_answer_that_describes_no_model_is_no_configuration(config):
    assert read({"inputs": [X], "outputs": [OUT]}, config=[config]).inputs == (Input("x", "FP32", (8,)),)


@pytest.mark.parametrize("inputs", [[{"datatype": "FP32"}], ["x"], [None]])
def test_a_tensor_without_a_name_is_one_line(inputs):
    with pytest.raises(ValueError, match="describes net by a tensor without a name: ") as refusal:
        read({"name": "net", "inputs": inputs})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("metadata", [{"name": "net", "inputs": [], "outputs": []}, {"name": "net"}])
def test_a_model_that_the_server_does_not_describe_is_described_by_the_workload(metadata):
    def make(**said) -> Workload:
        placement = Placement("net", lambda _: np.ones(8, "f4"), **said)
        return Workload(name="a", placements={"p": placement}, payloads=lambda: [Payload("f", b"1")], file="/x/mine.py")

    with serve({"/v2/models/net": metadata}) as url:
        whole = complete(make(inputs=(Input("x", "FP32", (8,)),), outputs=("y",), batched=True), url)
        [tensor] = whole.placements["p"].target.encode(np.ones(8, "f4"))
        assert (tensor.name, tensor.shape) == ("x", (1, 8)) and whole.placements["p"].outputs == ("y",)
        for said in ({}, {"inputs": ("x",)}, {"batched": True}):
            with pytest.raises(ValueError, match="must name its tensors, as the server does not describe net: inputs="):
                complete(make(**said), url)


def test_a_command_says_so_in_one_line(tmp_path, capsys):
    own = tmp_path / "mine.py"
    own.write_text(
        "from crossover import Payload, Placement, Workload\n"
        "WORKLOAD = Workload(name='mine', payloads=lambda: [Payload('f', b'1')],\n"
        "                    placements={'a': Placement('net'), 'b': Placement('net')})\n"
    )
    pages = {
        "/v2": {"name": "other", "version": "1", "extensions": []},
        "/v2/models/net": {"name": "net", "inputs": []},
    }
    with serve(pages) as url:
        code, _, errors = conduct(capsys, "check", own, "--url", url, "--state", tmp_path / "none")
    [line] = errors.splitlines()
    assert code == 2 and "placement 'a' of mine.py must name its tensors" in line
