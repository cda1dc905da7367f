"""The whole pipeline as one Python model, which calls the network: business logic scripting in place of an ensemble."""

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]  # the stub ignores PYTHONPATH
from rows import RowReader

from preprocess.image import LIBRARIES
from preprocess.limits import one_line


class TritonPythonModel:
    """encoded UINT8 [batch, bytes] -> logits FP32 [batch, 1000], by Pillow and one call of resnet50 per batch.

    It has no bound on its queue, as models of this kind mostly have none.
    """

    def initialize(self, args):
        """Make the preprocessor of this instance."""
        self.pixels = LIBRARIES["pillow"]()
        self.reader = RowReader(json.loads(args["model_config"]))

    def execute(self, requests):
        """Answer every request, each with its own response; the good ones go through the network together."""
        prepared = [self.prepare(request) for request in requests]
        good = [each for each in prepared if isinstance(each, np.ndarray)]
        answered = iter(self.ask(good) if good else ())
        return [next(answered) if isinstance(each, np.ndarray) else each for each in prepared]

    def prepare(self, request):
        """Return the pixels of a request's photographs, FP32 [rows, 3, 224, 224], or the response that refuses it."""
        try:
            encoded = self.reader.read(request)["encoded"]
            return np.stack([self.pixels(file.tobytes()) for file in encoded])
        except Exception as error:
            code = pb.TritonError.INVALID_ARG if isinstance(error, ValueError) else pb.TritonError.INTERNAL
            return pb.InferenceResponse(error=pb.TritonError(f"input 'encoded': {one_line(error)}", code))

    def ask(self, prepared):
        """Return a response for each of these arrays, from one inference of all their rows."""
        inputs = [pb.Tensor("pixels", np.concatenate(prepared))]
        call = pb.InferenceRequest(
            model_name="resnet50",
            inputs=inputs,
            requested_output_names=["logits"],
            preferred_memory=pb.PreferredMemory(pb.TRITONSERVER_MEMORY_CPU),
        )
        answer = call.exec()
        if answer.has_error():
            return [pb.InferenceResponse(error=answer.error()) for _ in prepared]
        logits = pb.get_output_tensor_by_name(answer, "logits").as_numpy()
        ends = np.cumsum([len(each) for each in prepared])[:-1]
        return [pb.InferenceResponse([pb.Tensor("logits", rows)]) for rows in np.split(logits, ends)]
