"""Logits -> the five highest: post-processing on the server, so that 40 bytes are answered in place of 4,000."""

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "backends"))  # the stub ignores PYTHONPATH
from rows import RowReader

COUNT = 5


class TritonPythonModel:
    """logits FP32 [batch, 1000] -> classes INT32 [batch, 5] and scores FP32 [batch, 5], best first."""

    def initialize(self, args):
        """Take the configuration that says how the input comes."""
        self.reader = RowReader(json.loads(args["model_config"]))

    def execute(self, requests):
        """Answer every request, each with its own response."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Return the highest of a request's rows, or its error (400); of equal logits the lower class comes first."""
        try:
            logits = self.reader.read(request)["logits"]
        except ValueError as error:
            return pb.InferenceResponse(error=pb.TritonError(str(error), pb.TritonError.INVALID_ARG))
        classes = np.argsort(-logits, axis=-1, kind="stable")[:, :COUNT].astype(np.int32)
        scores = np.take_along_axis(logits, classes, axis=-1)
        return pb.InferenceResponse([pb.Tensor("classes", classes), pb.Tensor("scores", scores)])
