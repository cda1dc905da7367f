"""The launcher's commands, one function each, with the parsed options; they return an exit code, or None for 0.

`crossover` has the first three, and that of `status.py`; `python -m serving` the others, whose docstrings are their
help texts. Failure is raised where a command cannot do what was asked for.
"""

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import SimpleNamespace

from common.messages import end_clause, name_command
from serving import ROOT, Failure, canaries, docker, environment_folders, local, requirements, smoke_test, state
from serving.processes import is_out_of_reach
from serving.record import list_differences, new_record, now, say_flag
from serving.status import alive, say, say_gpu, summary
from serving.supervisor import Supervisor
from serving.triton_api import TritonAPI

LOCAL = ("on-cpu", "models", "workload", "shm")
"""Flags of `up` that only a local server can follow."""
REPAIR = 60.0  # seconds that a supervisor started again by `up` has to reload what died before


def up(
    options,
    prepare: Callable[[], None] = lambda: None,
    find_canaries: Callable[[str, dict[str, str]], list[canaries.Canary]] = lambda *_: [],
    explicit: Collection[str] = (*state.ASKED, "engine"),
):
    """Start the server and wait until both ensembles have answered, and what `find_canaries` finds.

    `prepare` is called before anything starts, and only where no other server is in the way. `find_canaries` is called
    with the server's URL and its models of `--models`, each with the reason why it is not served or "". Where one
    of these canaries has no answer, Failure names it and the server goes on: its other models are fine. `explicit` are
    the settings that were asked for: in these alone a server that runs already may not differ.
    """
    with state.locked(options.state):
        record = state.read(options.state)
        if record and alive(record, options.state):
            if state.complete(record):
                return keep_running(record, options, explicit)
            say("clearing what is left of an `up` that was killed before its end")
        clear(record, options.state)
        engine, why = choose(options.engine, [flag for flag in LOCAL if getattr(options, flag.replace("-", "_"))])
        record = new_record(options, engine)
        local.check_ports(record)
        if engine == "local":
            local.check_paths(record, options.state)
        prepare()
        if options.requirements:
            record["packages"] = str(requirements.install(options.requirements, options.state, options.only, say))
        say(f"starting {'a container' if engine == 'docker' else 'a local process'}: {why}")
        say_gpu(record)
        began = time.monotonic()
        try:
            state.write(options.state, record)  # first: should this process be killed, `down` knows what to clear
            if engine == "docker":
                docker.up(record, options.state, say)
            else:
                record["pid"] = local.up(record, options.state, options.state / "server.log", say).pid
            record["started"] = now()  # an export or the build of an image may have taken minutes
            state.write(options.state, record)
            problem = canaries.add(record, options.state, find_canaries) if options.workload else ""
            if engine == "local":
                local.supervise(record, options.state)
            say(f"up after {time.monotonic() - began:.1f} s")
            summary(record)
        except BaseException:
            clear(record, options.state)
            raise
    if problem:
        raise Failure(
            f"up, but {end_clause(problem)}; {name_command('logs')} may say why, and {name_command('down')} stops it"
        )


def down(options):
    """Stop the server and leave nothing behind."""
    with state.locked(options.state):
        record = state.read(options.state)
        require_reach(record)
        if record and record["engine"] == "local" and alive(record, options.state):
            local.drain(record)
        if not clear(record, options.state):
            say("nothing was running")
        elif record and record["engine"] == "docker" and docker.obstacle():
            say("forgotten, not stopped")
        else:
            say("stopped")


def logs(options):
    """Print the server's log; exit 1 if nothing runs and nothing has left one."""
    record = state.read(options.state) or {}
    if record.get("engine") == "docker":
        follow = ["--follow"] if options.follow else []
        return docker.compose(
            record, ["logs", "--no-log-prefix", "--no-color", *follow, f"--tail={options.lines}", "server"]
        ).returncode
    log = options.state / "server.log"
    if (earlier := local.earlier_log(log)).is_file():
        print(f"crossover logs: the log of the server before: {earlier}", file=sys.stderr)
    if not log.is_file():
        if record and alive(record, options.state):
            raise Failure(f"a server runs, but its log {log} was removed")
        say("nothing is running")
        return 1
    follow = ["--follow"] if options.follow else []
    code = subprocess.run(["tail", f"--lines={options.lines}", *follow, log], check=False).returncode
    return 0 if code == -signal.SIGPIPE else code  # a reader that has enough, as head, is no error


def run(options):
    """Do the same as up, in the foreground: a container's entrypoint."""
    record = new_record(options, "local")
    say_gpu(record)
    with contextlib.ExitStack() as cleanup:
        with state.locked(options.state):
            if local.alive(record["name"]):
                raise Failure("a server runs from this state directory; stop it with `crossover down`")
            cleanup.callback(state.forget, options.state)
            cleanup.callback(local.stop, record["name"])
            local.stop(record["name"])  # what is left of a server that crashed
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
    """Reload a model whose Python stub died, until the server ends (`up` starts this beside a local server)."""
    record = state.read(options.state)
    if not record or "pid" not in record:
        raise Failure(f"no local server was started from {options.state}; start it with `crossover up`")
    supervisor = Supervisor(record, say)
    supervisor.watch(record["pid"])
    environment_folders.remove(record["name"])
    if (latest := state.read(options.state)) and latest.get("pid") == record["pid"]:
        now = datetime.datetime.now(datetime.timezone.utc)
        with contextlib.suppress(OSError):  # the disk is full: the time alone is lost
            state.write(options.state, {**latest, "died": f"{now:%Y-%m-%dT%H:%M:%SZ}"})
    supervisor.report(f"tritonserver ({record['pid']}) is gone; `crossover up` clears what it left and starts it again")
    return 1


def probe(options):
    """Send one inference through each ensemble, unless one has just answered; exit 1 unless both answer."""
    api = TritonAPI(f"127.0.0.1:{options.http_port}")
    if options.recent and smoke_test.recently_answered(api, options.recent):
        say(f"image or audio has answered in the last {options.recent:g} s")
        return
    smoke_test.run(api)
    say("image and audio both answer")


def compose(options):
    """Run docker compose on the project that `up` started."""
    record = state.read(options.state)
    if not record or record["engine"] != "docker":
        raise Failure(
            "no container is running from this state directory; start one with `crossover up --engine docker`"
        )
    reports = ROOT / "reports"  # where the load generator's containers write
    reports.mkdir(exist_ok=True)
    if os.getuid() == 0:  # the containers do not run as root
        os.chown(reports, *docker.user())
    return docker.compose(record, options.rest).returncode


def clear(record: dict | None, directory: Path) -> bool:
    """End what runs from this state directory, or what is left of it after a crash; True if there was anything.

    Without a record it looks for processes and containers by the name that follows from the directory. Raises Failure,
    and changes nothing, if the server may not be looked into: it would live on without its record and shared memory.
    """
    name = state.name(directory)
    require_reach(record)
    stopped = local.stop(name)
    if record["engine"] == "docker" if record else docker.exists(name):
        remove_container(name)
        stopped = True
    state.forget(directory)
    return stopped or record is not None


def require_reach(record: dict | None) -> None:
    """Raise Failure if the server of this record runs and may not be looked into."""
    if record and is_out_of_reach(pid := record.get("pid") or 0):
        whose = "another user's, or of another namespace"
        raise Failure(f"the server (pid {pid}) is {whose}; stop it where it was started")


def remove_container(name: str) -> None:
    """Remove the containers of this name; where no engine can be asked any more, say so and leave them to it.

    Raises Failure if an engine answers and does not remove them.
    """
    try:
        docker.down(name)
    except Failure:
        if not (gone := docker.obstacle()):
            raise
        say(f"!! {gone}: if the containers of {name} are still there, {name_command('down')} removes them once it does")


def choose(engine: str, local_flags: Sequence[str] = ()) -> tuple[str, str]:
    """Return the engine, and the reason in words, which says how to force the other.

    `local_flags` are those of LOCAL that were given. Raises Failure if the engine that was asked for is not there, or
    cannot do what they ask.
    """
    if engine == "local":
        return engine, "--engine local was given"
    if local_flags and engine == "docker":
        raise Failure(f"--{local_flags[0]} is for a local server, and --engine docker asks for a container")
    if local_flags:
        return "local", f"--{local_flags[0]} is for a local server"
    obstacle = docker.obstacle()
    if engine == "docker" and obstacle:
        raise Failure(f"--engine docker: {obstacle}; start Docker, or use --engine local")
    if engine == "docker":
        return engine, "--engine docker was given"
    if obstacle:
        return "local", f"{obstacle} (force a container with --engine docker)"
    return "docker", "a Docker engine answers (force a local process with --engine local)"


def keep_running(record: dict, options, explicit: Collection[str]) -> None:
    """Check that the server that runs is the one asked for and answers, and start its supervisor if that has ended.

    Raises Failure if it differs in one of the `explicit` settings, or does not answer, also REPAIR seconds after its
    supervisor was started.
    """
    stop = f"stop it first with {name_command('down')}"
    kept = {key: record[key] for key in state.ASKED if key not in explicit}
    for key in list_differences(record, SimpleNamespace(**{**vars(options), **kept})):
        current, wanted = say_flag(key, record[key]), say_flag(key, getattr(options, key))
        raise Failure(f"already up with {current}, and this call has {wanted}; {stop}")
    if options.engine not in ("auto", record["engine"]):
        current, wanted = f"--engine {record['engine']}", f"--engine {options.engine}"
        raise Failure(f"already up with {current}, and this call has {wanted}; {stop}")
    unsupervised = record["engine"] == "local" and not local.supervisors(record["name"])
    if unsupervised:
        local.supervise(record, options.state)
    deadline = time.monotonic() + (REPAIR if unsupervised else 0)
    while True:
        try:
            canaries.send(TritonAPI(record["address"]), record)
            break
        except Failure as failure:
            if time.monotonic() > deadline:
                raise Failure(f"already up, but {end_clause(failure)}; {stop}, then start it again") from None
            time.sleep(0.5)
    change = "its supervisor had ended and runs again" if unsupervised else "nothing was changed"
    say(f"already up and answering; {change}")
    differing = [key for key in list_differences(record, options) if key != "weights" or not record["only"]]
    if others := [say_flag(key, record[key]) for key in differing]:
        say(f"it was started with {', '.join(others)}; for another one {name_command('down')} comes first")
    summary(record)
