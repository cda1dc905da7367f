"""`crossover check`: do the placements compute the same thing?"""

from argparse import Namespace
from pathlib import Path
from typing import Any

import click

from common import address
from crossover.cli import options
from crossover.measurement.extra_models import ExtraModels
from crossover.measurement.gateways import Gateways
from crossover.parity.check import DIFFERENT, UNKNOWN, check_placements
from crossover.parity.wording import describe_pair
from crossover.report.kind import BROKEN, GOOD, USAGE
from crossover.report.terminal import colour
from serving.server import Server, Unavailable
from transport.reach import reach
from workloads import catalogue, flags
from workloads.model_config import complete
from workloads.payloads import Payload
from workloads.prepare_check import check_workload
from workloads.workload import Workload


@click.command()
@options.workload_names
@click.option("--arms", metavar="A,B", default=None, help="Placements, the baseline first; default: all.")
@options.transport
@options.library
@options.payloads
@options.server
@options.output
def check(as_json: bool, quiet: bool, **values: Any) -> int:
    """Send every payload by every placement, and compare the answers.

    Outputs of numbers may differ by a share of their spread, as another library's do; text and whole numbers must be
    equal. A placement that declares a loss (`Placement(lossy=...)`) may differ in anything.
    """
    given = Namespace(**values)
    with options.result_only(as_json, quiet) as show:
        with options.usage_errors():
            workloads, inputs = choose(given)
            server = Server.at(options.reach_server(given), Path(given.state))
        document: dict[str, list[dict]] = {}
        code = GOOD
        try:
            for name, workload in workloads.items():
                with options.usage_errors():
                    document[name] = check_workload_pairs(server, workload, given, inputs[name])
                lines = [line for pair in document[name] for line in describe_pair(name, pair)]
                print(colour("\n".join(lines)), flush=True)
        except (Unavailable, OSError) as error:
            options.print_broken(error, server.url)
            code = BROKEN
        pairs = [pair for each in document.values() for pair in each]
        if not code and any(pair["unanswered"] for pair in pairs) and (death := address.find_death(server.url)):
            options.print_error(death)
        code = code or find_exit_code(pairs)
        verdicts = [describe_pair(name, pair)[0] for name, each in document.items() for pair in each]
        show({"workloads": document, "exit_code": code}, "\n".join(verdicts))
    return code


def choose(given: Namespace) -> tuple[dict[str, Workload], dict[str, list[Payload]]]:
    """Return the workloads by name, and what each sends; note the placements of each in `given.chosen`.

    Raises ValueError, in one line, for a workload, a placement or a library that there is not, and for a workload with
    one placement.
    """
    workloads = catalogue.find_all(given.workloads)
    suffix = f"+{given.transport}" if given.transport else ""
    every = {name: [f"{placement}{suffix}" for placement in each.placements] for name, each in workloads.items()}
    given.chosen = every if given.arms is None else flags.choose_arms(given.arms, workloads, 0, given.transport)
    workloads = flags.add_arms(workloads, given.chosen, given.library)
    for name, chosen in given.chosen.items():
        if len(chosen) < 2:
            raise ValueError(f"{name} has one placement to check, {chosen[0]}; there must be two to compare")
    flags.check_library(given.library, workloads)
    return workloads, flags.load(flags.parse_payloads(given.payloads, workloads), workloads)


def check_workload_pairs(server: Server, workload: Workload, given: Namespace, sent: list[Payload]) -> list[dict]:
    """Check one workload. Returns its pairs, as `Pair.as_dict` does.

    Raises ValueError if the first payload cannot be prepared, or a model is missing that cannot be loaded, Unavailable
    if it does not load or the server seems to take no binary tensors, ConnectionError if the server does not answer.
    """
    placements, extra = given.chosen[workload.name], ExtraModels(server, Path(given.state))
    gateways = Gateways(server, given)
    try:
        workload = complete(extra.load(workload, placements), server.url)
        workload = gateways.start(workload, placements)
        workload = reach(workload, server.url, placements, server.state, given.grpc_port)
        library = flags.choose_library(given.library, workload)
        check_workload(workload, placements, sent[:1], library)
        pairs = check_placements(server.url, workload, placements, library, sent)
        if not any(pair.payloads for pair in pairs):
            reasons = [reason for pair in pairs for reason in pair.unanswered]
            if why := server.explain_refusals(reasons):
                raise Unavailable(why)
        return [each.as_dict() for each in pairs]
    finally:
        gateways.stop()
        extra.unload()


def find_exit_code(pairs: list[dict]) -> int:
    """Return USAGE where placements answer differently, BROKEN where a payload has no answer, else GOOD."""
    if any(pair["verdict"] == DIFFERENT for pair in pairs):
        return USAGE
    return BROKEN if any(pair["verdict"] == UNKNOWN or pair["unanswered"] for pair in pairs) else GOOD
