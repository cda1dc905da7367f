"""Network namespaces on a bridge of this machine's: clients with addresses of their own, as on several machines."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.tls_cost import pass_on


class Missing(Exception):
    """This machine cannot make namespaces; the message says why."""


def ip(*arguments: str) -> None:
    """Run `ip` or another command of iproute2's. Raises Missing."""
    try:
        subprocess.run(arguments, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Missing(f"{arguments[0]} is not installed (Debian: iproute2)") from None
    except subprocess.CalledProcessError as error:
        root = "" if os.geteuid() == 0 else " (it needs root)"
        raise Missing(f"`{' '.join(arguments)}`: {error.stderr.strip()}{root}") from None


class Networks:
    """Namespaces `names`, each with one interface `wire` on a bridge; this machine is at `host`."""

    def __init__(self, prefix: str, count: int):
        self.bridge, self.names = prefix, [f"{prefix}-{number}" for number in range(count)]
        self.host = "10.203.78.1"

    def address(self, number: int) -> str:
        return f"10.203.78.{number + 2}"

    def inside(self, number: int) -> list[str]:
        """What a command begins with that runs in that namespace."""
        return ["ip", "netns", "exec", self.names[number]]

    def delay(self, number: int, ms: int) -> bool:
        """Delay what leaves a namespace; False where the kernel has no `netem`."""
        with suppress(Missing):
            ip("tc", "-n", self.names[number], "qdisc", "replace", "dev", "wire", "root", "netem", "delay", f"{ms}ms")
            return True
        return False

    def cut(self, number: int) -> None:
        """Cut a namespace off, without a word to anybody: its packets are lost from now on."""
        ip("ip", "-n", self.names[number], "link", "set", "wire", "down")

    def join(self) -> None:
        """Put every namespace back on the bridge."""
        for name in self.names:
            ip("ip", "-n", name, "link", "set", "wire", "up")

    def remove(self) -> None:
        for name in self.names:
            with suppress(Missing):
                ip("ip", "netns", "delete", name)
        with suppress(Missing):
            ip("ip", "link", "delete", self.bridge)


@contextmanager
def networks(prefix: str, count: int) -> Iterator[Networks]:
    """Make namespaces; afterwards nothing of them is left. Raises Missing."""
    made = Networks(prefix, count)
    try:
        ip("ip", "link", "add", made.bridge, "type", "bridge")
        ip("ip", "address", "add", f"{made.host}/24", "dev", made.bridge)
        ip("ip", "link", "set", made.bridge, "up")
        for number, name in enumerate(made.names):
            ip("ip", "netns", "add", name)
            ip("ip", "link", "add", f"{prefix}{number}", "type", "veth", "peer", "name", "wire", "netns", name)
            ip("ip", "link", "set", f"{prefix}{number}", "master", made.bridge, "up")
            ip("ip", "-n", name, "address", "add", f"{made.address(number)}/24", "dev", "wire")
            for device in ("wire", "lo"):
                ip("ip", "-n", name, "link", "set", device, "up")
        yield made
    finally:
        made.remove()


@contextmanager
def forward(host: str, target: tuple[str, int]) -> Iterator[int]:
    """Pass on connections to an address of this machine's; yields the port, which the target does not listen on."""
    with socket.create_server((host, 0), backlog=64) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=pass_on, args=(client, target, None), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
