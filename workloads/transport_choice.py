"""Which transport a placement takes, by the name that arms are written with: `client+grpc`.

Workloads are data, and this is the part of them that chooses. The transports themselves, which open connections and
send requests, are the package `transport`; its `connect` has the one of a name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

GRPC = "grpc"
WORDS = {"http": "HTTP", GRPC: "gRPC", "shm": "shared memory", "json": "JSON", "base64": "base64 in JSON"}
"""Transport -> what sentences call it. The first is used where an arm names none."""


@dataclass(frozen=True)
class Transport:
    """A transport, with what its connections must know of the server; `transport.reach` finds that out.

    Raises ValueError for a name that is not known.
    """

    name: str = "http"
    port: int = 0
    """Of the server's gRPC; 0 until it is known."""
    key: str = field(default="", repr=False)
    """What opens the registration of shared memory; empty where the server asks for none."""
    outputs: Mapping[str, int] = field(default_factory=dict)
    """Outputs that come through shared memory, large ones of one size: name -> bytes."""

    def __post_init__(self):
        if self.name not in WORDS:
            raise ValueError(f"unknown transport {self.name!r}; try one of {', '.join(WORDS)}")


HTTP = Transport()


def split_name(arm: str) -> tuple[str, str]:
    """Split the name of a placement as an arm is written: `client+grpc` is ("client", "grpc"), `client` ("client", "").

    Raises ValueError for a transport that is not known, or an empty one.
    """
    placement, plus, transport = arm.partition("+")
    return placement, Transport(transport).name if plus else ""
