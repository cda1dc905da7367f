"""What a workload leaves unsaid, from the server: names of tensors, and the steps of its ensembles.

Triton answers `GET /v2/models/NAME/config` with the model's configuration, in the form of its config.pbtxt.
"""

import json
import urllib.error
import urllib.request
from dataclasses import replace
from http.client import HTTPException

from common import address
from common.messages import first_line
from workloads.workload import Placement, Workload

TIMEOUT = 10  # seconds
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the load takes no proxy either


def complete(workload: Workload, url: str) -> Workload:
    """Return the workload with the tensors of every placement, and its steps, as the server at `url` has them.

    Whatever the workload says itself stays, and a built-in one says it all: then nothing is asked. Raises
    ConnectionError with one line if the server does not answer, lacks a model, or leaves the input open.
    """
    placements, steps = {}, list(workload.steps)
    for name, placement in workload.placements.items():
        lacks = not placement.input or not placement.outputs
        asked_by = f"placement {name!r} of {workload.name}"
        config = read(url, placement.model, asked_by) if lacks or not workload.steps else {}
        placements[name] = fill_in(placement, config) if lacks else placement
        if not workload.steps:
            ensemble = config.get("ensemble_scheduling", {}).get("step", ())
            steps = merge(steps, [each["model_name"] for each in ensemble] or [placement.model])
    return replace(workload, placements=placements, steps=tuple(steps))


def fill_in(placement: Placement, config: dict) -> Placement:
    """Return the placement with the names of tensors that its model's configuration has.

    Raises ConnectionError where the placement names no input, and the model has several.
    """
    inputs = [each["name"] for each in config.get("input", ())]
    if not placement.input and len(inputs) != 1:
        raise ConnectionError(f"{placement.model} has {len(inputs)} inputs ({', '.join(inputs)}): say which as input=")
    outputs = tuple(each["name"] for each in config.get("output", ()))
    return replace(placement, input=placement.input or inputs[0], outputs=placement.outputs or outputs)


def merge(steps: list[str], others: list[str]) -> list[str]:
    """Join two rows of models, each model once; the longer row keeps its order.

    So a network that one placement asks directly stays where the ensemble of another has it.
    """
    longer, shorter = (steps, others) if len(steps) >= len(others) else (others, steps)
    return [*longer, *(each for each in shorter if each not in longer)]


def read(url: str, model: str, asked_by: str) -> dict:
    """Return a model's configuration; `asked_by` says in an error who needs it.

    Raises ConnectionError with one line if no Triton server answers, or it has no such model.
    """
    server = address.parse(url)
    try:
        with direct.open(f"{server.url}/v2/models/{model}/config", timeout=TIMEOUT) as response:
            config = json.load(response)
    except urllib.error.HTTPError as refusal:
        words = first_line(refusal.read(4096).decode("utf-8", "replace"))
        raise ConnectionError(f"{server.url} has no model {model}, which {asked_by} asks: {words}") from None
    except (OSError, ValueError, HTTPException) as error:
        raise ConnectionError(explain_silence(server.url, error)) from None
    if not isinstance(config, dict):
        raise ConnectionError(f"no Triton server answers at {server.url}: its JSON is no object")
    return config


def check_answers(url: str) -> None:
    """Ask whether anything answers in HTTP at `url`, whatever it says. Raises ConnectionError with one line if not."""
    server = address.parse(url)
    try:
        direct.open(f"{server.url}/v2/health/live", timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError, HTTPException) as error:
        raise ConnectionError(explain_silence(server.url, error)) from None


def explain_silence(url: str, error: Exception) -> str:
    """Say in one line that no server answers at `url`, and why."""
    cause = getattr(error, "reason", None) or error
    reason = first_line(getattr(cause, "strerror", None) or cause) or type(error).__name__
    return f"no Triton server answers at {url} ({reason}); start it with `make up`"
