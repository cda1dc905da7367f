"""Ask a pipeline about files: a photograph's classes, a recording's words, whatever a pipeline of your own answers.

    python -m loadgen.ask photo.jpg speech.wav
    python -m loadgen.ask --workload my_pipeline.py photo.jpg
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from geventhttpclient.response import HTTPParseError
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from common import address
from common.messages import one_line
from workloads import catalogue
from workloads.model_config import complete
from workloads.payloads import Payload
from workloads.prepare_check import prepare_once
from workloads.workload import Workload

FEW = 6  # values of an output that are shown


def choose(workloads: Sequence[Workload], path: Path) -> Workload:
    """Return the first workload that reads files with that suffix. Raises ValueError if there is none."""
    for workload in workloads:
        if not workload.suffixes or path.suffix.lower() in workload.suffixes:
            return workload
    suffixes = ", ".join(suffix for workload in workloads for suffix in workload.suffixes)
    raise ValueError(f"its name ends in none of {suffixes}")


def ask(client: InferenceServerClient, workload: Workload, placement: str, path: Path, classes: int) -> str:
    """Send one file as a placement does, and return one line of answer.

    `classes` is how many classes the server is to name, where the workload's answer has any. Raises ValueError for a
    file that cannot be prepared and for what is no answer to it, OSError for one that cannot be read,
    InferenceServerException if the server refuses it.
    """
    placed, shown = workload.placements[placement], workload.answer
    encoded = path.read_bytes()
    if workload.file:
        prepared = prepare_once(workload, placement, Payload(path.name, encoded))[None]
    else:
        prepared = placed.preprocessor()(encoded)[None]
    kind = np_to_triton_dtype(prepared.dtype)
    tensor = InferInput(placed.input, list(prepared.shape), kind).set_data_from_numpy(prepared)
    # Without a known meaning all outputs are shown, as they are.
    names = (shown.output,) if shown else placed.outputs
    count = classes if shown and shown.classes else 0
    outputs = [InferRequestedOutput(name, class_count=count) for name in names]
    try:
        answer = client.infer(placed.model, [tensor], outputs=outputs)
    except HTTPParseError:
        raise ValueError("what answers there does not speak HTTP") from None
    arrays = {name: answer.as_numpy(name) for name in names}
    if lacking := [name for name, array in arrays.items() if array is None]:
        raise ValueError(f"the answer lacks {lacking[0]}: is that a Triton server?")
    if shown:
        return shown.text(arrays[shown.output])
    return "; ".join(describe(name, array) for name, array in arrays.items())


def describe(name: str, array: np.ndarray) -> str:
    """Show an output whose meaning is not known: its name, type and shape, and its first FEW values."""
    values = ", ".join(str(value) for value in array.ravel()[:FEW])
    more = ", ..." if array.size > FEW else ""
    return f"{name} {np_to_triton_dtype(array.dtype)} {list(array.shape)}: {values}{more}"


def main() -> int:
    """Run `python -m loadgen.ask`. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.ask", description="Send files to a pipeline.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--url", default="localhost:8000", help="default: %(default)s")
    own = "a name or a Python file; default: the built-in one that reads such files"
    parser.add_argument("--workload", default="", help=own)
    parser.add_argument("--placement", default="", help="default: the first that sends files as they are")
    parser.add_argument("--classes", type=int, default=3, help="of a photograph (default: %(default)s)")
    options = parser.parse_args()
    try:
        if options.classes < 1:
            raise ValueError(f"--classes must be at least 1, not {options.classes}")
        known = catalogue.find_all([options.workload] if options.workload else [])
        for name, workload in known.items():
            if options.placement and options.placement not in workload.placements:
                good = ", ".join(workload.placements)
                raise ValueError(f"unknown placement {options.placement!r} of {name}; try one of {good}")
        client = InferenceServerClient(address.parse(options.url).authority)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    failed = False
    for path in options.files:
        try:
            workload = complete(choose(list(known.values()), path), options.url)
            placement = options.placement or workload.encoded
            print(f"{path}: {ask(client, workload, placement, path, options.classes)}")
        except OSError as error:
            failed = True
            reason = error.strerror or error
            print(f"{path}: {reason}", file=sys.stderr)
        except (ValueError, InferenceServerException) as error:
            failed = True
            print(f"{path}: {one_line(error)}", file=sys.stderr)
    return int(failed)
