"""`crossover soak`: what grows or drifts?"""

from typing import Any

import click

from crossover.cli import options
from crossover.cli.experiment import conduct
from crossover.experiments.soak.run import Soak, check
from serving.settings import WEIGHTS


@click.command()
@options.seconds(600)
@click.option("--url", metavar="URL", default="", help="A server that is up, left alone; default: one of its own.")
@options.protection
@options.state
@click.option("--weights", type=click.Choice(WEIGHTS), default="real", show_default=True, help="Its server's networks.")
@options.seed
@options.output
def soak(**values: Any) -> int:
    """Send good and damaged files at half capacity, and kill a stub of its own server now and then.

    It prints a row a minute, and at the end how memory, descriptors and latency drifted.
    """
    return conduct(values, check, Soak, own_server=True)
