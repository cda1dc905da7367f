"""Opens connections by transport; a transport's library is imported by the first connection that needs it."""

from common import address
from transport import http, json_text, shared_memory
from transport.message import Connection
from workloads.transport_choice import GRPC, Transport


def connect(transport: Transport, url: str, timeout: float) -> Connection:
    """Make a connection to the server at `url` for one thread; `timeout` is that of each request, in seconds.

    Nothing is sent before the first `post`. `url` is the address of the server's HTTP, also for gRPC, whose port is the
    transport's, or else the usual one beside HTTP's. Raises ValueError for an address that is refused.
    """
    if transport.name == GRPC:
        from transport import grpc  # 45 MB and half a second, which HTTP does without

        return grpc.Connection(url, timeout, transport.port or address.parse(url).usual_grpc_port)
    if transport.name == "shm":
        return shared_memory.Connection(url, timeout, transport)
    if transport.name in ("json", "base64"):
        return json_text.Connection(url, timeout, transport.name == "base64")
    return http.Connection(url, timeout)
