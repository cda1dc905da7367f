"""Checks of `--link`: its rate, and what cannot be measured with a server of its own at the far end."""

from argparse import Namespace

from serving import model_loader
from serving.settings import WEIGHTS
from workloads.placement import Placement
from workloads.transport_choice import HTTP

SLOWEST, FASTEST = 1, 10_000
"""Rates in Mbit/s: below, a tensor takes many seconds; above, this machine is slower than the link."""


def check_link(options: Namespace) -> None:
    """Check --link, and complete --weights, which belongs to it. Raises ValueError for what goes with no link."""
    if options.link is None:
        if options.weights:
            raise ValueError("--weights are of the server that --link starts, and there is no --link")
        return
    if not SLOWEST <= options.link <= FASTEST:
        raise ValueError(f"--link must lie between {SLOWEST} and {FASTEST} Mbit/s, not {options.link:g}")
    options.weights = options.weights or WEIGHTS[0]
    for flag in ("url", "grpc_port", "gateway_cores"):
        if flag in options.explicit:
            raise ValueError(f"--link starts a server of its own, so it takes no --{flag.replace('_', '-')}")
    for name, arms in options.arms.items():
        for arm in arms:
            if why := describe_obstacle(options.workloads[name].placements[arm]):
                raise ValueError(f"--link lies between client and server, and {arm} of {name} {why}")


def describe_obstacle(placement: Placement) -> str:
    """Say why a placement cannot be measured over a link; empty if it can."""
    if placement.network:
        return "asks no server"
    if placement.gateway:
        return "has its gateway on the client's side"
    # Shared memory crosses no link, Triton 2.51 dies of gRPC requests that are given up on the way (server issues 7368
    # and 8034), and JSON is printed by the client after `sent`, which would count as the link's time.
    if placement.transport.name != HTTP.name:
        return "does not cross it by plain HTTP, which is all that is measured there"
    served = {name for folder in model_loader.OURS for name in model_loader.names(folder)}
    lacks = not placement.derived and placement.model not in served
    return f"asks the model {placement.model}, which the server that it starts lacks" if lacks else ""
