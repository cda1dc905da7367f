"""A gateway: takes files by the Open Inference Protocol, prepares them as a client does, and asks the server.

    file -> [ gateway: decode, resize, normalise ] -> tensor -> [ server: network ] -> answer, passed on as it comes

It is what KServe calls a transformer, small: a thread for each connection, and as many preprocessors as it has cores.
`gateways` starts it as a process, with one JSON object as argument, and reads its port from the first line that it
prints. It ends with the process that started it.
"""

import ctypes
import json
import math
import os
import queue
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from common import access
from common.messages import first_line, one_line
from preprocess.limits import MAX_BYTES
from transport.http import Connection
from transport.message import TIMED_OUT, Request, make_request
from workloads import catalogue, optional
from workloads.model_config import complete
from workloads.workload import Placement, Preprocessor, Workload

PR_SET_PDEATHSIG = 1  # prctl(2)
TIMEOUT = 120.0  # seconds for an answer of the server; the client's own deadline is shorter
PREFIX = 4  # bytes before an element of a BYTES tensor, which say its length
MOST = MAX_BYTES + 2**16
"""Bytes of a body: the largest file that the server's own models take, and the JSON before it."""
LEFTOVER, PAUSE = 2 * MOST, 2.0
"""Bytes, and seconds without any, in which what follows a refusal is thrown away."""


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

    def handle_expect_100(self) -> bool:
        """Let a client send its body that waits to be told so: curl does for a second, others for good."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def do_GET(self) -> None:
        """Answer whether it is there."""
        if self.read_body(required=False) is None:
            return
        alive = self.path in ("/v2/health/live", "/v2/health/ready")
        self.answer(200 if alive else 404, b"" if alive else self.explain(f"it has no {self.path}"))

    def do_POST(self) -> None:
        """Prepare the file of a request, ask the server, and pass its answer on."""
        if (body := self.read_body()) is None:
            return
        if self.path != f"/v2/models/{self.server.model}/infer":
            self.answer(404, self.explain(f"it has the model {self.server.model} only, and no {self.path}"))
            return
        try:
            request = self.server.prepare(read_file(body, self.headers.get("Inference-Header-Content-Length")))
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

    def read_body(self, required: bool = True) -> bytes | None:
        """Return the body of a request; None if it has been refused, or broke off.

        The connection is then closed: where the body ends is not known, and what follows is no request.
        """
        lengths = set(self.headers.get_all("Content-Length", [] if required else ["0"]))
        length = lengths.pop() if len(lengths) == 1 else ""
        if "Transfer-Encoding" in self.headers:
            self.refuse(501, "it reads no Transfer-Encoding; send the body whole, with a Content-Length")
        elif self.headers.defects:
            self.refuse(400, "its headers are no headers of HTTP")
        elif not length and not lengths:
            self.refuse(411, "a request needs a Content-Length")
        elif lengths or not (length.isascii() and length.isdigit()):
            self.refuse(400, f"its Content-Length is no number: {', '.join([*lengths, length])}")
        elif len(length.lstrip("0")) > len(str(MOST)) or int(length) > MOST:
            self.refuse(413, f"a body of {length[:20]} bytes: {MOST} are the most, with a file of {MAX_BYTES}")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True
        return None

    def refuse(self, status: int, reason: str) -> None:
        """Answer a request whose end is not known, or far away, and close the connection.

        What the client still sends is thrown away for a while: a connection that is closed with unread bytes is reset,
        and the answer lost.
        """
        self.close_connection = True
        self.answer(status, self.explain(reason), {"Content-Type": "application/json", "Connection": "close"})
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(PAUSE)
        left = LEFTOVER
        with suppress(OSError):
            while left > 0 and (piece := self.rfile.read1(2**16)):
                left -= len(piece)

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


def read_file(body: bytes, json_size: str | None) -> bytes:
    """Return the file of a request: its only tensor, behind so many bytes of JSON.

    Without JSON (a size of 0, Triton's raw form) the whole body is the file. Raises ValueError for a request that is
    none.
    """
    number = json_size is None or (json_size.isascii() and json_size.isdigit() and len(json_size) < 20)
    if not number or int(json_size or 0) > len(body):
        raise ValueError(f"its Inference-Header-Content-Length is {json_size!r:.40}, of a body of {len(body)} bytes")
    if json_size is not None and int(json_size) == 0:
        return body
    size = int(json_size or 0)
    try:
        [given] = json.loads(body[:size])["inputs"]
        datatype, shape, length = given["datatype"], given["shape"], given["parameters"]["binary_data_size"]
        elements, last = math.prod(shape), shape[-1:]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("it takes one input, as bytes behind the JSON") from None
    if datatype not in ("UINT8", "BYTES") or length != len(body) - size:
        raise ValueError(f"it takes a file as UINT8 or BYTES, not {length} bytes of {datatype}")
    if datatype == "BYTES":
        file = body[size + PREFIX :]
        whole = elements == 1 and int.from_bytes(body[size : size + PREFIX], "little") == len(file)
    else:
        file = body[size:]
        whole = last == [elements] and elements == len(file)
    if not whole:
        raise ValueError(f"it takes one file a request, not {datatype} of shape {shape} in {length} bytes")
    return file


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
