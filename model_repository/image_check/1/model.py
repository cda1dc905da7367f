"""The guard as a step of its own, for NVIDIA's native DALI backend: one bad image fails the whole batch there."""

import sys
from pathlib import Path

import triton_python_backend_utils as pb

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # the stub ignores PYTHONPATH
from preprocess.image_header import whole
from preprocess.limits import told


class TritonPythonModel:
    """encoded UINT8 [batch, bytes] -> checked, the same; or 400 for what is not whole or beyond the limits."""

    def execute(self, requests):
        return [self.respond(request) for request in requests]

    def respond(self, request):
        encoded = pb.get_input_tensor_by_name(request, "encoded").as_numpy()
        try:
            for file in encoded:
                whole(file.tobytes())
        except Exception as error:
            message = f"input 'encoded': cannot decode {encoded.shape[1]} bytes as JPEG, PNG or WebP: {told(error)}"
            return pb.InferenceResponse(error=pb.TritonError(message, pb.TritonError.INVALID_ARG))
        return pb.InferenceResponse([pb.Tensor("checked", encoded)])
