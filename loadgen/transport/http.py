"""One request over Triton's HTTP protocol (KServe v2 with the binary-tensor extension), from a real OS thread.

The tensors' bytes go through a blocking socket and are never copied: for a tensor of 602 KB gevent's non-blocking sends
cost more than everything else. httptools (llhttp) parses the answer: it imports no gevent, as tritonclient's HTTP
client and its geventhttpclient do, and takes 2 us for an answer where they take 10, http.client 24 and h11 39.
"""

import json
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

import httptools
import numpy as np

from common import access, address, tls
from common.messages import LONGEST, first_line
from loadgen.real_threads import Socket, getaddrinfo
from loadgen.transport.message import COMPLETED, FAILED, REJECTED, TIMED_OUT, Outcome, Request
from loadgen.transport.outputs import read_body
from loadgen.transport.tls import Encryption

BLOCK = 1 << 16  # bytes read at once
BYTES_ACKED = 120  # offset of tcpi_bytes_acked, 8 bytes, in Linux's struct tcp_info
IDLE = "the server closed the idle connection while a request was on its way, and may have read it: not sent again"


class Connection:
    """A keep-alive connection to the server at `url`, for one thread; see `message` for the interface.

    It is opened by the first `post`, and again by the next one after it was lost. Another thread may `close` it, which
    wakes a `post` that waits. TLS and login are those that were granted to the server (`access.grant`). Raises
    ValueError for an address that is refused (see `address.parse`).
    """

    def __init__(self, url: str, timeout: float):
        server = address.parse(url)
        self._server, self._timeout = server, timeout
        self._access, self._prefix = access.find(server), server.prefix.encode()
        fixed = {"Host": server.host_header, **self._access.headers}
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in fixed.items()).encode()
        self._socket: socket.socket | None = None
        self._tls: Encryption | None = None  # None without TLS
        self._sent = 0  # bytes that this socket's kernel has taken
        self.answer: Answer | None = None
        """The last whole answer; `read_outputs` reads its tensors."""
        self._socket_timeout = self._deadline = 0.0

    def post(self, request: Request) -> Outcome:
        """Send the request and wait for the whole answer, at most `timeout` seconds.

        Only status 200 with the outputs that were asked for is completed; 503 and 429 are rejected. No exception leaves
        this method but KeyboardInterrupt and its like.
        """
        self._deadline = time.monotonic() + self._timeout
        bytes_up = 0
        try:
            (line, headers), body, bytes_up = self._write(request)
            self.answer = answer = self._exchange([self._begin(line), headers, *body])
        except (BlockingIOError, TimeoutError):
            self.close()
            return Outcome(TIMED_OUT, f"no answer within {self._timeout:g} s", bytes_up)
        except httptools.HttpParserError as error:
            self.close()
            if isinstance(error.__context__, KeyboardInterrupt):  # it came during one of the parser's callbacks
                raise error.__context__ from None
            return Outcome(FAILED, first_line(f"not an HTTP answer: {error.__context__ or error}"), bytes_up)
        except ssl.SSLError as error:
            self.close()
            return Outcome(FAILED, first_line(tls.explain(error)), bytes_up)
        except Exception as error:  # whatever a broken server or network does becomes an outcome
            self.close()
            return Outcome(FAILED, first_line(f"{type(error).__name__}: {error}"), bytes_up)
        return judge_answer(answer.status, answer.headers, answer.body, request.outputs, bytes_up)

    def _write(self, request: Request) -> tuple[tuple[bytes, bytes], list[bytes | memoryview], int]:
        """Return what is sent: (HTTP's first line, its other headers and the JSON), the tensors, the body's size."""
        head, size = write_head(request.model, tuple(tensor.spec for tensor in request.tensors), request.outputs)
        return head, [piece for tensor in request.tensors for piece in tensor.pieces], size

    def _begin(self, line: bytes) -> bytes:
        """Return HTTP's first line with the path of a proxy before Triton's, and the headers of this connection."""
        return line.replace(b"/", self._prefix + b"/", 1) + self._fixed

    def _exchange(self, pieces: list[bytes | memoryview]) -> "Answer":
        """Send a request and read its answer.

        A kept connection may be closed by the server at this very moment. The request is then sent again, once and on
        another one, if the server cannot have read it: this kernel did not take all of it, or the server's end of the
        connection came and acknowledged not one byte of it. Otherwise ConnectionError says IDLE: RFC 9110, section
        9.2.2, forbids to repeat what may have been executed.
        """
        answer, kept, handed_over = Answer(), self._connect(), False
        before = self._sent
        try:
            self._send(pieces)
            handed_over = True
            self._receive(answer)
        except ConnectionError as error:
            # Without a socket, another thread has closed the connection.
            if not kept or answer.has_begun or self._socket is None:
                raise
            # The types below ConnectionError are resets; Linux does not count what a reset acknowledges.
            ended_before = type(error) is ConnectionError and self._count_acknowledged() == before
            if handed_over and not ended_before:
                raise ConnectionError(IDLE) from None
            self.close()
            return self._exchange(pieces)
        if not answer.keeps_alive:
            self.close()
        return answer

    def _count_acknowledged(self) -> int:
        """Return how many bytes sent on this socket the other end's kernel has acknowledged."""
        info = self._require_socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED + 8)
        return struct.unpack_from("@Q", info, BYTES_ACKED)[0] - 1  # the connection's SYN counts as a byte

    def _connect(self) -> bool:
        """Keep the connection if the server has kept it; open another one otherwise. Returns whether it was kept."""
        if self._socket is not None:
            if self._is_idle(self._socket):
                return True
            self.close()
        host = self._server.host
        error = OSError(f"{host} has no address")
        for family, kind, protocol, _, server in getaddrinfo(host, self._server.port, type=socket.SOCK_STREAM):
            self._socket, self._socket_timeout, self._sent = Socket(family, kind, protocol), 0.0, 0
            try:
                connection = self._require_socket()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._set_socket_timeout()  # connect(2) heeds it, too
                connection.connect(server)
                if self._server.scheme == "https":
                    self._begin_tls()
                return False
            except OSError as failure:
                self.close()
                error = failure
        raise error

    def _is_idle(self, connection: socket.socket) -> bool:
        """Return whether a kept connection is there, and in step: nothing of an answer is left to be read."""
        try:
            if (encryption := self._tls) is None:
                connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                return False
            # TLS sends of its own accord, too: tickets for later connections.
            while not encryption.has_ended and not encryption.decrypt(connection.recv(BLOCK, socket.MSG_DONTWAIT)):
                pass
        except BlockingIOError:
            return True  # nothing to read
        except OSError:
            pass
        return False

    def _begin_tls(self) -> None:
        """Agree on keys with the server, and check its certificate. Raises SSLError and other OSErrors."""
        encryption = Encryption(self._access.context, self._server.host.rstrip("."))
        encryption.shake_hands(self._send_all, self._read_some)
        self._tls = encryption

    def _send(self, pieces: list[bytes | memoryview]) -> None:
        """Send everything in one system call if the kernel takes it, and the rest piece by piece."""
        if (encryption := self._tls) is not None:
            pieces = [encryption.encrypt(pieces)]
        self._set_socket_timeout()
        count = self._require_socket().sendmsg(pieces)
        self._sent += count
        if count < sum(map(len, pieces)):
            self._send_all(memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))[count:])

    def _send_all(self, rest: bytes | memoryview) -> None:
        """Send bytes as they are, in as many system calls as it takes."""
        while rest:
            self._set_socket_timeout()
            count = self._require_socket().send(rest)
            self._sent, rest = self._sent + count, rest[count:]

    def _receive(self, answer: "Answer") -> None:
        """Read until the answer is whole. Raises HttpParserError, ConnectionError, TimeoutError and other OSErrors."""
        while not answer.complete:
            data = self._read()
            if not data and not answer.ends_with_connection:
                raise ConnectionError(f"closed by the server {'in its' if answer.has_begun else 'without an'} answer")
            answer.feed(data)

    def _read(self) -> bytes:
        """Return the next bytes that the server wrote; none at the end of the connection."""
        if (encryption := self._tls) is None:
            return self._read_some()
        data = b""
        while not data and not encryption.has_ended:
            data = encryption.decrypt(self._read_some())
            self._send_all(encryption.take())
        return data

    def _read_some(self) -> bytes:
        """Return the next bytes on the wire; none at the end of the connection."""
        self._set_socket_timeout()
        return self._require_socket().recv(BLOCK)

    def _set_socket_timeout(self) -> None:
        """Let the kernel end a blocking call at the deadline, which costs no second system call.

        Raises TimeoutError if the deadline has passed. A timeout that is less than 10 ms too long is left as it is.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if not 0 <= self._socket_timeout - left < 0.01:
            self._socket_timeout = left
            timeval = struct.pack("@ll", int(left), min(999_999, int(left % 1 * 1e6) + 1))
            connection = self._require_socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)

    def _require_socket(self) -> socket.socket:
        """Return the open socket. Raises ConnectionError if another thread has closed the connection meanwhile."""
        if (connection := self._socket) is None:
            raise ConnectionError("the connection was closed")
        return connection

    def read_outputs(self) -> dict[str, np.ndarray]:
        """Return the tensors of the last whole answer, by name, binary ones and those in its JSON; none without any.

        Raises whatever comes of one that is malformed.
        """
        if (answer := self.answer) is None:
            return {}
        content = decode(answer.body, answer.headers.get(b"content-encoding", b""))
        return read_body(content, int(answer.headers.get(b"inference-header-content-length", len(content))))

    def close(self) -> None:
        """Close the connection, if there is one; the next `post` opens another."""
        connection, self._socket, self._tls = self._socket, None, None
        if connection is not None:
            with suppress(OSError):  # it was not connected
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


class Answer:
    """One HTTP answer while it is read: `feed` takes bytes as they come until `complete`.

    The methods `on_...` are httptools' callbacks; an error raised in one reaches `feed`'s caller as HttpParserError.
    """

    def __init__(self):
        self.complete = self.has_begun = False
        self.ends_with_connection = False
        """Whether the end of the connection is the only end that its body has."""
        self.keeps_alive = False
        """Whether the server takes another request on this connection."""
        self.headers: dict[bytes, bytes] = {}
        """By name, in small letters."""
        self._parser, self._body = httptools.HttpResponseParser(self), []

    @property
    def status(self) -> int:
        """The status code."""
        return self._parser.get_status_code()

    @property
    def body(self) -> bytes:
        """The body, as far as it has been read."""
        return b"".join(self._body)

    def feed(self, data: bytes) -> None:
        """Take the next bytes; none at the end of the connection.

        Raises HttpParserError if they are no HTTP, or more than one answer.
        """
        self.has_begun, self.complete = True, self.complete or not data
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request; forget an interim one."""
        if self.complete:
            raise ValueError("there is more behind the answer")
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header."""
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Note whether the body says where it ends (RFC 9112, section 6.3)."""
        delimited = self.headers.keys() & {b"content-length", b"transfer-encoding"}
        self.ends_with_connection = self.status >= 200 and not delimited

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Note that the answer is whole, unless it is an interim one (below 200), which the final one follows."""
        self.complete, self.keeps_alive = self.status >= 200, self._parser.should_keep_alive()


@lru_cache(4096)
def write_head(
    model: str, specs: tuple[tuple[str, str, tuple[int, ...], int], ...], outputs: tuple[str, ...]
) -> tuple[tuple[bytes, bytes], int]:
    """Write what precedes the tensors: (HTTP's first line, its other headers and the JSON), and the body's whole size.

    `specs` are those of the tensors. The connection's own headers, Host and a login, go between the two. All tensors of
    a shape and type have the same head; clips of each length get an entry of the cache. The JSON is tritonclient's,
    byte for byte.
    """
    size = sum(spec[3] for spec in specs)
    inference = {
        "inputs": [
            {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": length}}
            for name, datatype, shape, length in specs
        ],
        "outputs": [{"name": output, "parameters": {"binary_data": True}} for output in outputs],
    }
    return join_head(model, inference, size)


def join_head(model: str, inference: dict, binary: int) -> tuple[tuple[bytes, bytes], int]:
    """Return what `write_head` does for the JSON of a request, which so many bytes of tensors follow."""
    text = json.dumps(inference, separators=(",", ":")).encode()
    # The connection's headers stand before these: the head is cached for all connections.
    headers = (
        "Content-Type: application/octet-stream\r\n"
        f"Content-Length: {len(text) + binary}\r\nInference-Header-Content-Length: {len(text)}\r\n\r\n"
    )
    return (f"POST /v2/models/{model}/infer HTTP/1.1\r\n".encode(), headers.encode() + text), len(text) + binary


def judge_answer(
    status: int, headers: Mapping[bytes, bytes], body: bytes, outputs: tuple[str, ...], bytes_up: int = 0
) -> Outcome:
    """Decide what a whole answer is worth: completed only with status 200, all outputs, and as many bytes as it says.

    `headers` are by name in small letters; without Inference-Header-Content-Length the whole body is JSON.
    """

    def end(outcome: str, reason: str = "") -> Outcome:
        return Outcome(outcome, reason, bytes_up, len(body))

    try:
        content = decode(body, headers.get(b"content-encoding", b""))
        if status != 200:
            refused = REJECTED if status in (429, 503) else FAILED
            return end(refused, f"HTTP {status}: {explain_refusal(status, headers, content)}")
        json_size = headers.get(b"inference-header-content-length")
        size = int(json_size) if json_size else len(content)
        # A body that is JSON altogether holds the numbers, too, and does not come again.
        names, binary = (read_outputs if json_size else read_outputs.__wrapped__)(content[:size])
        missing = set(outputs) - names
    except Exception as error:
        return end(FAILED, first_line(f"unreadable answer: {type(error).__name__}: {error}"))
    if missing:
        return end(FAILED, f"the answer lacks {', '.join(sorted(missing))}")
    if size + binary != len(content):
        return end(FAILED, f"the answer has {len(content)} bytes, its header says {size + binary}")
    return end(COMPLETED)


def decode(body: bytes, coding: bytes) -> bytes:
    """Undo the Content-Encoding of a body. Raises ValueError or zlib.error if that is not known or the body not whole.

    None is asked for, but a proxy may compress nevertheless.
    """
    if coding.lower() in (b"gzip", b"x-gzip", b"deflate"):
        return zlib.decompress(body, zlib.MAX_WBITS + 32)  # of either kind
    if coding.lower() not in (b"", b"identity"):
        raise ValueError(f"its content-encoding is {coding.decode('latin-1')}; gzip and deflate are read")
    return body


@lru_cache(256)
def read_outputs(text: bytes) -> tuple[frozenset[str], int]:
    """Read an answer's JSON: (names of outputs, bytes of their tensors). A model repeats it from answer to answer."""
    outputs = json.loads(text)["outputs"]
    binary = sum(output.get("parameters", {}).get("binary_data_size", 0) for output in outputs)
    return frozenset(output["name"] for output in outputs), binary


def explain_refusal(status: int, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """Return in one line why a request was refused: where it is redirected to, or the text of an error.

    That is of Triton's JSON, or whatever stands there.
    """
    if 300 <= status < 400 and b"location" in headers:
        place = headers[b"location"].decode("utf-8", "replace")
        return first_line(f"redirected to {place}; no redirect is followed: give the right address as --url")
    try:
        return first_line(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError, IndexError):
        return first_line(body[:LONGEST].decode("utf-8", "replace"))
