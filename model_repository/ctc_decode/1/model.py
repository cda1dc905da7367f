"""Logits -> text: the greedy decoding of connectionist temporal classification (CTC), as a Python model."""

import json
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "backends"))  # the stub ignores PYTHONPATH
from rows import RowReader

FRAMES = 3000  # of one clip: a minute
BLANK = 0  # the padding token, "<pad>" or "[PAD]"
SPACE = "|"


class TritonPythonModel:
    """logits FP32 [batch, frames, tokens] -> transcript STRING [batch, 1], greedily, with no language model.

    It hands the logits on as well: Triton refuses to answer an ensemble's request for some of its outputs if one of
    those it leaves out, or asks for, is also a step's input ("unexpected deadlock"). So `audio` takes them from here.
    """

    def initialize(self, args):
        """`vocab.json` (token -> id) is the one of the checkpoint that `wav2vec2` was exported from."""
        self.reader = RowReader(json.loads(args["model_config"]))
        folder = Path(args["model_repository"], args["model_version"])
        vocabulary = json.loads((folder / "vocab.json").read_text())
        self.letters = {number: token.replace(SPACE, " ") for token, number in vocabulary.items() if number != BLANK}

    def execute(self, requests):
        """Answer every request, each with its own response."""
        return [self.respond(request) for request in requests]

    def respond(self, request):
        """Return a request's texts, or its error (400) for logits that are none, too long or not finite."""
        try:
            logits = self.reader.read(request)["logits"]
            check(logits)
        except ValueError as error:
            return pb.InferenceResponse(error=pb.TritonError(str(error), pb.TritonError.INVALID_ARG))
        wanted, outputs = request.requested_output_names(), []
        if "transcript" in wanted:
            transcripts = np.array([[self.decode(clip)] for clip in logits], dtype=object)
            outputs.append(pb.Tensor("transcript", transcripts))
        if "logits" in wanted:
            outputs.append(pb.Tensor("logits", logits))
        return pb.InferenceResponse(outputs)

    def decode(self, logits):
        """CTC's rule: the likeliest token of each frame, repeats collapsed, then blanks dropped.

        `<s>`, `</s>` and `<unk>` are kept as they are, as the checkpoint's own tokenizer prints them.
        """
        best = logits.argmax(axis=-1).tolist()
        return "".join(self.letters.get(token, "") for token, _ in groupby(best)).strip()


def check(logits):
    """Raise ValueError for logits [batch, frames, tokens] that are not numbers, or of more than a minute."""
    if np.isnan(logits).any():
        raise ValueError("input 'logits' has values that are not a number (NaN)")
    if logits.shape[1] > FRAMES:
        raise ValueError(f"input 'logits' has {logits.shape[1]} frames, at most {FRAMES} (a minute) are decoded")
