"""How a command conducts an experiment: its options, those of a run that goes on, and what is printed of the result."""

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from common.messages import is_called_by_make, name_command
from crossover.cli import options
from crossover.experiments.base_run import Run
from crossover.experiments.experiment import Experiment
from crossover.measurement import resume
from crossover.report.kind import BROKEN, GOOD, MEASUREMENT, USAGE
from loadgen.command import INTERRUPTED
from loadgen.metrics import exporter

OF_THIS_CALL = {"continued", "reports", "as_json", "quiet", "explain", "fail_if", "metrics_port", "metrics_host"}
"""Options that say nothing about what is measured: a run that goes on does not take them over."""


def conduct(
    values: dict[str, Any],
    check: Callable[[Namespace], None],
    make: type[Run],
    own_server: bool = False,
    judge: Callable[[Mapping], int] | None = None,
) -> int:
    """Conduct an experiment of a command. Returns the exit code.

    Args:
        values: The command's options and arguments, by name.
        check: Completes the options; raises ValueError for a bad one, in one line that says what is good.
        make: Makes the run of the completed options.
        own_server: Whether the experiment starts servers of its own unless --url names one.
        judge: Called with the document of a run that came to its end; returns an exit code that goes before GOOD and
            MEASUREMENT, or 0.
    """
    with options.result_only(values["as_json"], values["quiet"]) as show, ExitStack() as pages:
        with options.usage_errors():
            completed = complete(values, make)
            url = options.reach_server(completed)
            if not own_server:
                completed.url = url
            check(completed)
            if page := serve_metrics(completed):
                pages.callback(page.close)
            run = make(completed)
        # From here on the run itself reports what ends it.
        code = run.conduct()
        if code == INTERRUPTED and not own_server and is_called_by_make():
            # make has started the server, and does not come to the line that says so.
            print(f"the server still runs; {name_command('down')} stops it", file=sys.stderr)
        document = run.document()
        if judge and code in (GOOD, BROKEN, MEASUREMENT):
            missed = judge(document)
            # What has no good answer stays the worse news.
            code = code if code == BROKEN else missed or code
        if code != USAGE:
            show({**document, "exit_code": code}, run.verdict())
        if page and code not in (USAGE, INTERRUPTED):
            with suppress(KeyboardInterrupt):  # which ends only the wait
                page.wait_for_fetch(partial(print, file=sys.stderr))
    return code


def serve_metrics(chosen: Namespace) -> exporter.Exporter | None:
    """Open the page of metrics that --metrics-port asks for. Raises ValueError if its port cannot be had."""
    if not getattr(chosen, "metrics_port", 0):
        return None
    return exporter.start(chosen.metrics_host, chosen.metrics_port)


def complete(values: dict[str, Any], make: type[Run]) -> Namespace:
    """Return the options of a run as a namespace; with --continue, what is not given is the interrupted run's.

    Beside the command's options it holds `command`, the command's path for errors; `argv` and `given`, which go into
    run.json; and of --continue `explicit`, the names of the options that were given now, and `earlier`, the options
    that the run was begun with.

    Raises ValueError if --continue names no run of this experiment.
    """
    context = click.get_current_context()
    explicit = {name for name in values if options.is_given(context, name) and values[name] != ()}
    earlier: dict[str, Any] = {}
    if directory := values.get("continued"):
        assert issubclass(make, Experiment)
        earlier = resume.read_options(Path(directory), make.kind.name)
        # Directories of payloads mean nothing to other workloads.
        kept = values.keys() - explicit - ({"payloads"} if "workloads" in explicit else set())
        values = values | {name: value for name, value in earlier.items() if name in kept}
    given = {name: listed(value) for name, value in values.items() if name not in OF_THIS_CALL}
    own = {"command": context.command_path, "argv": ["crossover", *(context.obj or [context.info_name])]}
    both = {"continued": "", **values, **own, "given": given, "explicit": explicit, "earlier": earlier}
    return Namespace(**both)


def listed(value: Any) -> Any:
    """Return an option's value as JSON knows it."""
    return list(value) if isinstance(value, tuple) else value
