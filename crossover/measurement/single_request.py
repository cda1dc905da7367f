"""One request with all that Triton's protocol has, such as the names of classes, which the load never asks for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from common import address
from serving.server import Unavailable
from serving.triton_api import Refused, TritonAPI, Unreachable

if TYPE_CHECKING:
    from tritonclient.http import InferInput, InferRequestedOutput, InferResult

TIMEOUT = 60.0  # seconds


def infer(
    url: str, model: str, inputs: Sequence["InferInput"], outputs: Sequence["InferRequestedOutput"] | None = None
) -> "InferResult":
    """Send a request to a model of the server at `url`, and return its answer; by default with all outputs.

    tritonclient writes the request and reads the answer; they travel as all else does, with the TLS and the login that
    were granted. Raises Unavailable, in one line with the server's words, if there is no answer to it.
    """
    from tritonclient.http import InferenceServerClient  # imports gevent

    body, size = InferenceServerClient.generate_request_body(list(inputs), outputs=outputs and list(outputs))
    headers = {"Inference-Header-Content-Length": str(size)} if size is not None else {}
    headers["Content-Type"] = "application/octet-stream"
    try:
        content, answered = TritonAPI(url).call(f"/v2/models/{model}/infer", body, headers, TIMEOUT)
    except Refused as refusal:
        raise Unavailable(refusal.reason, refusal.code) from None
    except Unreachable as broken:
        raise Unavailable(address.explain_silence(url, broken.reason)) from None
    length = answered["Inference-Header-Content-Length"]
    try:
        return InferenceServerClient.parse_response_body(content, header_length=int(length) if length else None)
    except Exception as error:  # whatever answers there need not be Triton
        raise Unavailable(f"what {url} answers is no inference: {type(error).__name__}") from None
