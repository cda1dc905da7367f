"""A preprocessing step of the Python backend: encoded photographs -> pixels, by any of `preprocess.image`'s libraries.

It is what many people write in place of DALI. The models of `model_variants/` that take photographs import it.
"""

import json

import numpy as np
import triton_python_backend_utils as pb
from admission import admitting
from rows import RowReader

from preprocess.image import APPROXIMATE, LIBRARIES
from preprocess.limits import one_line


@admitting
class TritonPythonModel:
    """encoded UINT8 [batch, bytes] -> pixels FP32 [batch, 3, 224, 224]; the parameter `library` says by what."""

    def initialize(self, args):
        """Make the preprocessor of this instance."""
        config = json.loads(args["model_config"])
        library = config["parameters"]["library"]["string_value"]
        self.pixels = {**LIBRARIES, **APPROXIMATE}[library]()
        self.reader = RowReader(config)

    def execute(self, requests):
        """Answer every request, each with its own response."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Return a request's pixels, or its error: 400 for what is no photograph.

        Nothing may leave here as an exception: it would fail all the requests that this one was merged with.
        """
        try:
            encoded = self.reader.read(request)["encoded"]
            pixels = np.stack([self.pixels(file.tobytes()) for file in encoded])
        except Exception as error:
            code = pb.TritonError.INVALID_ARG if isinstance(error, ValueError) else pb.TritonError.INTERNAL
            return pb.InferenceResponse(error=pb.TritonError(f"input 'encoded': {one_line(error)}", code))
        return pb.InferenceResponse([pb.Tensor("pixels", pixels)])
