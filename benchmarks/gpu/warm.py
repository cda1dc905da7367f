"""Warming up: the first run of every batch size costs a GPU seconds, as kernels are loaded and chosen."""

import numpy as np
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from serving.server import Server, Unavailable

TIMEOUT = 60.0


def send_batches(server: Server, model: str, rows: np.ndarray, sizes: list[int]) -> None:
    """Ask a model for batches of these sizes, of one row again and again. Raises Unavailable if it refuses."""
    config = server.get(f"/v2/models/{model}/config")
    client = InferenceServerClient(server.url.partition("//")[2], network_timeout=TIMEOUT, connection_timeout=TIMEOUT)
    outputs = [InferRequestedOutput(config["output"][0]["name"])]
    for size in [each for each in sizes if each <= max(1, config.get("max_batch_size", 1))]:
        batch = np.broadcast_to(rows, (size, *rows.shape))
        given = InferInput(config["input"][0]["name"], list(batch.shape), np_to_triton_dtype(rows.dtype))
        given.set_data_from_numpy(np.ascontiguousarray(batch))
        try:
            client.infer(model, [given], outputs=outputs)
        except InferenceServerException as error:
            raise Unavailable(f"{model}, batch of {size}: {error.message()}") from None
