"""A gateway: takes files by the Open Inference Protocol, prepares them as a client does, and asks the server.

    file -> [ gateway: decode, resize, normalise ] -> tensor -> [ server: network ] -> answer, passed on as it comes

It is what KServe calls a transformer, small: a thread for each connection, and as many preprocessors as it has cores.
`gateways` starts it as a process, with one JSON object as argument, and reads its port from the first line that it
prints. It ends with the process that started it.
"""

import ctypes
import json
import os
import queue
import signal
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from common import access
from common.messages import first_line, one_line
from loadgen.transport.http import Connection
from loadgen.transport.message import TIMED_OUT, Request, make_request
from workloads import catalogue, optional
from workloads.model_config import complete
from workloads.workload import Placement, Preprocessor, Workload

PR_SET_PDEATHSIG = 1  # prctl(2)
TIMEOUT = 120.0  # seconds for an answer of the server; the client's own deadline is shorter
PREFIX = 4  # bytes before an element of a BYTES tensor, which say its length


class Gateway(ThreadingHTTPServer):
    """Listens on a port of 127.0.0.1 (0: a free one), and answers requests to the model of the placement `server`."""

    daemon_threads, request_queue_size = True, 512

    def __init__(self, port: int, url: str, halves: tuple[Placement, Placement], library: str, workers: int):
        self.url, self.model = url, halves[1].model
        self.target = halves[0].target
        self.preprocessors: queue.SimpleQueue[Preprocessor] = queue.SimpleQueue()
        for _ in range(workers):
            self.preprocessors.put(halves[0].preprocessor(library))
        super().__init__(("127.0.0.1", port), Handler)

    def prepare(self, encoded: bytes) -> Request:
        """Prepare a file as soon as a preprocessor is free. Raises whatever comes of bytes that are none."""
        preprocess = self.preprocessors.get()
        try:
            return make_request(self.target, preprocess(encoded))
        finally:
            self.preprocessors.put(preprocess)

    def handle_error(self, request, client_address) -> None:
        """Let a connection go that its client has broken off."""


class Handler(BaseHTTPRequestHandler):
    """A connection of a client, with one of its own to the server."""

    server: Gateway
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm: ClassVar[bool] = True
    wbufsize = -1  # an answer is one system call

    def setup(self) -> None:
        """Open both ways."""
        super().setup()
        self.way = Connection(self.server.url, TIMEOUT)

    def finish(self) -> None:
        """Close both."""
        self.way.close()
        super().finish()

    def do_GET(self) -> None:
        """Answer whether it is there."""
        alive = self.path in ("/v2/health/live", "/v2/health/ready")
        self.answer(200 if alive else 404, b"" if alive else self.explain(f"it has no {self.path}"))

    def do_POST(self) -> None:
        """Prepare the file of a request, ask the server, and pass its answer on."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != f"/v2/models/{self.server.model}/infer":
            self.answer(404, self.explain(f"it has the model {self.server.model} only, and no {self.path}"))
            return
        try:
            request = self.server.prepare(read_file(body, int(self.headers.get("Inference-Header-Content-Length", 0))))
        except Exception as error:  # whatever a library makes of hostile bytes
            self.answer(400, self.explain(error))
            return
        self.way.answer = None
        outcome = self.way.post(request)
        if (answer := self.way.answer) is None:
            self.answer(504 if outcome.status == TIMED_OUT else 502, self.explain(f"the server: {outcome.reason}"))
            return
        passed = ("Content-Type", "Content-Encoding", "Inference-Header-Content-Length")
        headers = {name: answer.headers[key] for name in passed if (key := name.lower().encode()) in answer.headers}
        self.answer(answer.status, answer.body, {name: value.decode("latin-1") for name, value in headers.items()})

    def explain(self, reason: object) -> bytes:
        """Return the body of a refusal, as Triton writes it."""
        return json.dumps({"error": first_line(f"gateway: {reason}")}).encode()

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response_only(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Say nothing."""


def read_file(body: bytes, size: int) -> bytes:
    """Return the file of a request, whose JSON has `size` bytes, and its only tensor lies behind it.

    Raises ValueError for a request that is none.
    """
    try:
        [given] = json.loads(body[:size])["inputs"]
        datatype, length = given["datatype"], given["parameters"]["binary_data_size"]
    except (ValueError, KeyError, TypeError):
        raise ValueError("it takes one input, as bytes behind the JSON") from None
    if datatype not in ("UINT8", "BYTES") or length != len(body) - size:
        raise ValueError(f"it takes a file as UINT8 or BYTES, not {length} bytes of {datatype}")
    return body[size + PREFIX * (datatype == "BYTES") :]


def choose_halves(workload: Workload, url: str) -> tuple[Placement, Placement]:
    """Return who prepares and who gets files, with what the server at `url` says of their models.

    Raises ValueError where the two do not answer with the same outputs, and as `complete` does.
    """
    if not (halves := optional.find_halves(workload.bases)):
        raise ValueError(f"{workload.reference} has no placement that prepares, and one that sends files")
    names = [name for half in halves for name, each in workload.bases.items() if each is half]
    placements = complete(workload.with_arms(names), url, names).placements
    client, server = (placements[name] for name in names)
    if missing := set(server.outputs) - set(client.outputs):
        raise ValueError(f"{client.model} does not answer {', '.join(sorted(missing))}, which {server.model} does")
    return client, server


def serve(asked: dict, say: Callable[[str], object]) -> None:
    """Serve until the parent ends; `say` gets the port. Raises ValueError and OSError where it cannot start."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != asked["parent"]:  # it has ended before the line above
        return
    os.sched_setaffinity(0, asked["cores"])
    access.grant(asked["url"], *asked["access"])
    halves = choose_halves(catalogue.find(asked["workload"]), asked["url"])
    gateway = Gateway(asked["port"], asked["url"], halves, asked["library"], len(asked["cores"]))
    say(str(gateway.server_port))
    gateway.serve_forever()


if __name__ == "__main__":
    try:
        serve(json.loads(sys.argv[1]), lambda line: print(line, flush=True))
    except Exception as error:
        sys.exit(one_line(error))
