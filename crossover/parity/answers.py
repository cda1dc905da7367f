"""Asks placements about payloads, and reads their outputs: as a measured client sends them, over the same transport."""

from dataclasses import dataclass, field

import numpy as np

from common.messages import first_line
from loadgen.arm import Arm
from loadgen.client.worker_threads import Client
from loadgen.samples.sample import COMPLETED, Sample
from transport.message import TIMED_OUT, Request
from workloads.payloads import Payload

PATIENCE = 120.0  # seconds for an answer: the first one may load a model


@dataclass(frozen=True)
class Answered:
    """What came of one request: its outputs by name, or the reason why there are none."""

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    reason: str = ""
    request: Request | None = None
    """What was sent; None where the payload could not be prepared."""
    timed_out: bool = False
    """Whether no answer came in PATIENCE seconds."""


class Asker:
    """Sends payloads as one arm does, one at a time; `close` it."""

    def __init__(self, url: str, arm: Arm):
        self.arm = arm
        self._client, self._preprocess = Client(arm, lambda: 0), arm.preprocessor()
        self._connection = arm.connect(url, PATIENCE)
        self._silent = ""

    def ask(self, payload: Payload) -> Answered:
        """Prepare a payload, send it and read the answer. Raises nothing for what a library or a server does.

        After a request without an answer in PATIENCE seconds no other payload is sent: each would take as long.
        """
        if self._silent:
            return Answered(reason=f"not asked after {self._silent}, which had no answer within {PATIENCE:g} s")
        sample = Sample(0, 0, 0)
        request = self._client.prepare(self._preprocess, sample, payload)
        answered = self.send(request) if request else Answered(reason=sample.reason)
        self._silent = payload.name if answered.timed_out else ""
        return answered

    def send(self, request: Request) -> Answered:
        """Send a request and read the answer, as `ask` does."""
        outcome = self._connection.post(request)
        if outcome.status != COMPLETED:
            return Answered(reason=outcome.reason, request=request, timed_out=outcome.status == TIMED_OUT)
        try:
            return Answered(self._connection.read_outputs(), request=request)
        except Exception as error:  # a server may say anything of its tensors
            return Answered(reason=first_line(f"unreadable outputs: {type(error).__name__}: {error}"), request=request)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
