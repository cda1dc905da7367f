"""Finds out how a server is reached by the transports of a workload's placements, before anything is measured."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from common import address
from workloads.transports import Transport
from workloads.workload import Workload

PATIENCE = 10.0  # seconds for an answer


def reach(
    workload: Workload, url: str, names: Iterable[str], record: Mapping, grpc_port: int | None = None
) -> Workload:
    """Return the workload with what the transports of the placements `names` must know of the server at `url`.

    `record` is the launcher's of that server; empty for one that it has not started. The port of gRPC is `grpc_port`,
    or the record's, or else the HTTP port + 1, as Triton has it. Raises ValueError with one line if the server is not
    reached by a transport.
    """
    placements = dict(workload.placements)
    for name in names:
        placement = placements[name]
        if placement.transport.name == "grpc":
            port = grpc_port or record.get("grpc_port") or address.parse(url).port + 1
            check_grpc(url, port, name)
            placements[name] = replace(placement, transport=Transport("grpc", port=port))
    return replace(workload, placements=placements)


def check_grpc(url: str, port: int, arm: str) -> None:
    """Raise ValueError if no server answers gRPC at that port."""
    from loadgen.transport import grpc  # only where it is used

    connection = grpc.Connection(url, PATIENCE, port)
    if refusal := connection.is_live():
        at = address.Address(address.parse(url).host, port).authority
        raise ValueError(f"{arm}: no server answers gRPC at {at} ({refusal}); is --grpc-port right?")
