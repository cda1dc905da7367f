"""pixels -> logits, with ONNX Runtime."""

import json
from pathlib import Path

import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton's Python backend runs."""

    def initialize(self, args):
        """Load the network that lies beside this file, with as many threads as config.pbtxt says."""
        parameters, options = json.loads(args["model_config"])["parameters"], onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["threads"]["string_value"])
        self.session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"), options)

    def execute(self, requests):
        """Answer every request on its own."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Classify the photographs of one request."""
        pixels = pb_utils.get_input_tensor_by_name(request, "pixels").as_numpy()
        [logits] = self.session.run(["logits"], {"pixels": pixels})
        return pb_utils.InferenceResponse([pb_utils.Tensor("logits", logits)])
