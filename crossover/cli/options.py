"""The options that commands share, each declared once, and the checks that turn a ValueError into wrong usage.

A command takes them as decorators, `@options.server`, and gets their values as keyword arguments.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from common import access, address
from common.messages import end_clause, one_line
from serving import ROOT
from serving import state as records
from workloads.transport_choice import WORDS

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

DEFAULT_URL = "http://localhost:8000"


def declare(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Return a decorator that adds several options, in this order in the help."""

    def add(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return add


state = click.option(
    "--state",
    metavar="DIR",
    default=str(ROOT / records.DIRECTORY),
    show_default=f"{records.DIRECTORY} of the installation",
    help="The state directory of `up`.",
)
url = click.option(
    "--url",
    metavar="URL",
    default="",
    help=f"The server to ask; default: that of `up`, else {DEFAULT_URL}.",
)
protection = declare(
    click.option("--cacert", metavar="FILE", default="", help="https: believe the authorities in this PEM file only."),
    click.option("--insecure", is_flag=True, help="https: take any certificate; whoever is between can read along."),
)
server = declare(url, protection, state)
"""--url, --cacert, --insecure and --state; `reach_server` makes of them the server to ask."""


def complete_workload(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what a shell offers for a workload: the built-in ones' names, and files."""
    from workloads.catalogue import BUILT_IN  # here, as it takes numpy along

    names = [CompletionItem(name) for name in BUILT_IN if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


workload_names = click.argument(
    "workloads", nargs=-1, metavar="[image|audio|FILE.py]...", shell_complete=complete_workload
)
"""The workloads; the built-in ones if none is given."""

arms = click.option(
    "--arms",
    metavar="A,B",
    default=None,
    help="Placements, the baseline first; default: the workload's first two.",
)

transport = declare(
    click.option(
        "--transport",
        type=click.Choice(list(WORDS)),
        metavar="NAME",
        help=f"{', '.join(WORDS)}: where --arms does not say it as A+NAME.",
    ),
    click.option(
        "--grpc-port",
        type=click.IntRange(1, 65535),
        metavar="PORT",
        default=None,
        help="Of the server; default: as it was started.",
    ),
    click.option(
        "--gateway-cores",
        metavar="LIST",
        default="",
        help="Of the placement gateway, as 2,3; default: the server's.",
    ),
)
"""--transport, --grpc-port and --gateway-cores, of commands whose arms are measured over any transport."""

library = click.option(
    "--library", metavar="NAME", default="", help="The library that clients prepare with, e.g. pillow."
)
payloads = click.option(
    "--payloads", metavar="[NAME=]DIR", multiple=True, help="Files to send instead of a workload's own; repeatable."
)
workloads = declare(workload_names, arms, library, payloads)
"""The workloads, and what of them is measured: arms, library and payloads."""

seed = click.option("--seed", type=int, default=1, show_default=True, help="Draws arrivals, payloads and order.")
reports = click.option("--reports", metavar="DIR", default="reports", show_default=True, help="Where runs are left.")


def seconds(default: float, more: str = "") -> Callable[[Any], Any]:
    """Return --seconds, which means one thing everywhere; `more` follows it in the help."""
    text = f"Seconds of measurement in all{more}."
    return click.option("--seconds", type=float, default=default, show_default=bool(default), help=text)


resume = click.option(
    "--continue", "continued", metavar="DIR", default="", help="Resume an interrupted run, with its own options."
)

as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to standard error."
)
output = declare(
    as_json,
    click.option("--quiet", "-q", is_flag=True, help="Print the verdict only."),
)
"""--json as `as_json`, and --quiet; `result_only` keeps everything else from standard output."""

metrics = declare(
    click.option(
        "--metrics-port",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        default=0,
        help="Serve metrics for Prometheus here.",
    ),
    click.option("--metrics-host", metavar="HOST", default="127.0.0.1", help="The address of --metrics-port."),
)
"""--metrics-port and --metrics-host; `experiment.conduct` serves the page."""

explain = click.option("--explain", is_flag=True, help="Explain every column of the tables.")


def reach_server(asked: Namespace) -> str:
    """Return the URL of the server to ask: --url if it is given, else where `up` started one, else DEFAULT_URL.

    The server of --url, and no other, is sent the login of the environment and is reached with --cacert or --insecure.
    Raises ValueError, in one line, if these do not fit each other, or the server wants others (`access.check`).
    """
    address.states.add(Path(asked.state).resolve())
    if not asked.url:
        if asked.cacert or asked.insecure:
            raise ValueError("--cacert and --insecure are about the server of --url https://..., and there is no --url")
        record = records.read(Path(asked.state).resolve())
        return f"http://{record['address']}" if record else DEFAULT_URL
    access.grant(asked.url, asked.cacert, asked.insecure)
    access.check(asked.url)
    for line in access.warnings(asked.url):
        print_error(f"!! {line}")
    return asked.url


def is_given(context: click.Context, name: str) -> bool:
    """Return whether the command line says this option itself."""
    return context.get_parameter_source(name) == ParameterSource.COMMANDLINE


def print_error(text: object) -> None:
    """Print a line on standard error, after the path of the command that runs: `crossover infer: no such file`."""
    context = click.get_current_context(silent=True)
    print(f"{context.command_path if context else 'crossover'}: {text}", file=sys.stderr)


def print_broken(error: object, url: str) -> None:
    """Print what ended a command, and that the server at `url` has died if so."""
    text, death = one_line(error), address.find_death(url)
    print_error(f"{end_clause(text)}; {death}" if death and death not in text else text)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a ValueError of the body, or a path that cannot be read, into wrong usage: one line, exit code 2."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(one_line(error), click.get_current_context(silent=True)) from None


@contextmanager
def result_only(as_json: bool, quiet: bool) -> Iterator[Callable[[Any, str], None]]:
    """Keep what the body prints from standard output where only its result is wanted there.

    Yields `show(document, verdict)`, which prints the result in the form that was asked for: the document as JSON, or
    the verdict; nothing where neither was asked for. With --json all else goes to standard error, with --quiet nowhere.
    """
    wanted = sys.stdout

    def show(document: Any, verdict: str) -> None:
        if as_json:
            print(json.dumps(document, indent=1), file=wanted, flush=True)
        elif quiet and verdict:
            print(verdict, file=wanted, flush=True)

    if not as_json and not quiet:
        yield show
    elif as_json:
        with redirect_stdout(sys.stderr):
            yield show
    else:
        with Path("/dev/null").open("w") as nowhere, redirect_stdout(nowhere):
            yield show
