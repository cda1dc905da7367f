"""Takes a tensor and answers one number, so that a request costs nothing but its transport."""

import json
import time

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    """A model that answers with a number: what it costs is what the client and Triton cost.

    The parameter `pause`, in seconds, lets each request take so long, one after the other.
    """

    def initialize(self, args):
        """Make the answer once."""
        self.done = pb.Tensor("done", np.ones((1, 1), np.float32))
        parameters = json.loads(args["model_config"])["parameters"]
        self.pause = float(parameters.get("pause", {"string_value": "0"})["string_value"])

    def execute(self, requests):
        """Answer every request with the same number."""
        if self.pause:
            time.sleep(self.pause * len(requests))
        return [pb.InferenceResponse([self.done]) for _ in requests]
