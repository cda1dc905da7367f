"""`crossover overload`: what does the server do with more than it can carry?"""

from typing import Any

import click

from crossover.cli import options
from crossover.cli.experiment import conduct
from crossover.experiments.overload.run import USUAL, Overloads, check
from serving.settings import WEIGHTS


@click.command()
@options.workload_names
@options.arms
@options.library
@options.transport
@options.seconds(0, f"; default: as many as give each overload {USUAL:g}")
@click.option("--slo", metavar="MS", type=float, default=2000, show_default=True, help="A good answer's latency.")
@click.option("--capacity", metavar="RATE", type=float, default=0, help="Requests per second; default: found, per arm.")
@click.option("--start", type=click.Choice(WEIGHTS), help="Own servers of these weights: bounded, then not.")
@options.seed
@options.server
@options.output
def overload(**values: Any) -> int:
    """Offer 1, 2 and 5 times what the server can carry, and a spike.

    Around each overload it is calm for a while: that says what is normal, and how long it takes to be back.
    """
    return conduct(values, check, Overloads)
