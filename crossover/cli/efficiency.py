"""`crossover efficiency`: does an ensemble answer as many requests as its steps allow?"""

from typing import Any

import click

from crossover.cli import options
from crossover.cli.experiment import conduct
from crossover.experiments.efficiency.run import Efficiency, check


@click.command()
@options.workloads
@options.seconds(120)
@options.seed
@options.reports
@options.server
@options.output
@options.explain
def efficiency(**values: Any) -> int:
    """Compare the rate of an ensemble with what its steps would allow, each asked alone."""
    return conduct(values, check, Efficiency)
