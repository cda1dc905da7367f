"""Ask the ensembles about files: a photograph's classes, a recording's words.

    python -m loadgen.ask photo.jpg speech.wav
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from geventhttpclient.response import HTTPParseError
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput

from common import address
from common.messages import one_line
from workloads.workload import AUDIO, IMAGE


def ask(client: InferenceServerClient, path: Path, classes: int) -> str:
    """One line of answer. Raises ValueError for a file of no known kind and for what is no answer to it,
    InferenceServerException if it is refused."""
    suffix = path.suffix.lower()
    if suffix in IMAGE.suffixes:
        model, output = "image", InferRequestedOutput("logits", class_count=classes)
    elif suffix in AUDIO.suffixes:
        model, output = "audio", InferRequestedOutput("transcript")
    else:
        raise ValueError(f"its name ends in none of {', '.join((*IMAGE.suffixes, *AUDIO.suffixes))}")
    encoded = np.frombuffer(path.read_bytes(), np.uint8)[None]
    tensor = InferInput("encoded", list(encoded.shape), "UINT8").set_data_from_numpy(encoded)
    try:
        answer = client.infer(model, [tensor], outputs=[output]).as_numpy(output.name())
    except HTTPParseError:
        raise ValueError("what answers there does not speak HTTP") from None
    if answer is None:
        raise ValueError(f"the answer lacks {output.name()}: is that a Triton server?")
    texts = [text.decode() for text in answer.ravel()]
    if model == "audio":
        return repr(texts[0])
    return ", ".join(f"{name} ({float(score):.2f})" for score, _, name in (text.split(":", 2) for text in texts))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.ask", description="Send files to the ensembles.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--url", default="localhost:8000", help="default: %(default)s")
    parser.add_argument("--classes", type=int, default=3, help="of a photograph (default: %(default)s)")
    options = parser.parse_args()
    try:
        client = InferenceServerClient(address.parse(options.url).authority)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    failed = False
    for path in options.files:
        try:
            print(f"{path}: {ask(client, path, options.classes)}")
        except OSError as error:
            failed = True
            reason = error.strerror or error
            print(f"{path}: {reason}", file=sys.stderr)
        except (ValueError, InferenceServerException) as error:
            failed = True
            print(f"{path}: {one_line(error)}", file=sys.stderr)
    return int(failed)
