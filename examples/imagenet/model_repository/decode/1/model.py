"""JPEG -> pixels, with OpenCV."""

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton's Python backend runs."""

    def execute(self, requests):
        """Answer every request, a damaged photograph with an error of its own."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Decode the photographs of one request."""
        files = pb_utils.get_input_tensor_by_name(request, "jpeg").as_numpy()
        try:
            pixels = np.stack([decode(file) for (file,) in files])
        except (ValueError, cv2.error) as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        return pb_utils.InferenceResponse([pb_utils.Tensor("pixels", pixels)])


def decode(encoded):
    """Return the central seven eighths of a photograph, as the network was trained: float32 (3, 224, 224), -1 to 1."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"OpenCV cannot decode {len(encoded)} bytes")
    side = min(image.shape[:2]) * 7 // 8
    top, left = ((length - side) // 2 for length in image.shape[:2])
    image = cv2.resize(image[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    return ((image[:, :, ::-1].astype(np.float32) - 127) / 128).transpose(2, 0, 1)
