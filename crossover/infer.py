"""Ask a pipeline about files: a photograph's classes, a recording's words, whatever a pipeline of your own answers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from crossover.measurement.single_request import infer
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


def find_example(workload: Workload) -> Payload:
    """Return what a workload sends where no file is given: its example, or else the first of its payloads.

    Raises ValueError, in one line, if there is none.
    """
    if workload.example is None:
        return workload.load()[0]
    name = workload.example
    return Payload(str(name.relative_to(Path.cwd()) if name.is_relative_to(Path.cwd()) else name), name.read_bytes())


def ask(url: str, workload: Workload, placement: str, file: Payload, classes: int) -> str:
    """Send one file to the server at `url` as a placement does, and return one line of answer.

    `classes` is how many classes the server is to name, where the workload's answer has any. Raises ValueError for a
    file that cannot be prepared and for what is no answer to it, Unavailable if the server refuses it.
    """
    placed, shown = workload.placements[placement], workload.answer
    if workload.file:
        tensors = prepare_once(workload, placement, file)
    else:
        tensors = placed.target.encode(placed.preprocessor()(file.encoded))
    sent = [InferInput(each.name, each.shape, each.datatype).set_data_from_numpy(each.array) for each in tensors]
    # Without a known meaning all outputs are shown, as they are.
    # Triton may have no answer of an ensemble for one output alone: the load's outputs are asked for, too.
    names = tuple(dict.fromkeys((*placed.outputs, shown.output))) if shown else placed.outputs
    count = classes if shown and shown.classes else 0
    outputs = [InferRequestedOutput(name, class_count=count if shown and name == shown.output else 0) for name in names]
    answer = infer(url, placed.model, sent, outputs)
    arrays = {name: answer.as_numpy(name) for name in names}
    if lacking := [name for name, array in arrays.items() if array is None]:
        raise ValueError(f"the answer lacks {lacking[0]}: is that a Triton server?")
    if shown:
        try:
            return str(shown.text(arrays[shown.output]))
        except (Exception, SystemExit) as error:  # the function may be a user's
            raised = f"{type(error).__name__}: {error}"
            given = describe(shown.output, arrays[shown.output])
            raise ValueError(f"the function in Answer(...) raised {raised} for {given}") from None
    return "; ".join(describe(name, array) for name, array in arrays.items())


def describe(name: str, array: np.ndarray) -> str:
    """Show an output whose meaning is not known: its name, type and shape, and its first FEW values."""
    values = ", ".join(str(value) for value in array.ravel()[:FEW])
    more = ", ..." if array.size > FEW else ""
    return f"{name} {np_to_triton_dtype(array.dtype)} {list(array.shape)}: {values}{more}"
