"""Whether a workload of a user's own can be sent at all: tried before anything is measured.

A file's functions are strangers' code: they raise, exit, or return what no model takes. All of that is said in one
line, before a directory is made or a request is sent. The built-in workloads are tested, and not tried here.
"""

from collections.abc import Iterable

from common.messages import one_line
from workloads.payloads import Payload
from workloads.tensors import Misfit, Tensor
from workloads.workload import Placement, Preprocessor, Workload

GOOD = "it takes a file's bytes and returns a NumPy array, bytes, or a dict of them by the names of inputs"


def check_workload(workload: Workload, placements: Iterable[str], sent: list[Payload], library: str = "") -> None:
    """Prepare these payloads as each of the placements does, if the workload is read from a file.

    `library` is the one asked for, empty for each placement's first. What is prepared must be what the model takes; the
    workload must then be complete, as by `model_config.complete`, or else only what it says itself is known.

    Raises ValueError with one line that names the workload, the placement, what was raised or returned, and what is
    good.
    """
    for name in placements if workload.file else ():
        preprocess = make_preprocessor(workload.placements[name], workload.describe_placement(name), library)
        for payload in sent:
            prepare(workload, name, preprocess, payload)


def prepare_once(workload: Workload, placement: str, payload: Payload) -> tuple[Tensor, ...]:
    """Make the placement's preprocessor, and prepare one payload. Returns the tensors that are sent.

    Raises ValueError as `make_preprocessor` and `prepare` do.
    """
    preprocess = make_preprocessor(workload.placements[placement], workload.describe_placement(placement))
    return prepare(workload, placement, preprocess, payload)


def prepare(workload: Workload, name: str, preprocess: Preprocessor, payload: Payload) -> tuple[Tensor, ...]:
    """Prepare one payload as the placement of that name does. Returns the tensors that are sent.

    Raises ValueError with one line, whatever the function raises (but not for Ctrl-C), and if what it returns is not
    what the model takes.
    """
    placement, where = workload.placements[name], workload.describe_placement(name)
    try:
        prepared = preprocess(payload.encoded)
    except (Exception, SystemExit) as error:
        raised = f"{type(error).__name__}: {error}"
        raise ValueError(one_line(f"prepare of {where} raised {raised} for {payload.name}; {GOOD}")) from None
    try:
        return placement.target.encode(prepared)
    except Misfit as error:
        does = f"prepare of {where} returned" if placement.prepares else f"{where}, which has no prepare, sends"
        raise ValueError(one_line(f"{does} {error.given} for {payload.name}; {error.expected}")) from None


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
