"""No transport at all: the client's own process computes the network, with ONNX Runtime on the client's cores.

It is what a script does that needs no server. All connections share one session, which any number of threads may use;
it has a thread for each core that this process may run on, and is made anew where these have changed.
"""

import os
from functools import lru_cache

import numpy as np

from common.messages import first_line
from common.real_threads import Lock
from transport.message import COMPLETED, FAILED, Outcome, Request


class Connection:
    """Computes requests with the ONNX network at this path, in the thread that asks."""

    def __init__(self, network: str):
        self._network = network
        self._outputs: dict[str, np.ndarray] = {}
        open_session(network, cores())  # a first request would wait for it

    def post(self, request: Request) -> Outcome:
        """Compute a request. Returns its outcome, without any bytes on a wire."""
        self._outputs = {}
        try:
            inputs = {tensor.name: tensor.array for tensor in request.tensors}
            found = open_session(self._network, cores()).run(list(request.outputs), inputs)
        except Exception as error:  # whatever the library makes of an input, the arrival keeps its sample
            return Outcome(FAILED, first_line(f"client inference: {error}"))
        self._outputs = dict(zip(request.outputs, found, strict=True))
        return Outcome(COMPLETED)

    def read_outputs(self) -> dict[str, np.ndarray]:
        """Return the outputs of the last request that was computed."""
        return self._outputs

    def close(self) -> None:
        """Do nothing: a computation cannot be ended, and the session is the other connections', too."""


_lock = Lock()


def cores() -> tuple[int, ...]:
    """Return the numbers of the cores on which this process may run."""
    return tuple(sorted(os.sched_getaffinity(os.getpid())))


def open_session(network: str, on: tuple[int, ...]):
    """Return the session of this network, with a thread for each of these cores. Raises what ONNX Runtime raises."""
    with _lock:
        return _make_session(network, on)


@lru_cache(maxsize=1)
def _make_session(network: str, on: tuple[int, ...]):
    import onnxruntime  # 60 MB, which no other transport needs

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = len(on), 1
    # A thread that spins for work takes the core from those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
