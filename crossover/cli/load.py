"""`crossover load`: how fast is it at which load?"""

from typing import Any

import click

from crossover.cli import options
from crossover.cli.experiment import conduct
from crossover.experiments.load.run import SHARES, Load, check

ALONE = "one request at a time comes to"
SUGGESTED = ", ".join(f"{share:g}" for share in SHARES)


@click.command()
@options.workload_names
@click.option("--rate", metavar="R,R,..", default="", help=f"Per second; default: {SUGGESTED} of what {ALONE}.")
@click.option("--arms", metavar="A,B", default=None, help="Placements; default: the one that sends files as they are.")
@options.transport
@options.library
@options.payloads
@options.seconds(60)
@options.seed
@options.reports
@options.resume
@options.server
@options.metrics
@options.output
@options.explain
def load(**values: Any) -> int:
    """Print a quick table: load against throughput, latency and CPU.

    Each rate is offered once. What is too little for a percentile is said; for a comparison take `crossover compare`.
    """
    return conduct(values, check, Load)
