"""Which placement of the preprocessing is better, by how much, and from where on.

What a pipeline of one's own is described with (docs/own-pipeline.md) can be imported from here. It is imported on its
first use: `crossover --help` and `crossover down` need none of it, nor the numpy behind it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.array_payloads import arrays, made
    from workloads.payloads import Payload, files
    from workloads.tensors import Input
    from workloads.workload import Answer, Placement, Workload, per_thread

__all__ = ["Answer", "Input", "Payload", "Placement", "Workload", "arrays", "files", "made", "per_thread"]
PLACES = {
    "arrays": "workloads.array_payloads",
    "made": "workloads.array_payloads",
    "Input": "workloads.tensors",
    "Payload": "workloads.payloads",
    "files": "workloads.payloads",
}
"""Where a name is defined, if not in `workloads.workload`."""


def __getattr__(name: str) -> Any:
    """Import what `__all__` names, when it is used. Raises AttributeError for other names."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PLACES.get(name, "workloads.workload")), name)
