"""`crossover sweep`: where does the answer change?"""

from typing import Any

import click

from crossover.cli import options
from crossover.cli.experiment import conduct
from crossover.experiments.sweep import grid
from crossover.experiments.sweep.run import SweepExperiment, check


@click.command()
@options.workload_names
@options.arms
@options.seconds(1800)
@click.option(
    "--sweeps", metavar="A,B", default=",".join(grid.NAMES), show_default=True, help="The quantities to vary."
)
@click.option("--weights", metavar="A,B", default="real,tiny", show_default=True, help="Networks of its own servers.")
@click.option("--rounds", type=int, default=6, show_default=True, help="At each point; fewer than 6: no interval.")
@click.option("--engine", type=click.Choice(["auto", "local", "docker"]), default="auto", help="As for `crossover up`.")
@click.option("--url", metavar="URL", default="", help="A server that is up, for sizes and workers; default: its own.")
@options.protection
@options.state
@options.seed
@options.reports
@options.resume
@options.output
@options.explain
def sweep(**values: Any) -> int:
    """Sweep input size, link, workers and cores: where does the other placement become the better one?

    It starts servers of its own, with the real networks and with tiny ones.
    """
    return conduct(values, check, SweepExperiment, own_server=True)
