"""waveform -> the probability of speech in each window of 32 ms, with Silero VAD in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

RATE = np.array(16_000, np.int64)
WINDOW, CONTEXT = 512, 64  # samples: each window is given the end of the one before it, too


class TritonPythonModel:
    """What Triton's Python backend runs."""

    def initialize(self, args):
        """Load the network that lies beside this file; it is small, so one thread is the quickest."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"), options)

    def execute(self, requests):
        """Answer every request on its own."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Listen to the clip of one request."""
        waveform = pb_utils.get_input_tensor_by_name(request, "waveform").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("speech", self.listen(waveform))])

    def listen(self, waveform):
        """Run the network over the windows of a clip, whose state goes from one to the next; the last one is padded."""
        state, speech = np.zeros((2, 1, 128), np.float32), []
        padded = np.pad(waveform, (CONTEXT, -len(waveform) % WINDOW))
        for start in range(0, len(padded) - CONTEXT, WINDOW):
            window = padded[None, start : start + CONTEXT + WINDOW]
            probability, state = self.session.run(None, {"input": window, "state": state, "sr": RATE})
            speech.append(probability[0, 0])
        return np.array(speech, np.float32)
