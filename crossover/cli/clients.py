"""`crossover clients`: does it matter how the client works, and how the requests arrive?"""

from typing import Any

import click

from crossover.cli import options
from crossover.cli.experiment import conduct
from crossover.experiments.burst_shapes import CAMERAS
from crossover.experiments.client_modes.run import FRAMES, ClientModes, check


@click.command()
@options.workloads
@options.transport
@options.seconds(1800, f"; it takes longer where {CAMERAS * FRAMES} requests in every condition and round do")
@click.option("--rounds", type=int, default=6, show_default=True, help="Rounds; fewer than 6 give no interval.")
@click.option("--rate", type=float, default=0, help="Requests per second; default: found by measurement.")
@options.seed
@options.reports
@options.resume
@options.server
@options.output
@options.explain
def clients(**values: Any) -> int:
    """Compare sequential, threaded and asynchronous clients under uniform, Poisson and video arrivals."""
    return conduct(values, check, ClientModes)
