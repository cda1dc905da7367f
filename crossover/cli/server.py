"""`crossover up`, `down`, `status` and `logs`: the server of this machine, by the launcher of `serving`."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from crossover.cli import options
from serving import Failure, commands, model_loader, settings, signals, thread_plan
from serving.canaries import Canary
from serving.status import status as show_status


@click.command()
@click.option(
    "--engine",
    type=click.Choice(["auto", "docker", "local"]),
    default="auto",
    show_default=True,
    help="A container, or a process of this machine; auto: a container where a Docker engine answers.",
)
@click.option(
    "--weights",
    type=click.Choice(settings.WEIGHTS),
    default="real",
    show_default=True,
    help="fp16: the real networks in half precision; tiny: small stand-ins, for a first try and for tests.",
)
@click.option("--cores", metavar="LIST", help="all, or a list like 0-3,6; default: the upper half of them.")
@click.option(
    "--slo",
    type=click.IntRange(min=0),
    metavar="MS",
    default=thread_plan.SLO,
    show_default=True,
    help="Refuse (503) what would take longer; 0 lets queues grow without bound.",
)
@click.option("--no-gpu", is_flag=True, help="Keep to the CPU; default: a GPU where one can be used.")
@click.option("--on-cpu", multiple=True, metavar="MODEL", help="Keep this step off the GPU; may be repeated.")
@click.option("--models", multiple=True, metavar="DIR", help="Serve this model repository, too; may be repeated.")
@click.option("--shm", is_flag=True, help="Let clients of this machine that have its key register shared memory.")
@click.option("--only", is_flag=True, help="Serve no models but those of --models; needs none of our networks.")
@click.option("--requirements", metavar="FILE", default="", help="Install for --models' code what pip finds in FILE.")
@click.option("--workload", metavar="FILE.py", default="", help="Ask its placements, too, whether they answer.")
@click.option("--admission", is_flag=True, help="Bound the queues of --models' models by --slo, where that can be.")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--http-port", metavar="PORT", default=str(settings.HTTP_PORT), show_default=True, help="Port of HTTP.")
@click.option("--grpc-port", metavar="PORT", help="Port of gRPC; default: the HTTP port + 1.")
@click.option("--metrics-port", metavar="PORT", help="Port of Prometheus metrics; default: the HTTP port + 2.")
@click.option("--no-export", is_flag=True, help="Fail where the real networks are missing; default: export them.")
@options.state
def up(no_export: bool, **values: Any) -> int:
    """Start the server and wait until it answers.

    It is Triton with both pipelines, photographs and speech. Every other command finds it by itself. A server that runs
    already is left as it is, unless an option asks for another one. Networks that are missing are exported first, as
    `crossover models` does it. Models of your own are served beside them, or alone: --models DIR --only.
    """
    with options.usage_errors():
        settings.complete(given := SimpleNamespace(**values))
        find_canaries = read_canaries(given) if given.workload else None
    prepare = partial(export_missing, given.weights)
    more: dict[str, Any] = {"prepare": prepare} if given.weights in ("real", "fp16") and not no_export else {}
    if find_canaries:
        more["find_canaries"] = find_canaries
    explicit = {name for name in values if options.is_given(click.get_current_context(), name)}
    given.command = shlex.join(["crossover", *(click.get_current_context().obj or ["up"])])
    return launch(partial(commands.up, **more, explicit=explicit), given)


def read_canaries(given: SimpleNamespace) -> Callable[[str, dict[str, str]], list[Canary]]:
    """Read the file of --workload, whose path becomes absolute, and return what finds its canaries on a server.

    Raises ValueError, in one line, if its first payload cannot be prepared.
    """
    from crossover.cli.canaries import find_canaries, read_workload  # here, as they take numpy along

    workload, payload = read_workload(given.workload)
    given.workload = workload.file or workload.name
    return partial(find_canaries, workload, payload)


def export_missing(weights: str) -> None:
    """Export the networks if one is missing, in FP16 if so asked. Raises Failure, in one line, if one cannot be had."""
    missing = model_loader.list_missing()
    if not missing and not (weights == "fp16" and model_loader.list_missing_half()):
        return
    from models.make import Refused, make, make_defaults

    if missing:
        print("the networks are not exported yet: that takes minutes, once (--weights tiny needs none)", flush=True)
    try:
        make(make_defaults(fp16=weights == "fp16"))
    except Refused as refusal:
        raise Failure(str(refusal)) from None


@click.command()
@options.state
def down(**values: Any) -> int:
    """Stop the server and leave nothing behind, also of one that crashed."""
    return launch(commands.down, SimpleNamespace(**values))


@click.command()
@options.state
@options.as_json
def status(**values: Any) -> int:
    """Say what runs where, and whether both pipelines answer; exit code 1 if they do not."""
    return launch(show_status, SimpleNamespace(**values))


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on printing what is added.")
@click.option("--lines", "-n", type=click.IntRange(min=0), default=40, show_default=True, help="Its last so many.")
@options.state
def logs(**values: Any) -> int:
    """Print the server's log; exit code 1 if nothing runs and nothing has left one."""
    return launch(commands.logs, SimpleNamespace(**values))


def launch(do: Callable[[Any], int | None], given: SimpleNamespace) -> int:
    """Run one of the launcher's commands with its settings, and return its exit code: 1 and one line for a Failure.

    It is interrupted once at most, so that what it clears up is cleared to the end.
    """
    given.state = Path(given.state).resolve()
    signals.install()
    try:
        return do(given) or 0
    except Failure as failure:
        options.print_error(failure)
        return 1
