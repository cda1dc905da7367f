"""pixels -> logits, with ONNX Runtime."""

from pathlib import Path

import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton's Python backend runs."""

    def initialize(self, args):
        """Load the network that lies beside this file."""
        self.session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))

    def execute(self, requests):
        """Answer every request on its own."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Classify the photographs of one request."""
        pixels = pb_utils.get_input_tensor_by_name(request, "pixels").as_numpy()
        [logits] = self.session.run(["logits"], {"pixels": pixels})
        return pb_utils.InferenceResponse([pb_utils.Tensor("logits", logits)])
