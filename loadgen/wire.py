"""One request over Triton's HTTP protocol (KServe v2 with the binary-tensor extension).

The body is built by tritonclient and posted through geventhttpclient, the transport tritonclient
itself uses; done in two steps, the instants `prepared` and `sent` mean what they say.
"""

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

import gevent
import numpy as np
from geventhttpclient import HTTPClient
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import np_to_triton_dtype

from loadgen.samples import COMPLETED, FAILED, REJECTED, TIMED_OUT


@dataclass(frozen=True)
class Request:
    path: str
    body: bytes
    json_size: int


@dataclass(frozen=True)
class Outcome:
    status: str
    reason: str = ""
    bytes_down: int = 0
    result: InferResult | None = None


def request(model: str, name: str, tensor: np.ndarray, outputs: tuple[str, ...]) -> Request:
    """An inference request with one input and a batch of one; `tensor` has no batch dimension."""
    batch = InferInput(name, [1, *tensor.shape], np_to_triton_dtype(tensor.dtype))
    batch.set_data_from_numpy(tensor[None])
    wanted = [InferRequestedOutput(output) for output in outputs]
    body, json_size = InferenceServerClient.generate_request_body([batch], outputs=wanted)
    return Request(f"/v2/models/{model}/infer", body, json_size if json_size is not None else len(body))


class Connection:
    """Keep-alive connections to one server. To be used from the OS thread that made it."""

    def __init__(self, url: str, connections: int, timeout: float):
        address = urlsplit(url if "//" in url else f"http://{url}")
        self._timeout = timeout
        self._http = HTTPClient(
            address.hostname,
            address.port or 8000,
            concurrency=connections,
            connection_timeout=timeout,
            network_timeout=timeout,
        )

    def post(self, req: Request, outputs: tuple[str, ...]) -> Outcome:
        """Send it and wait for the whole answer, at most `timeout` seconds. Never raises for what a server does."""
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": req.json_size}
        try:
            with gevent.Timeout(self._timeout):
                response = self._http.post(req.path, body=req.body, headers=headers)
                body = bytes(response.read())
        except (gevent.Timeout, TimeoutError):
            return Outcome(TIMED_OUT, f"no answer within {self._timeout:g} s")
        except Exception as error:  # whatever a broken server or network does becomes a sample
            return Outcome(FAILED, f"{type(error).__name__}: {error}".splitlines()[0][:200])
        return outcome(response.status_code, response.get("Inference-Header-Content-Length"), body, outputs)

    def close(self) -> None:
        self._http.close()


def outcome(status: int, json_size: str | None, body: bytes, outputs: tuple[str, ...]) -> Outcome:
    if status != 200:
        kind = REJECTED if status == 503 else FAILED
        return Outcome(kind, f"HTTP {status}: {reason(body)}", len(body))
    try:
        result = InferResult.from_response_body(body, header_length=int(json_size) if json_size else None)
        missing = [name for name in outputs if result.as_numpy(name) is None]
    except Exception as error:
        return Outcome(FAILED, f"unreadable answer: {error}".splitlines()[0][:200], len(body))
    if missing:
        return Outcome(FAILED, f"the answer lacks {', '.join(missing)}", len(body))
    return Outcome(COMPLETED, "", len(body), result)


def reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]).strip().splitlines()[0][:200]
    except (ValueError, KeyError, TypeError, IndexError):
        return body[:200].decode("utf-8", "replace").strip().partition("\n")[0]
