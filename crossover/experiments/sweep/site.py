"""Where points of a sweep are measured: a server of its own, here or at the far end of a link."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crossover.experiments.sweep import network_link
from crossover.measurement.extra_models import Reference, load_in_child
from serving import ROOT
from serving.server import Server
from serving.temporary_server import temporary_server


@dataclass(frozen=True)
class Site:
    """A server with `weights` (of PHRASES), and the link that lies before it; None where it is on this side."""

    weights: str
    server: Server
    link: network_link.Link | None = None


@contextmanager
def server_behind_link(
    link: network_link.Link,
    state: Path,
    weights: str,
    cores: str,
    derived: Sequence[Reference],
    slo: str = "",
) -> Iterator[Server]:
    """Start a server at the far end of the link, and keep this thread at the near end, until the trial ends.

    The server also has the models of `derived`, made from others. `state`, `cores` and `slo` are as in
    `temporary_server`. Raises Unavailable if the server does not come up.
    """
    with link.inside("server"), temporary_server(state, weights, "local", cores, "0.0.0.0", slo) as server:
        server = Server(server.url.replace("127.0.0.1", network_link.ADDRESSES["server"]), server.state)
        with link.inside("client"):
            for reference in derived:
                models = ROOT / "model_repository" if weights != "tiny" else state / "models"
                load_in_child(server, models, reference)
            yield server
