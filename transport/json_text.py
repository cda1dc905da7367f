"""One request as JSON text over HTTP, as beginners send it: numbers as lists, and files as base64 where that is asked.

The server answers in JSON, too. What it costs to write and read all those digits is the client's, within `post`.
"""

import base64
import json

import numpy as np
from tritonclient.utils import deserialize_bytes_tensor, triton_to_np_dtype

from transport import http
from transport.message import Request
from workloads.tensors import Tensor


class Connection(http.Connection):
    """A connection that sends JSON; with `in_base64` each element of a BYTES tensor goes as base64. See `message`."""

    def __init__(self, url: str, timeout: float, in_base64: bool):
        super().__init__(url, timeout)
        self._in_base64 = in_base64

    def _write(self, request: Request) -> tuple[tuple[bytes, bytes], list[bytes | memoryview], int]:
        """Return what is sent: HTTP's headers, and the JSON. Raises ValueError for bytes that are no text."""
        inputs = [
            {"name": name, "shape": shape, "datatype": datatype, "data": list_elements(tensor, self._in_base64)}
            for tensor in request.tensors
            for name, datatype, shape, _ in [tensor.spec]
        ]
        text = json.dumps({"inputs": inputs, "outputs": [{"name": output} for output in request.outputs]}).encode()
        headers = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode()
        return (f"POST /v2/models/{request.model}/infer HTTP/1.1\r\n".encode(), headers), [text], len(text)


def list_elements(tensor: Tensor, in_base64: bool) -> list:
    """Return a tensor's elements as JSON has them, in one dimension. Raises ValueError for bytes that are no text."""
    data = b"".join(tensor.pieces)
    if tensor.datatype != "BYTES":
        return np.frombuffer(data, triton_to_np_dtype(tensor.datatype)).tolist()
    elements = deserialize_bytes_tensor(data)
    if in_base64:
        return [base64.b64encode(each).decode() for each in elements]
    try:
        return [each.decode() for each in elements]
    except UnicodeDecodeError:
        raise ValueError(f"{tensor.name} holds bytes that are no text, which JSON cannot carry: try base64") from None
