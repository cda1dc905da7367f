"""An answer of HTTP: its bytes as they are read, and what a whole one is worth.

httptools (llhttp) parses it: it imports no gevent, as tritonclient's HTTP client and its geventhttpclient do, and takes
2 us for an answer where they take 10, http.client 24 and h11 39.
"""

import json
from collections.abc import Mapping

import httptools

from common.content_coding import decode
from common.messages import LONGEST, first_line
from transport.answer_check import Unreadable, check_texts, read_head
from transport.message import COMPLETED, FAILED, REJECTED, Outcome


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


def judge_answer(
    status: int,
    headers: Mapping[bytes, bytes],
    body: bytes,
    outputs: tuple[str, ...],
    bytes_up: int = 0,
    placed: tuple[tuple[str, int], ...] = (),
) -> Outcome:
    """Decide what a whole answer is worth: completed only with status 200 and a readable tensor for each output.

    `headers` are by name in small letters; without Inference-Header-Content-Length the whole body is JSON. `outputs`
    are the names that were asked for; `placed` are those that come through shared memory, as (name, bytes). 429 and 503
    are rejected, all else has failed. Raises nothing: what cannot be read is a failure with its reason.
    """

    def end(outcome: str, reason: str = "") -> Outcome:
        return Outcome(outcome, reason, bytes_up, len(body))

    try:
        content = decode(body, headers.get(b"content-encoding", b""))
        if status != 200:
            refused = REJECTED if status in (429, 503) else FAILED
            return end(refused, f"HTTP {status}: {explain_refusal(status, headers, content)}")
        json_size = headers.get(b"inference-header-content-length")
        size = read_size(json_size) if json_size else len(content)
        # A body that is JSON altogether holds the numbers, too, and does not come again.
        head = (read_head if json_size else read_head.__wrapped__)(content[:size], outputs, placed)
        if size + head.binary != len(content):
            return end(FAILED, f"the answer has {len(content)} bytes, its header says {size + head.binary}")
        if head.texts:
            check_texts(head, content[size:])
    except Unreadable as error:
        return end(FAILED, first_line(error))
    except Exception as error:
        return end(FAILED, first_line(f"unreadable answer: {type(error).__name__}: {error}"))
    return end(COMPLETED)


def read_size(header: bytes) -> int:
    """Return Inference-Header-Content-Length as a number. Raises Unreadable if it is none."""
    if not header.isdigit():
        raise Unreadable(f"unreadable answer: its Inference-Header-Content-Length is {header.decode('latin-1')!r}")
    return int(header)


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
