"""`crossover capacity`: how much can each placement carry, and how does it take bursts?"""

from typing import Any

import click

from crossover.cli import options
from crossover.cli.experiment import conduct
from crossover.experiments.capacity.plan import FEWEST_TURNS, PERCENTILES
from crossover.experiments.capacity.run import Capacity, check
from crossover.measurement.unloaded_latency import SLO_FACTOR
from serving.settings import WEIGHTS

HIGHEST = f"default: the highest of {', '.join(map(str, PERCENTILES))} that there is time for"


@click.command()
@options.workloads
@options.transport
@options.seconds(1800, f"; it takes longer where {FEWEST_TURNS} turns do")
@click.option(
    "--slo", metavar="MS", type=float, default=0, help=f"The limit of latency; default: {SLO_FACTOR} times unloaded."
)
@click.option("--percentile", type=float, default=0, help=f"The percentile that the limit is for; {HIGHEST}.")
@click.option("--loads", metavar="A,B", help="Shares of the capacity for bursts; default: 0.5,0.7,0.9 or fewer.")
@click.option(
    "--link",
    metavar="MBIT",
    type=float,
    help="Measure a server of its own behind a link of so many Mbit/s; needs root.",
)
@click.option("--weights", type=click.Choice(WEIGHTS), help="Networks of that server; default: real.")
@options.seed
@options.reports
@options.resume
@options.server
@options.output
@options.explain
def capacity(**values: Any) -> int:
    """Find the Poisson rate at which each placement reaches a limit of latency, then offer it bursts.

    How long it measures decides about percentile, turns and loads.
    """
    return conduct(values, check, Capacity)
