"""`crossover infer`: files through a pipeline, and its answers in words."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import click

from common import address, plain_file
from common.messages import one_line
from crossover.cli import options
from crossover.infer import ask, choose, find_example
from serving.server import Server, Unavailable
from workloads import catalogue
from workloads.model_config import complete
from workloads.payloads import Payload
from workloads.workload import Workload

BROKEN, WRONG_PATH = 1, 2
"""The exit codes where a file has no good answer, and where none of the paths can be sent."""

Question = tuple[str, Workload | None, Payload | str]
"""A file's name, the workload that reads it and its content; or its name, None, and why it is not sent."""


@click.command()
@click.argument("files", nargs=-1, metavar="[WORKLOAD|FILE.py]... [FILE]...")
@click.option("--placement", default="", help="Default: the first that sends files as they are.")
@click.option("--classes", type=int, default=3, show_default=True, help="How many classes of a photograph are named.")
@options.server
@options.as_json
def infer(files: tuple[str, ...], placement: str, classes: int, as_json: bool, **asked: Any) -> int:
    """Send files to a pipeline and print its answers: a photograph's classes, a recording's words.

    A file goes to the first workload that reads such files: image, audio, or the pipeline of your own whose FILE.py is
    given. Without a file a photograph and a clip of this repository are sent.
    """
    with options.usage_errors():
        if classes < 1:
            raise ValueError(f"--classes must be at least 1, not {classes}")
        named = [each for each in files if each in catalogue.BUILT_IN or each.endswith(".py")]
        known = catalogue.find_all(named)
        for name, workload in known.items():
            if placement and placement not in workload.placements:
                good = ", ".join(workload.placements)
                raise ValueError(f"unknown placement {placement!r} of {name}; try one of {good}")
        server = Server.at(options.reach_server(Namespace(**asked)), Path(asked["state"]))
        questions = list_questions([each for each in files if each not in named], list(known.values()))
    try:
        if any(workload for _, workload, _ in questions):  # files that cannot be sent need no server
            server.field("/v2", "version")
    except Unavailable as error:
        options.print_error(error)
        return BROKEN
    answers = [answer(server.url, each, placement, classes, quiet=as_json) for each in questions]
    if any("error" in each for each in answers) and (death := address.find_death(server.url)):
        options.print_error(death)
    if as_json:
        print(json.dumps(answers, indent=1))
    elif any("answer" in each for each in answers):
        warn_of_weights(server, [each for _, each, _ in questions if each])
    if not any(workload for _, workload, _ in questions):
        return WRONG_PATH
    return BROKEN if any("error" in each for each in answers) else 0


def warn_of_weights(server: Server, workloads: list[Workload]) -> None:
    """Print a line on standard error for each network whose answers mean nothing, as its weights are not pretrained."""
    steps = tuple(dict.fromkeys(step for each in workloads for step in each.steps))
    try:
        models = server.facts(steps)["models"]
    except Unavailable:  # a server of somebody else's need not have them
        return
    for model, facts in models.items():
        weights = facts.get("provenance", {})
        if weights and weights["weights"] != "pretrained":
            options.print_error(f"!! {model}: {weights['weights']} weights: {weights['note']}")


def list_questions(names: list[str], workloads: list[Workload]) -> list[Question]:
    """Return what is to be sent: the files of these names, or without any an example for each workload.

    A file that cannot be sent comes with the reason: the others are sent nevertheless. Raises ValueError where a
    workload has no example.
    """
    if not names:
        return [(example.name, each, example) for each in workloads for example in [find_example(each)]]
    return [read_question(name, workloads) for name in names]


def read_question(name: str, workloads: list[Workload]) -> Question:
    """Return what is to be sent for a file's name."""
    if Path(name).is_dir():
        return name, None, f"it is a folder; give its files: {name.rstrip('/')}/*"
    try:
        return name, choose(workloads, Path(name)), Payload(Path(name).name, plain_file.read(Path(name)))
    except (OSError, ValueError) as error:
        return name, None, str(getattr(error, "strerror", None) or error)


def answer(url: str, question: Question, placement: str, classes: int, quiet: bool) -> dict:
    """Send a file, print its answer unless `quiet`, and return both: `file`, and `answer` or `error`."""
    name, workload, content = question
    result = {"file": name}
    try:
        if workload is None or isinstance(content, str):
            raise ValueError(content)
        placement = placement or workload.encoded
        workload = complete(workload, url, [placement])
        result |= {"workload": workload.name, "placement": placement}
        result["answer"] = ask(url, workload, placement, content, classes)
    except (OSError, ValueError, Unavailable) as error:
        result["error"] = one_line(error)
        if isinstance(error, Unavailable) and error.code:
            result["error"] = explain_refusal(url, error.code, result["error"])
    if not quiet and "error" in result:
        options.print_error(f"{name}: {result['error']}")
    elif not quiet:
        print(f"{name}: {result['answer']}")
    return result


def explain_refusal(url: str, code: int, reason: str) -> str:
    """Return why a server refused a request, in one line: its words, or that it may take tensors as JSON only.

    `code` is that of its HTTP error, as `Server.explain_refusals` reads it.
    """
    try:
        return one_line(Server(url, {}).explain_refusals([f"HTTP {code}: {reason}"])) or reason
    except Unavailable:  # it has no metadata
        return reason
