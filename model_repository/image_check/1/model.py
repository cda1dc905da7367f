"""The door of `preprocess.image_file` as a step of its own, for NVIDIA's native DALI backend.

That backend's graph has no Python before it: there one bad image would fail the whole batch, and one that can be read
in two ways would do worse.
"""

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]  # the stub ignores PYTHONPATH
from rows import RowReader

from preprocess.image_reencode import prepare
from preprocess.limits import one_line


class TritonPythonModel:
    """encoded UINT8 [batch, bytes] -> checked UINT8 [batch, bytes], rebuilt so that it can be read in one way only.

    The shorter files of one request get zeros at their end, which decoders ignore; 400 for what is refused.
    """

    def initialize(self, args):
        """Take the configuration that says how the input comes."""
        self.reader = RowReader(json.loads(args["model_config"]))

    def execute(self, requests):
        """Answer every request, each with its own response."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Return a request's rebuilt files, or its error (400) if one of them is refused."""
        try:
            encoded = self.reader.read(request)["encoded"]
            files = [prepare(file) for file in encoded]
        except Exception as error:
            message = f"input 'encoded': {one_line(error)}"
            return pb.InferenceResponse(error=pb.TritonError(message, pb.TritonError.INVALID_ARG))
        longest = max(map(len, files))
        rows = [np.frombuffer(file.ljust(longest, b"\0"), np.uint8) for file in files]
        return pb.InferenceResponse([pb.Tensor("checked", np.stack(rows))])
