import json
from itertools import groupby
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb

BLANK = 0  # the padding token, "<pad>" or "[PAD]"
SPACE = "|"


class TritonPythonModel:
    """logits FP32 [batch, frames, tokens] -> transcript STRING [batch, 1], greedily, with no language model."""

    def initialize(self, args):
        """`vocab.json` (token -> id) is the one of the checkpoint that `wav2vec2` was exported from."""
        folder = Path(args["model_repository"], args["model_version"])
        vocabulary = json.loads((folder / "vocab.json").read_text())
        self.letters = {number: token.replace(SPACE, " ") for token, number in vocabulary.items() if number != BLANK}

    def execute(self, requests):
        return [self.respond(request) for request in requests]

    def respond(self, request):
        logits = pb.get_input_tensor_by_name(request, "logits").as_numpy()
        transcripts = np.array([[self.decode(clip)] for clip in logits], dtype=object)
        return pb.InferenceResponse([pb.Tensor("transcript", transcripts)])

    def decode(self, logits):
        """CTC's rule: the likeliest token of each frame, repeats collapsed, then blanks dropped.

        `<s>`, `</s>` and `<unk>` are kept as they are, as the checkpoint's own tokenizer prints them.
        """
        best = logits.argmax(axis=-1).tolist()
        return "".join(self.letters.get(token, "") for token, _ in groupby(best)).strip()
