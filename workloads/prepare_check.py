"""Whether a workload of a user's own can be sent at all: tried before anything is measured.

A file's functions are strangers' code: they raise, exit, or return what no model takes. All of that is said in one
line, before a directory is made or a request is sent. The built-in workloads are tested, and not tried here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from common.messages import one_line
from workloads.model_config import read
from workloads.payloads import Payload
from workloads.workload import Placement, Preprocessor, Workload

GOOD = "it takes a file's bytes and returns one numpy array"


@dataclass(frozen=True)
class Tensor:
    """What a model takes as its input: a NumPy type, and a shape in which -1 stands for any length."""

    dtype: np.dtype
    shape: tuple[int, ...]
    """Of one item, without a batch dimension."""

    def takes(self, array: np.ndarray) -> bool:
        """Tell whether the model takes this array, of one item."""
        alike = len(array.shape) == len(self.shape)
        fits = alike and all(wanted in (-1, n) for n, wanted in zip(array.shape, self.shape, strict=True))
        return fits and array.dtype == self.dtype

    def __str__(self) -> str:
        return f"{self.dtype} ({', '.join('any' if n == -1 else str(n) for n in self.shape)})"


def check_workload(
    workload: Workload, placements: Iterable[str], sent: list[Payload], library: str = "", url: str = ""
) -> None:
    """Prepare these payloads as each of the placements does, if the workload is read from a file.

    `library` is the one asked for, empty for each placement's first. With the `url` of a server, the arrays must also
    be what its models take; the workload must then be complete, as by `model_config.complete`.

    Raises ValueError with one line that names the workload, the placement, what was raised or returned, and what is
    good; ConnectionError as `model_config.read` does.
    """
    for name in placements if workload.file else ():
        placement, where = workload.placements[name], f"placement {name!r} of {workload.name}"
        preprocess = make_preprocessor(placement, where, library)
        wanted = find_input(placement, url, where) if url else None
        for payload in sent:
            array = prepare(preprocess, where, payload)
            if wanted and not wanted.takes(array):
                gives = f"{array.dtype} {array.shape} for {payload.name}"
                takes = f"{placement.model} takes {wanted}"
                if placement.prepares:
                    raise ValueError(f"prepare of {where} returned {gives}; {takes}")
                raise ValueError(f"{where} sends {gives}, as it has no prepare; {takes}")


def prepare_once(workload: Workload, placement: str, payload: Payload) -> np.ndarray:
    """Make the placement's preprocessor, and prepare one payload. Returns the array, without a batch dimension.

    Raises ValueError as `make_preprocessor` and `prepare` do.
    """
    where = f"placement {placement!r} of {workload.name}"
    return prepare(make_preprocessor(workload.placements[placement], where), where, payload)


def prepare(preprocess: Preprocessor, where: str, payload: Payload) -> np.ndarray:
    """Prepare one payload; `where` names the placement and the workload in messages.

    Raises ValueError with one line, whatever the function raises (but not for Ctrl-C), and if what it returns is no
    array of numbers.
    """
    try:
        array = preprocess(payload.encoded)
    except (Exception, SystemExit) as error:
        raised = f"{type(error).__name__}: {error}"
        raise ValueError(one_line(f"prepare of {where} raised {raised} for {payload.name}; {GOOD}")) from None
    if not isinstance(array, np.ndarray):
        what = "None" if array is None else f"an object of type {type(array).__name__}"
        raise ValueError(f"prepare of {where} returned {what} for {payload.name}; {GOOD}")
    if array.dtype == object or not np_to_triton_dtype(array.dtype):
        raise ValueError(f"prepare of {where} returned an array of {array.dtype} for {payload.name}; {GOOD} of numbers")
    return array


def make_preprocessor(placement: Placement, where: str, library: str = "") -> Preprocessor:
    """Make the preprocessor of a library. Raises ValueError with one line if that fails, or makes no function."""
    good = "it takes nothing and returns a function of a file's bytes"
    try:
        preprocess = placement.preprocessor(library)
    except (Exception, SystemExit) as error:
        raised = f"{type(error).__name__}: {error}"
        raise ValueError(one_line(f"the maker in per_thread of {where} raised {raised}; {good}")) from None
    if not callable(preprocess):
        made = type(preprocess).__name__
        raise ValueError(f"the maker in per_thread of {where} returned an object of type {made}; {good}")
    return preprocess


def find_input(placement: Placement, url: str, asked_by: str) -> Tensor | None:
    """Return what the server at `url` says of a placement's input; None if its model has no such input, or of no type.

    Raises ConnectionError as `model_config.read` does.
    """
    config = read(url, placement.model, asked_by)
    for each in config.get("input", ()):
        dtype = triton_to_np_dtype(str(each.get("data_type", "")).removeprefix("TYPE_"))
        if each.get("name") == placement.input and dtype is not None:
            # JSON has 64-bit integers as text.
            dims = tuple(int(n) for n in each.get("dims", ()))
            # A model without batches has the client's batch dimension, which is 1, among its own.
            return Tensor(np.dtype(dtype), dims if int(config.get("max_batch_size", 0)) else dims[1:])
    return None
