"""`crossover gpu-check`: does this machine's GPU do what the server needs, and how fast?"""

import dataclasses
import json
from math import isnan

import click

from crossover.cli import options
from crossover.gpu_check.check import Check
from crossover.gpu_check.finding import PROBLEM, Finding, summarise

SECONDS, SHORT = 120, 60  # of the whole check, and of its short form
MOST = 86400  # seconds that may be asked for
BROKEN = 1  # the exit code where a finding is a problem


def refuse_nan(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Return the value, unless it is no number: a range lets that pass."""
    if value is not None and isnan(value):
        raise click.BadParameter(f"{value} is no number of seconds")
    return value


@click.command("gpu-check")
@click.option("--short", is_flag=True, help=f"Measure less, within {SHORT} seconds.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=10, max=MOST),
    callback=refuse_nan,
    metavar="S",
    help=f"Seconds that it may take; default: {SECONDS}, or {SHORT} with --short.",
)
@click.option(
    "--weights",
    type=click.Choice(["auto", "real", "tiny"]),
    default="auto",
    show_default=True,
    help="auto: the real networks if they are exported, else tiny stand-ins.",
)
@options.as_json
def gpu_check(short: bool, seconds: float | None, weights: str, as_json: bool) -> int:
    """Check driver, libraries, decoding, networks and the server on this machine's GPU, and say what to do.

    It prints a line per finding, to be pasted into an issue. Without a GPU it says what it skipped, and checks the
    rest. It starts a server of its own and stops it. The exit code is 1 if anything is a problem.
    """

    def show(finding: Finding) -> None:
        if not as_json:
            print(finding, flush=True)

    check = Check(show, short, weights, seconds or (SHORT if short else SECONDS))
    try:
        check.run()
    finally:
        if as_json:
            print(json.dumps(write_document(check), indent=1), flush=True)
        else:
            print(summarise(check.findings, check.budget.used, check.has_card), flush=True)
    return BROKEN if check.has_problems else 0


def write_document(check: Check) -> dict:
    """Return the findings with their figures, as JSON can hold them."""
    findings = [dataclasses.asdict(finding) for finding in check.findings]
    problems = sum(finding.state == PROBLEM for finding in check.findings)
    return {"findings": findings, "problems": problems, "seconds": check.budget.used, "log": check.log}
