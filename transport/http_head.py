"""What precedes the tensors of a request: HTTP's headers, and the JSON of the binary-tensor extension."""

import json
from functools import lru_cache


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
    """Return what `write_head` does for the JSON of a request, which `binary` bytes of tensors follow.

    `inference` is the JSON object as Python has it: `inputs`, `outputs`, and parameters, if any.
    """
    text = json.dumps(inference, separators=(",", ":")).encode()
    # The connection's headers stand before these: the head is cached for all connections.
    headers = (
        "Content-Type: application/octet-stream\r\n"
        f"Content-Length: {len(text) + binary}\r\nInference-Header-Content-Length: {len(text)}\r\n\r\n"
    )
    return (f"POST /v2/models/{model}/infer HTTP/1.1\r\n".encode(), headers.encode() + text), len(text) + binary
