"""Twin of Triton's native `onnxruntime` backend, in Python: the same config.pbtxt, the same `model.onnx`.

It is for servers that have only the Python backend; instances of kind GPU run on CUDA (`onnx_cuda`). Unlike with the
native one, a request that the network refuses fails alone, whatever it was merged with, and requests beyond limits are
refused before (`onnx_limits`).
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb
from onnx_limits import Limits
from onnx_options import options, parameter, run_options, switch
from onnx_signature import check, complete

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from admission import admitting
from cuda_errors import end_if_lost, is_out_of_memory, shorten
from error_isolation import answer_isolated
from messages import one_line
from onnx_batches import SizedSessions, warm_up
from onnx_cuda import cuda_options, open_session
from rows import RowReader, without_sample_axis


@admitting
class TritonPythonModel:
    """Runs an ONNX network; tensors are [batch, ...] if max_batch_size > 0, else exactly the network's."""

    @staticmethod
    def auto_complete_config(config):
        """Fill in inputs, outputs and max_batch_size, if the config leaves inputs or outputs out."""
        if not (config.as_dict()["input"] and config.as_dict()["output"]):
            session = ort.InferenceSession(model_file(stub_model_path()), providers=["CPUExecutionProvider"])
            complete(config.as_dict(), session)
        return config

    def initialize(self, args):
        """Load the network. Raises ValueError if the config does not fit it, RuntimeError if CUDA does not start."""
        config = json.loads(args["model_config"])
        self.reader, config = RowReader(config), without_sample_axis(config)
        folder = Path(args["model_repository"], args["model_version"])
        path = folder / (config["default_model_filename"] or "model.onnx")
        self.batched = config["max_batch_size"] > 0
        device = int(args["model_instance_device_id"]) if args["model_instance_kind"] == "GPU" else None
        cuda = cuda_options(config)
        self.session = open_session(model_file(path), options(config), device, cuda)
        self.run_options = run_options(config["parameters"])
        self.limits = Limits(config["parameters"])
        check(config, self.session, path.name)
        pad = parameter(config["parameters"], "pad_batches", True, switch)
        if device is not None:
            began = time.monotonic()
            self.session, sizes = warm_up(
                config,
                self.session,
                lambda: open_session(model_file(path), options(config), device, cuda),
                self.limits.least,
                pad,
            )
            sessions = "a session each" if isinstance(self.session, SizedSessions) else "one session"
            pb.Logger.log_info(
                f"{config['name']}: on GPU {device}, {', '.join(f'{key}={value}' for key, value in cuda.items())}; "
                f"{time.monotonic() - began:.1f} s for batches of {', '.join(map(str, sizes)) or 'no size'}, {sessions}"
            )

    def execute(self, requests):
        """Return one response per request; those that the limits refuse cost no run."""
        return answer_isolated(requests, self.accept, self.answer, refusal)

    def accept(self, request):
        """Return (input name -> array, names of the outputs asked for).

        Raises ValueError beyond the limits, and for an input without rows.
        """
        feed = {name: texts_of(array) for name, array in self.reader.read(request).items()}
        self.limits.check(feed, self.batched)
        return feed, request.requested_output_names()

    def answer(self, pairs):
        """Run the network once for all; return a response per pair of `accept`, with views of its own rows."""
        feeds = [feed for feed, _ in pairs]
        names = sorted(set().union(*(wanted for _, wanted in pairs)))
        outputs = dict(zip(names, self.run(names, merge(feeds)), strict=True))
        if not self.batched:
            return [response(outputs)]
        ends = np.cumsum([len(next(iter(feed.values()))) for feed in feeds]).tolist()
        for name, output in outputs.items():
            if len(output) != ends[-1]:
                raise ValueError(f"output '{name}': {len(output)} rows for a batch of {ends[-1]}")
        spans = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return [response({name: output[span] for name, output in outputs.items()}) for span in spans]

    def run(self, names, feed):
        """Return the outputs of these names, from several runs if the limits allow fewer rows than there are."""
        rows = self.limits.rows(feed) if self.batched else None
        if not rows or (count := len(next(iter(feed.values())))) <= rows:
            return self.compute(names, feed)
        spans = [slice(start, start + rows) for start in range(0, count, rows)]
        parts = [self.compute(names, {name: array[span] for name, array in feed.items()}) for span in spans]
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    def compute(self, names, feed):
        """Return the outputs of one run; end the stub if the run lost it its GPU."""
        try:
            return self.session.run(names, feed, self.run_options)
        except Exception as error:
            end_if_lost(error)
            raise


def refusal(error):
    """Return the response to an error: 503 if memory ran out, else 400, as a network refuses what its input causes."""
    code = pb.TritonError.UNAVAILABLE if is_out_of_memory(error) else pb.TritonError.INVALID_ARG
    return pb.InferenceResponse(error=pb.TritonError(one_line(shorten(error)), code))


def texts_of(values):
    """Return an array as it is, or one of bytes as text, as ONNX Runtime wants it."""
    if values.dtype != object:
        return values
    texts = np.empty(values.shape, dtype=object)
    texts.flat = [text.decode() for text in values.flat]
    return texts


def merge(feeds):
    """Return the requests' tensors in one batch. Raises ValueError if shapes or optional inputs differ."""
    first, *others = feeds
    if any(feed.keys() != first.keys() for feed in others):
        raise ValueError("the requests have different inputs")
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in first} if others else first


def response(outputs):
    """Return the response with these outputs: name -> array, in the type that the network gave."""
    return pb.InferenceResponse([pb.Tensor(name, output) for name, output in outputs.items()])


def model_file(path):
    """Return the path of a network; one that is too large for one file may be a directory with `model.onnx`."""
    return str(path / "model.onnx" if path.is_dir() else path)


def stub_model_path():
    """Return the model's path: the stub's first argument, as auto_complete_config does not get it."""
    return Path(Path("/proc/self/cmdline").read_bytes().split(b"\0")[1].decode())
