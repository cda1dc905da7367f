"""Encoded sound -> samples: `preprocess.audio` as a model of the Python backend."""

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]  # the stub ignores PYTHONPATH
from admission import admitting
from rows import RowReader

from preprocess.audio import waveform
from preprocess.limits import one_line


@admitting
class TritonPythonModel:
    """encoded UINT8 [batch, bytes] -> waveform FP32 [batch, samples]."""

    def initialize(self, args):
        """Take the configuration that says how the input comes."""
        self.reader = RowReader(json.loads(args["model_config"]))

    def execute(self, requests):
        """Answer every request, each with its own response."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Return a request's waveforms, or its error.

        What is not audio is the client's error (400), and so are clips of two lengths in one request.

        Nothing may leave here as an exception: it would fail all the requests that this one was merged with.
        """
        try:
            encoded = self.reader.read(request)["encoded"]
            waveforms = stack([waveform(clip.tobytes()) for clip in encoded])
        except Exception as error:
            code = pb.TritonError.INVALID_ARG if isinstance(error, ValueError) else pb.TritonError.INTERNAL
            return pb.InferenceResponse(error=pb.TritonError(f"input 'encoded': {one_line(error)}", code))
        return pb.InferenceResponse([pb.Tensor("waveform", waveforms)])


def stack(waveforms):
    """Return waveforms (samples,) as one array. Raises ValueError if their lengths differ."""
    lengths = sorted({len(each) for each in waveforms})
    if len(lengths) > 1:
        raise ValueError(f"clips of one length are expected in a request, not of {lengths[0]} to {lengths[-1]} samples")
    return np.stack(waveforms)
