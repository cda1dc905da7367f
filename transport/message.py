"""What a client gives to a transport, and what it gets back.

A transport is a module with a class `Connection`: one connection for one thread, which any thread may `close`. What a
client does with it is `post(request) -> Outcome`: send the request and wait for the whole answer, at most so many
seconds. It raises nothing for what a server or a network does; that becomes an Outcome.

Transports know neither samples nor clients: whoever sends a request notes when, and what became of it.
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
    """One inference, ready to be sent."""

    model: str
    """The served model's name; the server chooses the version."""
    tensors: tuple[Tensor, ...]
    """The inputs, encoded as Triton's binary form has them, each with its name, type and shape."""
    outputs: tuple[str, ...]
    """Names of the tensors that the answer must hold."""


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
    """COMPLETED, FAILED, REJECTED or TIMED_OUT."""
    reason: str = ""
    """Why it was not completed, in one line; empty if it was."""
    bytes_up: int = 0
    """Of the request's body, also where not all of it was sent; 0 where none was made."""
    bytes_down: int = 0
    """Of a whole answer's body; 0 without one."""


class Connection(Protocol):
    """A connection of any transport."""

    def post(self, request: Request) -> Outcome:
        """Send the request and wait for its outcome, at most as many seconds as the connection was made with.

        Raises nothing but KeyboardInterrupt and its like: what goes wrong is the outcome's status and reason.
        """
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
