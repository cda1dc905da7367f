"""Finds out how a server is reached by the transports of a workload's placements, before anything is measured."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod

import numpy as np
from tritonclient.utils import triton_to_np_dtype

from common import address
from transport import shared_memory
from transport.regions import clear_abandoned
from workloads.model_config import read_metadata
from workloads.transport_choice import Transport
from workloads.workload import Placement, Workload

PATIENCE = 10.0  # seconds for an answer
LARGE = 1 << 16  # bytes from which an output comes through shared memory


def reach(
    workload: Workload, url: str, names: Iterable[str], record: Mapping, grpc_port: int | None = None
) -> Workload:
    """Return the workload with what the transports of the placements `names` must know of the server at `url`.

    `record` is the launcher's of that server; empty for one that it has not started. The port of gRPC is `grpc_port`,
    or the record's, or else the HTTP port + 1, as Triton has it. Raises ValueError with one line if the server is not
    reached by a transport, ConnectionError if it has died.
    """
    clear_abandoned()  # what killed clients have left, whatever this one uses
    placements = dict(workload.placements)
    for name in names:
        placement = placements[name]
        if placement.transport.name == "grpc":
            port = grpc_port or record.get("grpc_port") or address.parse(url).usual_grpc_port
            check_grpc(url, port, name)
            placements[name] = replace(placement, transport=Transport("grpc", port=port))
        if placement.transport.name == "shm":
            transport = Transport("shm", key=record.get("shm_key") or "")
            check_shared_memory(url, transport, name)
            outputs = find_large_outputs(url, placement)
            placements[name] = replace(placement, transport=replace(transport, outputs=outputs))
        if placement.transport.name == "base64":
            check_base64(url, placement, name)
    return replace(workload, placements=placements)


def check_grpc(url: str, port: int, arm: str) -> None:
    """Raise ValueError if no server answers gRPC at that port, ConnectionError if it has died since it was started."""
    from transport import grpc  # only where it is used

    connection = grpc.Connection(url, PATIENCE, port)
    if refusal := connection.is_live():
        at = address.Address(address.parse(url).host, port).authority
        silent = f"{arm}: no server answers gRPC at {at} ({refusal})"
        if death := address.find_death(url):
            raise ConnectionError(f"{silent}; {death}")
        raise ValueError(f"{silent}; is --grpc-port right?")


def check_shared_memory(url: str, transport: Transport, arm: str) -> None:
    """Raise ValueError if the server does not map a region of this process."""
    if refusal := shared_memory.Connection(url, PATIENCE, transport).check():
        open_it = "it must run on this machine, and be started with `crossover up --shm`"
        raise ValueError(f"{arm}: the server at {url} takes no shared memory of this process ({refusal}); {open_it}")


def check_base64(url: str, placement: Placement, arm: str) -> None:
    """Raise ValueError if the model takes no BYTES: only there can base64 be text, which the model then decodes."""
    taken = {each["name"]: each["datatype"] for each in (read_metadata(url, placement.model) or {}).get("inputs", [])}
    if taken and "BYTES" not in taken.values():
        listed = ", ".join(f"{datatype} {name}" for name, datatype in taken.items())
        raise ValueError(
            f"{arm}: base64 needs a model with a BYTES input that decodes it; {placement.model} takes {listed}"
        )


def find_large_outputs(url: str, placement: Placement) -> dict[str, int]:
    """Return the outputs of a placement that are large and of one size, as its model's metadata say: name -> bytes."""
    found = {}
    for output in (read_metadata(url, placement.model) or {}).get("outputs", []):
        dims, dtype = output["shape"], triton_to_np_dtype(output["datatype"])
        size = prod(dims[1:] if placement.batched is not False and dims[:1] == [-1] else dims)
        if size > 0 and -1 not in dims[1:] and dtype not in (None, np.object_):
            found[output["name"]] = size * np.dtype(dtype).itemsize
    return {name: size for name, size in found.items() if size >= LARGE}
