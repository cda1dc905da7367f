"""What a client gives to a transport, and what it gets back.

A transport is a module with a class `Connection`: one connection for one thread, which any thread may `close`. What a
client does with it is `post(request) -> Outcome`: send the request and wait for the whole answer, at most so many
seconds. It raises nothing for what a server or a network does; that becomes an Outcome.

Transports lie at the bottom of the load generator, beside `arrivals`: they know neither samples nor clients.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from workloads.target import Elsewhere, Target
from workloads.tensors import Prepared, Tensor

COMPLETED, FAILED, REJECTED, TIMED_OUT = "completed", "failed", "rejected", "timed out"
"""How a request ends: with the outputs asked for; with an error or another answer; with 503 or 429, because the
server has too much to do; without an answer within the deadline."""


@dataclass(frozen=True)
class Request:
    """One inference, ready to be sent; `outputs` are the names of the tensors that the answer must hold."""

    model: str
    tensors: tuple[Tensor, ...]
    outputs: tuple[str, ...]


def make_request(target: Target, prepared: Prepared | Elsewhere) -> Request:
    """Make the request that sends to a model what `prepare` returned. Raises ValueError if the model takes no such."""
    if isinstance(prepared, Elsewhere):
        target, prepared = prepared.target, prepared.prepared
    return Request(target.model, target.encode(prepared), target.outputs)


@dataclass(frozen=True)
class Outcome:
    """How a request ended: a status, one line that says why it was not completed, and the bytes of both bodies.

    Over gRPC a body is the message with its prefix of five bytes. Neither counts HTTP's headers or frames.
    """

    status: str
    reason: str = ""
    bytes_up: int = 0
    bytes_down: int = 0


class Connection(Protocol):
    """A connection of any transport."""

    def post(self, request: Request) -> Outcome:
        """Send the request and wait for its outcome."""
        ...

    def read_outputs(self) -> dict[str, np.ndarray]:
        """Return the tensors of the last whole answer, by name; none without any. Raises if they are malformed."""
        ...

    def close(self) -> None:
        """Close it; a `post` that waits in another thread ends, and the next one opens it again."""
        ...


def is_refused_input(reason: str) -> bool:
    """Tell whether a server has refused a request for what was sent, by the reason of its outcome."""
    return reason.startswith(("HTTP 4", "gRPC INVALID_ARGUMENT", "gRPC NOT_FOUND"))
