"""One request over Triton's HTTP protocol (KServe v2 with the binary-tensor extension), from a real OS thread.

tritonclient writes the request's JSON and geventhttpclient parses the response, as they do for each other. The bytes
in between go through a blocking socket and are never copied: for a tensor of 602 KB gevent's non-blocking sends cost
more than everything else. It makes the instants `prepared` and `sent` mean what they say.
"""

import json
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from gevent.monkey import get_original
from geventhttpclient.response import HTTPParseError, HTTPSocketResponse
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from common import address
from common.messages import LONGEST, first_line
from loadgen.samples.sample import COMPLETED, FAILED, REJECTED, TIMED_OUT

Socket, getaddrinfo = get_original("socket", ["socket", "getaddrinfo"])  # Locust patches these for its own greenlets
BLOCK = 1 << 16  # bytes read at once


@dataclass(frozen=True)
class Request:
    """What is sent, apart from the host: `head` is HTTP's and the inference's, `tensor` the input as it lies there."""

    path: str
    head: bytes
    json_size: int
    tensor: memoryview

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return self.json_size + len(self.tensor)


@dataclass(frozen=True)
class Outcome:
    status: str
    reason: str = ""
    bytes_down: int = 0


def request(model: str, name: str, tensor: np.ndarray, outputs: tuple[str, ...]) -> Request:
    """An inference request with one input and a batch of one; `tensor` has no batch dimension."""
    path, head, json_size = _head(model, name, tensor.dtype.str, tensor.shape, outputs)
    flat = np.ascontiguousarray(tensor).reshape(-1)
    return Request(path, head, json_size, memoryview(flat.view(np.uint8)))


@lru_cache(4096)
def _head(model, name, dtype, shape, outputs) -> tuple[str, bytes, int]:
    """The same for every tensor of a shape, so written once; of clips there are as many as lengths."""
    batch = InferInput(name, [1, *shape], np_to_triton_dtype(np.dtype(dtype)))
    batch.set_data_from_numpy(np.zeros([1, *shape], dtype))
    wanted = [InferRequestedOutput(output) for output in outputs]
    body, json_size = InferenceServerClient.generate_request_body([batch], outputs=wanted)
    path = f"/v2/models/{model}/infer"
    json_size = len(body) if json_size is None else json_size
    headers = (
        "Content-Type: application/octet-stream\r\n"
        f"Content-Length: {len(body)}\r\nInference-Header-Content-Length: {json_size}\r\n\r\n"
    )
    return path, headers.encode() + bytes(body[:json_size]), json_size


class Connection:
    """A keep-alive connection to one server, for one thread. Another one may `close` it, which wakes this one."""

    def __init__(self, url: str, timeout: float):
        server = address.parse(url)
        self._address, self._timeout = (server.host, server.port), timeout
        self._host = f"Host: {server.authority}\r\n".encode()
        self._socket, self._limit, self._deadline = None, 0.0, 0.0

    def post(self, request: Request, outputs: tuple[str, ...]) -> Outcome:
        """Send it and wait for the whole answer, at most `timeout` seconds. Never raises for what a server does."""
        self._deadline, self._began = time.monotonic() + self._timeout, False
        try:
            self._connect()
            self._send(request)
            response = HTTPSocketResponse(self, BLOCK, "POST")
            body = response.read()
        except (BlockingIOError, TimeoutError):
            self.close()
            return Outcome(TIMED_OUT, f"no answer within {self._timeout:g} s")
        except HTTPParseError as error:
            self.close()
            return Outcome(FAILED, first_line(f"not an HTTP answer: {error.args[0] if error.args else error}"))
        except Exception as error:  # whatever a broken server or network does becomes a sample
            self.close()
            return Outcome(FAILED, first_line(f"{type(error).__name__}: {error}"))
        return outcome(response.status_code, response.get("Inference-Header-Content-Length"), body, outputs)

    def _connect(self) -> None:
        """Keep the connection if the server has, so that no request is ever sent twice."""
        if self._socket is not None:
            try:
                self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return  # nothing to read: still there, and in step
            except OSError:
                pass
            self.close()
        error = None
        for family, kind, protocol, _, place in getaddrinfo(*self._address, type=socket.SOCK_STREAM):
            self._socket, self._limit = Socket(family, kind, protocol), 0.0
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._allow()  # holds for connect(2), too
                self._socket.connect(place)
                return
            except OSError as failure:
                self.close()
                error = failure
        raise error

    def _send(self, request: Request) -> None:
        start = f"POST {request.path} HTTP/1.1\r\n".encode() + self._host
        self._allow()
        sent = self._socket.sendmsg((start, request.head, request.tensor))
        if sent < len(start) + len(request.head) + len(request.tensor):
            rest = memoryview(b"".join((start, request.head, request.tensor)))[sent:]
            while rest:
                self._allow()
                rest = rest[self._socket.send(rest) :]

    def recv(self, size: int) -> bytes:
        """For the response's parser."""
        self._allow()
        data = self._socket.recv(size)
        if not data:
            raise ConnectionError(f"closed by the server {'in its answer' if self._began else 'without an answer'}")
        self._began = True
        return data

    def _allow(self) -> None:
        """Let the kernel wait for no longer than is left; blocking calls need no second system call then."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if not 0 <= self._limit - left < 0.01:
            self._limit = left
            limit = struct.pack("@ll", int(left), min(999_999, int(left % 1 * 1e6) + 1))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):  # was not connected
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def outcome(status: int, json_size: str | None, body: bytes, outputs: tuple[str, ...]) -> Outcome:
    if status != 200:
        kind = REJECTED if status == 503 else FAILED
        return Outcome(kind, f"HTTP {status}: {reason(body)}", len(body))
    try:
        size = int(json_size) if json_size else len(body)
        names, binary = _answered(body[:size])
        missing = set(outputs) - names
    except Exception as error:
        return Outcome(FAILED, first_line(f"unreadable answer: {type(error).__name__}: {error}"), len(body))
    if missing:
        return Outcome(FAILED, f"the answer lacks {', '.join(sorted(missing))}", len(body))
    if size + binary != len(body):
        return Outcome(FAILED, f"the answer has {len(body)} bytes, its header says {size + binary}", len(body))
    return Outcome(COMPLETED, "", len(body))


@lru_cache(256)
def _answered(header: bytes) -> tuple[frozenset[str], int]:
    """(names of the outputs, bytes behind it) by an answer's JSON, which a model repeats from answer to answer."""
    outputs = json.loads(header)["outputs"]
    binary = sum(output.get("parameters", {}).get("binary_data_size", 0) for output in outputs)
    return frozenset(output["name"] for output in outputs), binary


def reason(body: bytes) -> str:
    try:
        return first_line(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError, IndexError):
        return first_line(body[:LONGEST].decode("utf-8", "replace"))
