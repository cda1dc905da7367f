"""`crossover compare`: which placement of the preprocessing is better, and by how much?"""

from argparse import Namespace
from typing import Any

import click

from crossover.analysis.costs import Prices
from crossover.cli import options, thresholds
from crossover.cli.experiment import conduct
from crossover.experiments.compare.load import ROUNDS
from crossover.experiments.compare.options import check
from crossover.experiments.compare.run import Comparison
from crossover.measurement.unloaded_latency import SLO_FACTOR
from loadgen.arm import MODES

PRICES = f"cpu={Prices().client:g},gb={Prices().gb:g}"


@click.command()
@options.workloads
@options.transport
@options.seconds(270, "; --continue adds as many")
@click.option("--rounds", type=int, default=0, help=f"Rounds of every arm; default: {ROUNDS} or more, where they fit.")
@click.option("--arrivals", metavar="SPEC", default="", help="As `crossover arrivals` takes them; default: Poisson.")
@click.option(
    "--slo", metavar="MS", type=float, default=0, help=f"A good answer's latency; default: {SLO_FACTOR} times unloaded."
)
@click.option("--modes", metavar="A,B", default="async", show_default=True, help=f"Client modes: {', '.join(MODES)}.")
@click.option(
    "--precision", type=float, default=0.025, show_default=True, help="Stop once the ratio is known to this share."
)
@click.option("--prices", metavar="SPEC", default="", help=f"Prices of a core-hour and a GB; default: {PRICES}.")
@click.option("--like", metavar="DIR", default="", help="Repeat the load of that run, to compare the two afterwards.")
@click.option(
    "--control",
    type=click.Choice(["aa", "slow"]),
    help="Self-check: an arm against itself, or 10 % slower.",
)
@click.option("--allow-different", is_flag=True, help="Compare placements that answer differently; reports say so.")
@click.option("--fail-if", metavar="LIMIT", multiple=True, help="Exit with 4, e.g. if 'p95>300' or 'ratio>1.1'.")
@options.seed
@options.reports
@options.resume
@options.server
@options.metrics
@options.output
@options.explain
def compare(fail_if: tuple[str, ...], **values: Any) -> int:
    """Compare the placements of each workload at one load, in rounds on identical arrivals.

    The workloads share the time; without any named, the built-in ones are measured.

    \b
    crossover compare image --seconds 60 --arrivals poisson:rate=4
    crossover compare --continue reports/<time> --seconds 600
    """  # noqa: D301 -- click reads the control character
    values["control"] = values["control"] or ""
    with options.usage_errors():
        limits = [thresholds.parse(each) for each in fail_if]

    def check_all(completed: Namespace) -> None:
        check(completed)
        thresholds.check(limits, completed)

    return conduct(values, check_all, Comparison, judge=lambda document: thresholds.judge(limits, document))
