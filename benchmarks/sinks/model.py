"""Takes a tensor and answers one number: what is left of a request is the way there and back."""

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        self.done = pb.Tensor("done", np.ones((1, 1), np.float32))

    def execute(self, requests):
        return [pb.InferenceResponse([self.done]) for _ in requests]
