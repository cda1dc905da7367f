"""TLS between a connection and its socket: it turns bytes into records and back, and sends nothing itself.

So the connection keeps its blocking socket with the kernel's timeouts, and gevent, which Locust puts in the place of
`ssl.SSLSocket`, has no part in it. OpenSSL encrypts outside of Python's lock.
"""

import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress

BLOCK = 1 << 16  # bytes of plain text that are read at once
SMALL = 1 << 14  # bytes: pieces below share a record, which holds no more


class Encryption:
    """One TLS connection to the host of that name, as bytes that come and go. Its methods raise ssl.SSLError."""

    def __init__(self, context: ssl.SSLContext, host: str):
        self._received, self._ready = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._ready, server_hostname=host)
        self.has_ended = False
        """Whether the other end has said that nothing more will come."""

    def shake_hands(self, send: Callable[[bytes], None], receive: Callable[[], bytes]) -> None:
        """Agree on keys, and check the certificate. `receive` returns bytes, none at the connection's end.

        Raises ConnectionError if the other end hangs up.
        """
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                send(self.take())
                if not (data := receive()):
                    raise ConnectionError("closed by the server during the TLS handshake") from None
                self._received.write(data)
            except ssl.SSLError:
                with suppress(OSError):  # an alert, which tells the other end why
                    send(self.take())
                raise
        send(self.take())

    def encrypt(self, pieces: Iterable[bytes | memoryview]) -> bytes:
        """Return what is to be sent for these pieces."""
        small: list[bytes | memoryview] = []
        for piece in pieces:
            if len(piece) < SMALL:
                small.append(piece)
                continue
            self._write(b"".join(small))
            small = []
            self._write(piece)
        self._write(b"".join(small))
        return self.take()

    def _write(self, data: bytes | memoryview) -> None:
        """Encrypt bytes into as many records as they need; none make none."""
        if len(data):
            self._tls.write(data)

    def decrypt(self, data: bytes) -> bytes:
        """Return the plain text of what was received, as far as it is whole; no data means that the connection ended.

        Raises ConnectionError for an end that was not announced: anyone on the way could have cut the connection.
        """
        if data:
            self._received.write(data)
        else:
            self._received.write_eof()
        parts = []
        try:
            while part := self._tls.read(BLOCK):
                parts.append(part)
            self.has_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.has_ended = True
        except ssl.SSLEOFError:
            raise ConnectionError("closed without TLS's own end") from None
        return b"".join(parts)

    def take(self) -> bytes:
        """Return what TLS itself has to send, such as its answer to a change of keys; mostly nothing."""
        return self._ready.read()
