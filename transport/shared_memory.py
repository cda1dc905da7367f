"""One request whose tensors lie in system shared memory; HTTP carries the rest. Client and server share a machine.

Each connection has one region: the tensors of its request lie in it, and behind them room for large outputs of one
size. It is registered with the server once, and replaced where a request needs more room than any before. Nothing is
read or written by another process than the server while a request is in flight, as a connection has one at a time.

A tensor that the last request of the connection had, too, is not written again, if it lies in memory that nobody can
write to: as with one payload, prepared before the run. Of several payloads each is written as it is sent, as a new
picture would be. A region for each of them would be one per payload and connection, for requests that no client of
new pictures has.
"""

import json
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from common.content_coding import decode
from common.messages import first_line
from transport import http
from transport.http_answer import explain_refusal
from transport.http_head import join_head
from transport.message import COMPLETED, Outcome, Request
from transport.outputs import read_body
from transport.regions import FOLDER, PREFIX, Region
from workloads.transport_choice import Transport

STEP = 64  # bytes to whose multiples tensors are aligned
BASE = "/v2/systemsharedmemory"
PATIENCE = 1.0  # seconds for the server to take a region back
UNKNOWN = "Unable to find shared memory region"  # what a server says that was started again
IN_USE = "currently in use"  # and one that has requests whose tensors lie there; Triton counts them since 2.51


class Refused(Exception):
    """The server did not do what was asked of its shared memory; the message is its own."""


class Connection(http.Connection):
    """A connection and its region, for one thread; see `message` for the interface."""

    def __init__(self, url: str, timeout: float, transport: Transport):
        super().__init__(url, timeout)
        self._transport, self._base = transport, url
        self._region: Region | None = None
        self._is_registered = self._in_flight = False
        # Of the last request: its model, tensors and outputs; where tensors begin, and all end; where outputs lie, as
        # name -> (begin, end); and what is sent.
        self._kind: tuple | None = None
        self._offsets: list[int] = []
        self._end = 0
        self._results: dict[str, tuple[int, int]] = {}
        self._head: tuple[tuple[bytes, bytes], int] | None = None

    def post(self, request: Request) -> Outcome:
        """Put the tensors into the region, send the request, and wait for the whole answer.

        What the server says of the region counts as its answer: it is registered with the first request. After an
        outcome other than an answer the server may still use the region, so that the next request gets another one.
        """
        self._in_flight = True
        outcome = super().post(request)
        if UNKNOWN in outcome.reason:  # nothing was computed
            self._is_registered = False
            outcome = super().post(request)
        if outcome.status != COMPLETED and not outcome.reason.startswith("HTTP "):
            self._leave_region()
        self._in_flight = False
        return outcome

    def _write(self, request: Request) -> tuple[tuple[bytes, bytes], list[bytes | memoryview], int]:
        """Put the tensors into the region. Returns what is sent: no tensor. Raises OSError where there is no room."""
        specs = tuple(tensor.spec for tensor in request.tensors)
        kind = request.model, specs, request.outputs
        if kind != self._kind:
            results = {name: size for name, size in self._transport.outputs.items() if name in request.outputs}
            self._offsets, self._end = place([*(spec[3] for spec in specs), *results.values()])
            begins = dict(zip(results, self._offsets[len(specs) :], strict=True))
            self._results = {name: (begin, begin + results[name]) for name, begin in begins.items()}
            self._kind, self._head, self._placed = kind, None, tuple(results.items())
            if self._region:
                self._region.forget()
        region = self._require_region(self._end)
        for tensor, offset in zip(request.tensors, self._offsets, strict=False):
            for piece in tensor.pieces:
                region.write(offset, piece)
                offset += len(piece)
        if self._head is None:  # the same for all requests of a kind, as long as the region stays
            content = describe(request, region.name, specs, self._offsets, self._results)
            self._head = join_head(request.model, content, 0)
        head, size = self._head
        return head, [], size

    def _require_region(self, size: int) -> Region:
        """Return a region of at least that many bytes, which the server knows. Raises OSError, Refused."""
        if self._region and self._region.size < size:
            self._leave_region(unregister=True)
        if self._region is None:
            self._take_back(2)  # by which there are fewer from region to region
            self._region, self._is_registered, self._head = Region(size), False, None
        if not self._is_registered:
            name = self._region.name
            where = {"key": f"/{name}", "offset": 0, "byte_size": self._region.size}
            self.command(f"/region/{name}/register", where, "already")
            self._is_registered = True
        return self._region

    def command(self, path: str, content: dict | None = None, fine: str = "") -> bytes:
        """Ask something of the server's shared memory; a GET without content. Returns the answer's body.

        Raises Refused unless the status is 200 or the refusal holds the word `fine`; OSError and httptools' errors.
        """
        body = b"" if content is None else json.dumps(content).encode()
        headers = f"Content-Length: {len(body)}\r\n\r\n"
        if self._transport.key:
            headers = f"shm-key: {self._transport.key}\r\n{headers}"
        verb = "GET" if content is None else "POST"
        line = f"{verb} {BASE}{path} HTTP/1.1\r\n".encode()
        answer = self._exchange([self._begin(line), headers.encode() + body])
        if answer.status == 200:
            return answer.body
        words = explain_refusal(answer.status, answer.headers, answer.body)
        if not fine or fine not in words:
            raise Refused(words)
        return b""

    def _leave_region(self, unregister: bool = False) -> None:
        """Remove the region's file; the server is asked to unmap it at once only where it is not thought to use it."""
        region, self._region = self._region, None
        if region:
            region.close()
            if self._is_registered and not (unregister and self._unregister(region.name)):
                left[self._base].append(region.name)

    def _take_back(self, most: int) -> None:
        """Let the server unmap so many of the regions that it may have been using, as long as it has done with them.

        Only a server of the launcher's is asked, for an older Triton would unmap what it reads. Raises as `command`.
        """
        names = left[self._base]
        for _ in range(min(most, len(names)) if self._transport.key else 0):
            with suppress(IndexError):  # another thread has taken the last one
                name = names.popleft()
                if not self._unregister(name):
                    return names.appendleft(name)

    def _unregister(self, name: str) -> bool:
        """Let the server unmap a region. Returns whether it has: not while it uses it. Raises as `command` does."""
        try:
            self.command(f"/region/{name}/unregister", {})
        except Refused as refusal:
            if IN_USE not in str(refusal):
                raise
            return False
        return True

    def clear_abandoned(self) -> None:
        """Let the server unmap the regions whose files are gone, unless it uses them. Raises as `command` does."""
        for each in json.loads(self.command("/status")):
            name = each["name"]
            if name.startswith(PREFIX) and not (FOLDER / name).exists():
                self._unregister(name)

    def check(self) -> str:
        """Try whether the server maps a region of this process. Returns why not, in one line; empty if it does."""
        self._deadline = time.monotonic() + self._timeout
        try:
            self._require_region(1)
            self.clear_abandoned()
        except Exception as error:  # of a server of any kind
            return first_line(str(error) or type(error).__name__)
        finally:
            self.close()
        return ""

    def read_outputs(self) -> dict[str, np.ndarray]:
        """Return the tensors of the last whole answer, by name, also those in the region."""
        if self.answer is None or not (region := self._region):
            return super().read_outputs()
        content = decode(self.answer.body, self.answer.headers.get(b"content-encoding", b""))
        size = int(self.answer.headers.get(b"inference-header-content-length", len(content)))
        placed = {name: bytes(region.memory[begin:end]) for name, (begin, end) in self._results.items()}
        return read_body(content, size, placed)

    def close(self) -> None:
        """Close the connection. Without a request in flight the region goes, too, and the server unmaps it.

        Otherwise its file goes when the request ends, and the server unmaps it for the next client that starts.
        """
        if not self._in_flight:
            self._deadline = time.monotonic() + min(self._timeout, PATIENCE)
            try:
                self._leave_region(unregister=self._base not in silent)
                self._take_back(0 if self._base in silent else len(left[self._base]))
            except Exception:  # the server is gone, and its maps with it
                silent.add(self._base)
        super().close()


left: dict[str, deque[str]] = defaultdict(deque)
"""Server -> names of the regions that it may still be using, for requests that were given up; the oldest first."""
silent: set[str] = set()
"""Servers that did not answer as a region was taken back: none is taken back from them again, which would take long."""


def place(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Return where tensors of these sizes in bytes begin in a region, one behind the other, and where the last ends."""
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end)
        end += -(-size // STEP) * STEP
    return offsets, end


def describe(
    request: Request, region: str, specs: Sequence[tuple], offsets: Sequence[int], results: Mapping[str, tuple]
) -> dict:
    """Return the JSON of a request whose tensors lie at these offsets; `results`: outputs by name, as (begin, end).

    A tensor without elements lies nowhere: Triton refuses a place without bytes.
    """

    def lies(begin: int, end: int) -> dict:
        if begin == end:
            return {"binary_data_size": 0}
        where = {"shared_memory_region": region, "shared_memory_byte_size": end - begin}
        return {**where, "shared_memory_offset": begin}

    inputs = [
        {"name": name, "shape": shape, "datatype": datatype, "parameters": lies(offset, offset + size)}
        for (name, datatype, shape, size), offset in zip(specs, offsets, strict=False)
    ]
    outputs = [
        {"name": name, "parameters": lies(*results[name]) if name in results else {"binary_data": True}}
        for name in request.outputs
    ]
    return {"inputs": inputs, "outputs": outputs}
