"""`crossover placements`: all placements side by side, or any of them."""

from typing import Any

import click

from crossover.cli import options
from crossover.cli.experiment import conduct
from crossover.experiments.placements.run import Placements, check


@click.command()
@options.workload_names
@click.option("--arms", metavar="A,B,..", default=None, help="Placements, the baseline first; default: all.")
@click.option("--rate", metavar="R", type=float, default=0, help="Per second; default: what the slowest arm carries.")
@click.option("--allow-different", is_flag=True, help="Compare placements that answer differently.")
@options.transport
@options.library
@options.payloads
@options.seconds(300)
@options.seed
@options.reports
@options.resume
@options.server
@options.output
@options.explain
def placements(**values: Any) -> int:
    """Print one table of placements, each with intervals against the first one.

    What only some of them ask is loaded into the server until the run ends. For a verdict on two of them take
    `crossover compare --arms A,B`.

    \b
    crossover placements image
    crossover placements image --arms client,client:uint8,server,server:scaled
    """  # noqa: D301 -- click reads the control character
    return conduct(values, check, Placements)
