"""`crossover compare`: which placement of the preprocessing is better, and by how much?"""

from typing import Any

import click

from crossover.cli import options


@click.command()
@options.server
@options.output
def compare(**values: Any) -> int:
    """Compare the placements of each workload at one load, in rounds on identical arrivals."""
    raise click.UsageError("not there yet")
