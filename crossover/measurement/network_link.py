"""What lies between client and server: a link of a given rate on one machine, and a server at its far end.

The link is a veth pair between two network namespaces, one for each side, with a token bucket (`tc tbf`) at either end.
It models a rate and nothing else: a packet waits for those before it, none is lost, and there is no distance, for
which the kernel would need `netem`. Frames count with their headers: of 100 Mbit/s about 95.6 carry data.
"""

import ctypes
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from crossover.measurement.extra_models import Reference, load_in_child
from serving import ROOT
from serving.server import Server, Unavailable
from serving.temporary_server import UNBOUNDED, temporary_server

ADDRESSES = {"client": "10.203.77.1", "server": "10.203.77.2"}  # seen by nobody else: the namespaces have no other link
PACKET = 1514
DATA_SHARE = 0.956
"""Of a link's rate: the rest is headers."""
QUEUE = 1 << 24  # bytes that may wait in a bucket: more than ever is in flight, so that nothing is dropped
NEWNET = 0x40000000  # of setns(2)


class Missing(Unavailable):
    """This machine cannot make such a link; the message is one line that says why."""


def bucket(mbit: float) -> list[str]:
    """Return the arguments of tc's token bucket filter (`tbf`) for a rate.

    What may go out at once after a pause is a quarter of a millisecond's worth, or two packets: a deeper bucket would
    let the first part of every request through for nothing.
    """
    burst = max(2 * PACKET, round(mbit * 1e6 / 8 / 4000))
    return ["tbf", "rate", f"{round(mbit * 1e6)}bit", "burst", f"{burst}b", "limit", f"{QUEUE}b"]


class Link:
    """`name` begins the names of its namespaces, and of nothing else on this machine."""

    def __init__(self, name: str):
        self.name = name

    def namespace(self, side: str) -> str:
        """Return the name of the network namespace of a side."""
        return f"{self.name}-{side}"

    def limit(self, mbit: float) -> None:
        """Limit both directions to a rate in Mbit/s."""
        for side in ADDRESSES:
            run("tc", "-n", self.namespace(side), "qdisc", "replace", "dev", side, "root", *bucket(mbit))

    def distance(self) -> str:
        """Return why this kernel cannot add a delay; empty if it could."""
        try:
            run("tc", "-n", self.namespace("client"), "qdisc", "replace", "dev", "lo", "root", "netem", "delay", "1ms")
        except Missing as missing:
            return str(missing)
        return ""

    def sent(self, side: str) -> int:
        """Return the bytes that have left that side, headers and all."""
        told = run("ip", "-n", self.namespace(side), "-s", "-j", "link", "show", side)
        return json.loads(told)[0]["stats64"]["tx"]["bytes"]

    @contextmanager
    def inside(self, side: str) -> Iterator[None]:
        """Move this thread, and the threads and processes that it starts meanwhile, into that side's network alone."""
        with Path("/proc/thread-self/ns/net").open() as own:
            with Path("/run/netns", self.namespace(side)).open() as there:
                enter(there.fileno())
            try:
                yield
            finally:
                enter(own.fileno())


@contextmanager
def link(name: str) -> Iterator[Link]:
    """Set a link up; afterwards, whatever happens, nothing of it is left. Raises Missing."""
    made = Link(name)
    tidy(made)  # what a killed run may have left
    try:
        for side in ADDRESSES:
            run("ip", "netns", "add", made.namespace(side))
        client, server = map(made.namespace, ADDRESSES)
        run("ip", "-n", client, "link", "add", "client", "type", "veth", "peer", "name", "server", "netns", server)
        for side, address in ADDRESSES.items():
            of = ("ip", "-n", made.namespace(side))
            run(*of, "address", "add", f"{address}/30", "dev", side)
            for device in (side, "lo"):
                run(*of, "link", "set", device, "up")
        made.limit(1000)
        yield made
    finally:
        tidy(made)


def missing(name: str) -> str:
    """Return why such a link cannot be made here; empty if it can."""
    try:
        with link(name):
            return ""
    except Missing as why:
        return str(why)


def tidy(made: Link) -> None:
    """Remove the namespaces of a link; each takes its interfaces along."""
    for side in ADDRESSES:
        if Path("/run/netns", made.namespace(side)).exists():
            run("ip", "netns", "delete", made.namespace(side))


def run(*command: str) -> str:
    """Run a command and return what it prints. Raises Missing with what it complains of."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Missing(f"{command[0]} is not installed (Debian: iproute2)") from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Missing(f"`{' '.join(command)}`: {why}" + ("" if os.geteuid() == 0 else " (it needs root)"))
    return done.stdout


def enter(namespace: int) -> None:
    """Move the calling thread into the network namespace of this file descriptor, by setns(2). Raises Missing."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, NEWNET):
        raise Missing(f"setns: {os.strerror(ctypes.get_errno())}")


@contextmanager
def server_behind_link(
    link: Link, state: Path, weights: str, cores: str = "", derived: Sequence[Reference] = ()
) -> Iterator[Server]:
    """Start a server at the far end of the link, and keep this thread at the near end, until the block ends.

    It refuses nothing, however long its queue is. It also has the models of `derived`, made from others. `state` and
    `cores` are as in `temporary_server`. Raises Unavailable if the server does not come up.
    """
    with link.inside("server"), temporary_server(state, weights, "local", cores, "0.0.0.0", UNBOUNDED) as server:
        server = Server(server.url.replace("127.0.0.1", ADDRESSES["server"]), server.state)
        with link.inside("client"):
            for reference in derived:
                models = ROOT / "model_repository" if weights != "tiny" else state / "models"
                load_in_child(server, models, reference)
            yield server
