"""Which placement of the preprocessing is better, by how much, and from where on.

What a pipeline of one's own is described with (docs/workloads.md) can be imported from here.
"""

from workloads.payloads import Payload, files
from workloads.workload import Answer, Placement, Workload, per_thread

__all__ = ["Answer", "Payload", "Placement", "Workload", "files", "per_thread"]
