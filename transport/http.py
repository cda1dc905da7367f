"""One request over Triton's HTTP protocol (KServe v2 with the binary-tensor extension), from a real OS thread.

The tensors' bytes go through a blocking socket and are never copied: for a tensor of 602 KB gevent's non-blocking sends
cost more than everything else.
"""

import socket
import ssl
import struct
import time
from contextlib import suppress

import httptools
import numpy as np

from common import access, address, tls
from common.content_coding import decode
from common.messages import first_line
from common.real_threads import Socket, getaddrinfo
from transport.http_answer import Answer, judge_answer
from transport.http_head import write_head
from transport.message import FAILED, TIMED_OUT, Outcome, Request
from transport.outputs import read_body
from transport.tls import Encryption

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
        self._placed: tuple[tuple[str, int], ...] = ()
        """Outputs that do not come over this connection, as (name, bytes)."""

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
        return judge_answer(answer.status, answer.headers, answer.body, request.outputs, bytes_up, self._placed)

    def _write(self, request: Request) -> tuple[tuple[bytes, bytes], list[bytes | memoryview], int]:
        """Return what is sent: (HTTP's first line, its other headers and the JSON), the tensors, the body's size."""
        head, size = write_head(request.model, tuple(tensor.spec for tensor in request.tensors), request.outputs)
        return head, [piece for tensor in request.tensors for piece in tensor.pieces], size

    def _begin(self, line: bytes) -> bytes:
        """Return HTTP's first line with the path of a proxy before Triton's, and the headers of this connection."""
        return line.replace(b"/", self._prefix + b"/", 1) + self._fixed

    def _exchange(self, pieces: list[bytes | memoryview]) -> Answer:
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

    def _receive(self, answer: Answer) -> None:
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
