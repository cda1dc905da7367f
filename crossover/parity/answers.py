"""Asks placements about payloads, and reads their outputs: as a measured client sends them, over the same transport."""

import json
from dataclasses import dataclass, field

import numpy as np
from tritonclient.utils import deserialize_bytes_tensor, triton_to_np_dtype

from common.messages import first_line
from loadgen.arm import Arm
from loadgen.client.worker_threads import Client
from loadgen.samples.sample import COMPLETED, Sample
from loadgen.transport.http import Answer, Connection, decode
from loadgen.transport.message import Request
from workloads.payloads import Payload

PATIENCE = 120.0  # seconds for an answer: the first one may load a model


@dataclass(frozen=True)
class Answered:
    """What came of one request: its outputs by name, or the reason why there are none."""

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    reason: str = ""
    request: Request | None = None
    """What was sent; None where the payload could not be prepared."""


class Asker:
    """Sends payloads as one arm does, one at a time; `close` it."""

    def __init__(self, url: str, arm: Arm):
        self.arm = arm
        self._client, self._preprocess = Client(arm, lambda: 0), arm.preprocessor()
        self._connection = Connection(url, PATIENCE)

    def ask(self, payload: Payload) -> Answered:
        """Prepare a payload, send it and read the answer. Raises nothing for what a library or a server does."""
        sample = Sample(0, 0, 0)
        request = self._client.prepare(self._preprocess, sample, payload)
        return self.send(request) if request else Answered(reason=sample.reason)

    def send(self, request: Request) -> Answered:
        """Send a request and read the answer, as `ask` does."""
        outcome = self._connection.post(request)
        if outcome.status != COMPLETED or not (answer := self._connection.answer):
            return Answered(reason=outcome.reason, request=request)
        try:
            return Answered(read_outputs(answer), request=request)
        except Exception as error:  # a server may say anything of its tensors
            return Answered(reason=first_line(f"unreadable outputs: {type(error).__name__}: {error}"), request=request)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def read_outputs(answer: Answer) -> dict[str, np.ndarray]:
    """Read the tensors of an inference's answer, binary ones and those in its JSON. Raises if that is malformed."""
    content = decode(answer.body, answer.headers.get(b"content-encoding", b""))
    start = int(answer.headers.get(b"inference-header-content-length", len(content)))
    arrays = {}
    for output in json.loads(content[:start])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            array = read_json(output["data"], output["datatype"])
        else:
            array, start = read_binary(content[start : start + size], output["datatype"]), start + size
        arrays[output["name"]] = array.reshape(output["shape"])
    return arrays


def read_binary(data: bytes, datatype: str) -> np.ndarray:
    """Return the elements of a binary tensor, in one dimension. Raises ValueError for an unknown type."""
    if datatype == "BYTES":
        return deserialize_bytes_tensor(data)
    if datatype == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)  # the upper half
    return np.frombuffer(data, find_dtype(datatype))


def read_json(data: list, datatype: str) -> np.ndarray:
    """Return the elements of a tensor that stands in JSON, in one dimension or more."""
    if datatype == "BYTES":
        return np.array([each.encode() for each in np.array(data, object).ravel()], object)
    return np.array(data, np.float32 if datatype == "BF16" else find_dtype(datatype))


def find_dtype(datatype: str) -> type:
    """Return NumPy's type. Raises ValueError for a name that is none of Triton's."""
    found = triton_to_np_dtype(datatype)
    if found is None:
        raise ValueError(f"unknown data type {datatype!r}")
    return found
