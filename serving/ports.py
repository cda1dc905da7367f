"""Ports of this machine that nobody listens on."""

import contextlib
import socket

PORTS = ("http", "grpc", "metrics")  # the kinds that a server needs, in the order of Triton's 8000, 8001, 8002


def free_ports(count: int = len(PORTS)) -> list[int]:
    """Return so many different TCP ports that are free now on the loopback interface.

    Another process may take one before it is used; whoever then cannot listen has to ask again.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
