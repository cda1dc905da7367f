"""What the launcher does, one function per command; each returns an exit code, or None for 0."""

import contextlib
import datetime
import json
import os
import secrets
import subprocess
import time
from pathlib import Path

from serving import ROOT, Failure, docker, local, smoke_test, state
from serving.state import ASKED
from serving.supervisor import Supervisor
from serving.thread_plan import describe, listed, plan
from serving.triton_api import Rest

REPAIR = 60.0  # seconds that a supervisor which `up` started again has to bring back what died before it


def up(options):
    """start the server and wait until both ensembles have answered"""
    with state.alone(options.state):
        record = state.read(options.state)
        if record and alive(record, options.state):
            if state.complete(record):
                return already(record, options)
            say("clearing what an `up` left that was killed before its end")
        clear(record, options.state)
        engine, why = choose(options.engine)
        record = intent(options, engine)
        say(f"starting {'a container' if engine == 'docker' else 'a local process'}: {why}")
        began = time.monotonic()
        try:
            state.write(options.state, record)  # first: should this process be killed, `down` knows what to clear
            if engine == "docker":
                docker.up(record, options.state, say)
            else:
                record["pid"] = local.up(record, options.state, options.state / "server.log", say).pid
            state.write(options.state, record)
            if engine == "local":
                local.supervise(record, options.state)
            say(f"up after {time.monotonic() - began:.1f} s")
            summary(record)
        except BaseException:
            clear(record, options.state)
            raise


def down(options):
    """stop the server and leave nothing behind"""
    with state.alone(options.state):
        record = state.read(options.state)
        if record and record["engine"] == "local" and alive(record, options.state):
            local.drain(record)
        say("stopped" if clear(record, options.state) else "nothing was running")


def status(options):
    """say what runs and whether it answers; exit 1 if it does not"""
    record = state.read(options.state)
    if not record or not alive(record, options.state):
        left = record or local.processes(state.name(options.state))
        say("nothing is running" + ("; `down` clears what it left" if left else ""))
        return 1
    if not state.complete(record):
        at_work = state.held(options.state)
        say("`up` is at work" if at_work else "an `up` was killed before its end; `up` or `down` clears what it left")
        return 1
    started = datetime.datetime.fromisoformat(record["started"])
    running = str(datetime.datetime.now(datetime.timezone.utc) - started).split(".")[0]
    say(f"engine   {record['engine']}, running for {running}")
    summary(record)
    rest = Rest(record["address"])
    models = [*record["plan"], "image", "audio"]
    unready = [model for model in models if not rest.ready(f"/v2/models/{model}/ready")]
    say(f"models   {'not ready: ' + ', '.join(unready) if unready else 'all ready: ' + ', '.join(models)}")
    if record["engine"] == "local" and not local.supervisors(record["name"]):
        say("supervisor: none, a stub that dies stays dead; `up` starts one")
    smoke_test.sing(rest)
    say("canary   image and audio both answer")
    return 1 if unready else 0


def logs(options):
    """print the server's log"""
    record = state.read(options.state) or {}
    if record.get("engine") == "docker":
        follow = ["--follow"] if options.follow else []
        return docker.compose(
            record, ["logs", "--no-log-prefix", "--no-color", *follow, f"--tail={options.lines}", "server"]
        ).returncode
    log = options.state / "server.log"
    if not log.is_file():
        raise Failure(f"no log in {options.state}; is a server running? start one with `up`")
    follow = ["--follow"] if options.follow else []
    return subprocess.run(["tail", f"--lines={options.lines}", *follow, log], check=False).returncode


def run(options):
    """the same as up, in the foreground: a container's entrypoint"""
    record = intent(options, "local")
    with contextlib.ExitStack() as cleanup:
        with state.alone(options.state):
            if local.alive(record["name"]):
                raise Failure("a server runs from this state directory; run `python -m serving down` first")
            cleanup.callback(state.forget, options.state)
            cleanup.callback(local.stop, record["name"])
            local.stop(record["name"])  # what a crash left
            server = local.up(record, options.state, None, say)
        try:
            state.write(options.state, {**record, "pid": server.pid})
            summary(record)
            say(docker.UP)
            Supervisor(record, say, restart=server.kill).watch(server.pid)
            raise Failure(f"tritonserver ended with code {server.wait()}")  # compose starts the container again
        except KeyboardInterrupt:
            local.drain(record)
            return 0


def supervise(options):
    """reload a model whose Python stub died, until the server ends (`up` starts this beside a local server)"""
    record = state.read(options.state)
    if not record or "pid" not in record:
        raise Failure(f"no local server was started from {options.state}; start one with `up`")
    supervisor = Supervisor(record, say)
    supervisor.watch(record["pid"])
    supervisor.tell(f"tritonserver ({record['pid']}) is gone; `up` clears what it left and starts it again")
    return 1


def probe(options):
    """one inference through each ensemble; exit 1 unless both answer"""
    rest = Rest(f"127.0.0.1:{options.http_port}")
    if options.recent and smoke_test.sung(rest, options.recent):
        say(f"both have answered in the last {options.recent:g} s")
        return
    smoke_test.sing(rest)
    say("image and audio both answer")


def compose(options):
    """docker compose on the project that `up` started"""
    record = state.read(options.state)
    if not record or record["engine"] != "docker":
        raise Failure("no container is running from this state directory; start one with `up --engine docker`")
    reports = ROOT / "reports"  # where the load generator's containers write
    reports.mkdir(exist_ok=True)
    if os.getuid() == 0:  # the containers do not run as root
        os.chown(reports, *docker.user())
    return docker.compose(record, options.rest).returncode


COMMANDS = {
    "up": up, "down": down, "status": status, "logs": logs, "run": run, "supervise": supervise, "canary": probe,
    "compose": compose,
}  # fmt: skip


def clear(record: dict | None, directory: Path) -> bool:
    """Ends what runs from this state directory, or what a crash left of it; True if there was anything."""
    name = state.name(directory)
    stopped = local.stop(name)
    if record["engine"] == "docker" if record else docker.exists(name):
        docker.down(name)
        stopped = True
    state.forget(directory)
    return stopped or record is not None


def intent(options, engine: str) -> dict:
    """The record of the server that the options ask for, before it runs."""
    near = "127.0.0.1" if options.host == "0.0.0.0" else options.host
    return {
        "name": state.name(options.state),
        "engine": engine,
        **{key: getattr(options, key) for key in ASKED},
        "address": f"{near}:{options.http_port}",
        "plan": plan(len(options.cores), options.slo),
        "gpu": engine == "docker" and docker.has_gpu(),
        "admin_key": os.environ.get("CROSSOVER_ADMIN_KEY") or secrets.token_hex(16),
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def choose(engine: str) -> tuple[str, str]:
    """The engine, and the reason in words with how to force the other."""
    if engine == "local":
        return engine, "--engine local was given"
    obstacle = docker.obstacle()
    if engine == "docker" and obstacle:
        raise Failure(f"--engine docker: {obstacle}; start Docker, or use --engine local")
    if engine == "docker":
        return engine, "--engine docker was given"
    if obstacle:
        return "local", f"{obstacle} (force a container with --engine docker)"
    return "docker", "a Docker engine answers (force a local process with --engine local)"


def alive(record: dict, directory: Path) -> bool:
    return (
        bool(docker.container(record["name"])) if record["engine"] == "docker" else local.alive(state.name(directory))
    )


def already(record: dict, options) -> None:
    """Changes nothing. Raises Failure if what runs is not what is asked for, or does not answer."""
    for key in ASKED:
        if record[key] != getattr(options, key):
            asked, there = (listed(v) if key == "cores" else v for v in (getattr(options, key), record[key]))
            flag = key.replace("_", "-")
            raise Failure(f"already up with --{flag} {there}, not {asked}; run `python -m serving down` first")
    if options.engine not in ("auto", record["engine"]):
        raise Failure(f"already up with --engine {record['engine']}; run `python -m serving down` first")
    alone = record["engine"] == "local" and not local.supervisors(record["name"])
    if alone:
        local.supervise(record, options.state)
    deadline = time.monotonic() + (REPAIR if alone else 0)
    while True:
        try:
            smoke_test.sing(Rest(record["address"]))
            break
        except Failure as failure:
            if time.monotonic() > deadline:
                raise Failure(f"already up, but {failure}; run `python -m serving down`, then up again") from None
            time.sleep(0.5)
    say(f"already up and answering; {'its supervisor had ended and runs again' if alone else 'nothing was changed'}")
    summary(record)


def summary(record: dict) -> None:
    near = record["address"].rpartition(":")[0]
    say(f"http     http://{record['address']}")
    say(f"grpc     {near}:{record['grpc_port']}")
    say(f"metrics  http://{near}:{record['metrics_port']}/metrics")
    say(f"cores    {listed(record['cores'])}; instances x threads: {describe(record['plan'])}")
    rest = Rest(record["address"])
    for model in record["plan"]:
        config = json.loads(record["configs"][model]) if "configs" in record else rest.config(model)
        provenance = config.get("parameters", {}).get("provenance")
        if provenance:
            say(f"weights  {weights(model, json.loads(provenance['string_value']))}")


def weights(model: str, provenance: dict) -> str:
    """One line on where a network's weights come from; loud unless they are pretrained."""
    if provenance["weights"] == "pretrained":
        return f"{model}: pretrained, {provenance['source']} at {provenance['revision']}"
    note = provenance["note"] or "its predictions mean nothing"
    return f"{model}: {provenance['weights'].upper()} WEIGHTS (seed {provenance['seed']}): {note}"


def say(line: str) -> None:
    print(line, flush=True)
