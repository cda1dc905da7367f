"""What runs from a state directory, and whether it answers: `crossover status`, and what `up` says of its server."""

import datetime
import json
from pathlib import Path

from common import died
from common.messages import name_command
from serving import Failure, canaries, docker, local, smoke_test, state
from serving.nvml import Card
from serving.thread_plan import describe, format_cores, list_crowded
from serving.triton_api import TritonAPI


def status(options):
    """Say what runs and whether it answers, or print it as JSON; exit 1 if nothing does."""
    facts = examine(options.state)
    if options.as_json:
        say(json.dumps(facts, indent=1))
        return 0 if facts["answers"] else 1
    record = state.read(options.state)
    if not facts["running"] or not record:
        say(facts["problem"])
        return 1
    started = datetime.datetime.fromisoformat(record["started"])
    running = str(datetime.datetime.now(datetime.timezone.utc) - started).split(".")[0]
    say(f"engine   {record['engine']}, running for {running}")
    summary(record)
    for model, why in facts["not_served"].items():
        say(f"missing  {model}: {why}")
    unready = facts["not_ready"]
    say(f"models   {'not ready: ' + ', '.join(unready) if unready else 'all ready: ' + ', '.join(models_of(record))}")
    if not facts["supervised"]:
        say("supervisor: none, so a stub that dies stays dead; `crossover up` starts one")
    if facts["problem"]:
        starts = f"the server starts, or loads {', '.join(unready)} again; {name_command('logs')} says how far it is"
        raise Failure(starts if unready else facts["problem"])
    say(f"infers   {canaries.describe(facts['answered'])}")
    if not facts["answered"]:
        say("         (`crossover up --workload FILE` sends one of its payloads)")
    return 0 if facts["answers"] else 1


def examine(directory: Path) -> dict:
    """Return what runs from a state directory, as JSON can hold it.

    `running`, `answers` (each model is ready, and what can be asked has just answered) and `problem` (in words, or
    empty) are always there; of a server that runs also `engine`, `url`, `weights`, `cores`, `started`, `not_ready`
    (models), `not_served` (model of --models -> why), `answered` (ensembles of ours and placements of --workload),
    `card` (null without a GPU), `on_gpu` (steps) and `supervised`.
    """
    record = state.read(directory)
    if not record or not alive(record, directory):
        if record and (death := died.explain_death(record, directory)):
            return {"running": False, "answers": False, "problem": death}
        left = record or local.processes(state.name(directory))
        problem = "nothing is running" + (f"; {name_command('down')} clears what it left" if left else "")
        return {"running": False, "answers": False, "problem": problem}
    if not state.complete(record):
        clear = f"{name_command('up')} or {name_command('down')} clears what it left"
        killed = f"an `up` was killed before its end; {clear}"
        problem = f"{name_command('up')} is at work" if state.is_locked(directory) else killed
        return {"running": False, "answers": False, "problem": problem}
    api = TritonAPI(record["address"])
    unready = [model for model in models_of(record) if not api.is_ready(model)]
    problem, answered = "", []
    try:
        answered = canaries.send(api, record)
    except Failure as failure:
        problem = str(failure)
    return {
        "running": True,
        "answers": not problem and not unready,
        "problem": problem,
        "url": f"http://{record['address']}",
        **{key: record[key] for key in ("engine", "weights", "cores", "started")},
        "not_ready": unready,
        "not_served": {model: why for model, why in record.get("more_models", {}).items() if why},
        "answered": answered,
        "card": record.get("card"),
        "on_gpu": steps_on_gpu(record),
        "supervised": record["engine"] != "local" or bool(local.supervisors(record["name"])),
    }


def models_of(record: dict) -> list[str]:
    """Return the models that the server of this record serves: those that compute, the ensembles, and --models'."""
    more = [model for model, why in record.get("more_models", {}).items() if not why]
    return [*record["plan"], *(() if record["only"] else smoke_test.ENSEMBLES), *more]


def steps_on_gpu(record: dict) -> list[str]:
    """Return the steps of a local server that run on a GPU."""
    return [model for model, share in record["plan"].items() if "gpu" in share]


def gpu_line(record: dict) -> str:
    """Return which card the server of this record uses for what, or why none, in one line."""
    if record["no_gpu_because"]:
        return f"no GPU: {record['no_gpu_because']}"
    if record["engine"] == "docker":
        return "GPU: the container gets one"
    card = Card(**record["card"]) if record["card"] else "one that NVML does not describe"
    return f"GPU: {card}; on it: {', '.join(steps_on_gpu(record)) or 'the models whose files say so'}"


def say_gpu(record: dict) -> None:
    """Say which card the server will use, or why none, and what FP16 is worth without one."""
    say(gpu_line(record))
    if record["weights"] == "fp16" and not record["gpu"]:
        say("FP16 without a GPU: computed in FP32 with conversions between, no quicker than --weights real")


def alive(record: dict, directory: Path) -> bool:
    """Return whether the server of this record runs, as a container or as a process."""
    if record["engine"] == "docker":
        return bool(docker.container(record["name"]))
    return local.alive(state.name(directory))


def summary(record: dict) -> None:
    """Print the server's addresses, cores and thread plan, and where its networks' weights come from.

    The weights are in the record of a local server; a container is asked for them.
    """
    near = record["address"].rpartition(":")[0]
    say(f"http     http://{record['address']}")
    say(f"grpc     {near}:{record['grpc_port']}")
    say(f"metrics  http://{near}:{record['metrics_port']}/metrics")
    say(f"gpu      {gpu_line(record).partition(': ')[2] if record['gpu'] else 'none: ' + record['no_gpu_because']}")
    plan = {**record["plan"], **record.get("more_plan", {})}
    say(f"cores    {format_cores(record['cores'])}; instances x threads: {describe(plan) or 'none'}")
    for line in list_crowded(record.get("more_plan", {}), len(record["cores"])):
        say(f"         !! {line}")
    unbounded = [name for name, each in record.get("more_plan", {}).items() if not each["slo_ms"]]
    if record["admission"] and unbounded:
        say(f"         !! --admission does not bound the queue of {', '.join(unbounded)}: that backend refuses nothing")
    api = TritonAPI(record["address"])
    for model in record["plan"]:
        try:
            config = json.loads(record["configs"][model]) if "configs" in record else api.config(model)
        except Failure:
            # A container that starts again serves nothing yet: which models are not ready is said elsewhere.
            continue
        provenance = config.get("parameters", {}).get("provenance")
        if provenance:
            say(f"weights  {weights(model, json.loads(provenance['string_value']))}")


def weights(model: str, provenance: dict) -> str:
    """Return one line on where a network's weights come from, in capitals unless they are pretrained.

    `provenance` is the content of the model's provenance.json, from its configuration.
    """
    half = ""
    if provenance.get("precision") == "fp16":
        half = f", in FP16 (logits within {provenance['difference_from_fp32']:.2%} of their deviation from FP32)"
    if provenance["weights"] == "pretrained":
        return f"{model}: pretrained, {provenance['source']} at {provenance['revision']}{half}"
    note = provenance["note"] or "its predictions mean nothing"
    return f"{model}: {provenance['weights'].upper()} WEIGHTS (seed {provenance['seed']}){half}: {note}"


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
