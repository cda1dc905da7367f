"""The server as a process of this machine: it is started, filled with models, and stopped without leftovers.

Everything it starts inherits CROSSOVER_SERVER=<name> in its environment, and its shared memory has the same name. So
`down` also finds what a killed server left: its stubs and their memory outlive it.
"""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from common.messages import one_line
from serving import ROOT, Failure, environment_folders, model_loader, more_models, smoke_test, wheel
from serving.processes import SERVER, SHM, STUB, kill, processes
from serving.triton_api import TritonAPI, Unreachable

EXIT_TIMEOUT = 5  # seconds that tritonserver waits for requests in flight
DRAIN = 10  # seconds, at most, for a server to answer what it has accepted; less if its SLO is shorter
AT_WORK = {"READY", "UNLOADING"}  # states of a model that may still answer requests
RESTRICTED, MEMORY = ("model-repository", "trace", "logging"), "shared-memory"
STACK = 2**28  # bytes for each thread: Triton 2.51 puts 16 there for every piece in which a body came
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP  # what ends the launcher


UNQUOTED = re.compile(r"[\s|&;<>()$`\\\"']")
"""What no path may have in it that Triton gives its stubs: it starts them by a shell, and quotes nothing."""


class Ended(Failure):
    """tritonserver ended before it was up."""


def check_ports(record: dict) -> None:
    """Raise Failure, which names the port, if the server cannot listen on one of its three ports."""
    host = record["host"]
    for kind in ("http", "grpc", "metrics"):
        port = record[f"{kind}_port"]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as refused:
                why = (refused.strerror or str(refused)).lower()
                raise Failure(f"{host}:{port}: {why}; free it, or give another --{kind}-port or --host") from None


def check_paths(record: dict, state: Path) -> None:
    """Raise Failure, which names the path, if no Python model could be started from there."""
    for path in (state, *record["models"], *([] if record["only"] else [ROOT])):
        if found := UNQUOTED.search(str(path)):
            character = "space" if found[0] == " " else repr(found[0])
            why = f"Triton starts Python models by a shell, and quotes no {character} in a path"
            raise Failure(f"{one_line(path)}: {why}; use a folder without one{' as --state' if path == state else ''}")


def flags(record: dict, repositories: Sequence[Path]) -> list[str]:
    """Return tritonserver's command line, without the program; `repositories` come before those of the record.

    Every user of this machine can read the key to the restricted interfaces in it: the key keeps away requests from the
    network and careless clients, not them.
    """
    host = record["host"]
    return [
        f"--id={record['name']}",
        *(f"--model-repository={folder}" for folder in (*repositories, *record.get("models", []))),
        "--model-control-mode=explicit",
        *([] if completes(record) else ["--disable-auto-complete-config"]),
        f"--http-address={host}",
        f"--grpc-address={host}",
        f"--metrics-address={host}",
        f"--http-port={record['http_port']}",
        f"--grpc-port={record['grpc_port']}",
        f"--metrics-port={record['metrics_port']}",
        f"--http-thread-count={max(2, min(8, len(record['cores'])))}",
        *restrict(record),
        f"--exit-timeout-secs={EXIT_TIMEOUT}",
        f"--backend-config=python,shm-region-prefix-name={record['name']}.",
    ]


def completes(record: dict) -> bool:
    """Return whether Triton shall complete the configurations of its models, for which it starts every stub twice.

    Ours need it not, and strangers' models that are served alone get what Triton does by itself.
    """
    return record.get("only", False) or not more_models.are_complete(record.get("models", []))


def restrict(record: dict) -> list[str]:
    """Return the flags that close parts of the interface to everybody without their key, over HTTP and gRPC.

    Shared memory has a key of its own where it was asked for (--shm), so that a load generator need not have the other.
    It opens system and CUDA shared memory: Triton has one group for both.
    """
    shm_key = record.get("shm_key", "")
    closed = [f"{','.join((*RESTRICTED, *([] if shm_key else [MEMORY])))}:admin-key={record['admin_key']}"]
    closed += [f"{MEMORY}:shm-key={shm_key}"] if shm_key else []
    return [f"--{flag}={each}" for flag in ("http-restricted-api", "grpc-restricted-protocol") for each in closed]


def metrics_address(record: dict) -> str:
    """Return the address (host:port) at which a model of this server finds the server's metrics."""
    host = "127.0.0.1" if record["host"] == "0.0.0.0" else record["host"]
    return f"{host}:{record['metrics_port']}"


def start(program: tuple, record: dict, repositories: Sequence[Path], output) -> subprocess.Popen:
    """Start tritonserver on the record's cores, in a session of its own, without any model.

    `program`: command and environment, of `wheel.tritonserver`; `repositories` are served beside those of the record.
    """
    command, environment = program
    return spawn([*command, *flags(record, repositories)], record, environment, output, prepare)


def spawn(command: list, record: dict, environment: dict, output, prepare=lambda: None) -> subprocess.Popen:
    """Start a process with the record's name, on its cores; `prepare` runs in it before the program.

    The process has the name only once its program runs. Until then signals wait: an exception would leave a process
    that no clean-up finds.
    """

    def become() -> None:
        os.sched_setaffinity(0, record["cores"])
        prepare()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, "CROSSOVER_SERVER": record["name"]},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=become,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare() -> None:
    """Prepare tritonserver's process: room on the stacks of its threads, and SIGCHLD as it is by default.

    With the usual stack of 8 MiB a body of 100 MB that comes in small pieces, as over a container's network, ends the
    server. With SIGCHLD ignored dead stubs would leave no zombies, but tritonserver tries each stub by system(), which
    fails then; it takes the file for one that may not be executed, and sets its mode to 0100, also in a shared
    environment. Where it may not, the model does not load; where it may, its processes can no longer be looked at.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK if hard == resource.RLIM_INFINITY else min(STACK, hard), hard))


def fill(server: subprocess.Popen, record: dict, steps: Path | None, log: Path | None, say=print) -> None:
    """Wait for the server's interface, load the models, and send the smoke test; `say` gets a line per model.

    `steps` is the folder of our models that compute; None where ours are not served. `log` is the server's, if a file.

    Raises Failure with the server's reason, and Ended or Unreachable if it is gone. Another server may have taken the
    port meanwhile: it has another name, and ours is going to end, as it cannot listen.
    """
    api = TritonAPI(record["address"], record["admin_key"])
    while api.server_name() != record["name"]:
        if server.poll() is not None:
            raise Ended(f"tritonserver exited with code {server.returncode}")
        time.sleep(0.1)
    if steps:
        model_loader.load_all(api, record["name"], steps, record["configs"], say)
        try:
            smoke_test.run(api)
        except Unreachable:
            raise
        except Failure as failure:
            raise Failure(f"{failure}; --no-gpu keeps to the CPU") if record["gpu"] else failure from None
        say("  smoke test: image answered a photograph, and audio a sound")
    record["more_models"] = more_models.load(api, record, metrics_address(record), log, say)
    reasons = record["more_models"]
    if not steps and all(reasons.values()):
        model, reason = next(iter(reasons.items()))
        raise Failure(f"none of the {len(reasons)} models is served; {model}: {reason}")
    configs = more_models.read_configs(api, reasons)
    record["more_plan"], record["more_configs"] = more_models.plan(configs), more_models.in_stubs(configs)


def up(record: dict, state: Path, log: Path | None, say) -> subprocess.Popen:
    """Start the server, which writes to `log` (None: to our own output).

    Puts `configs`, and of strangers' models `more_models` (model -> why it is not served, or ""), `more_configs` and
    `more_plan` into the record. `packages` of it, if any, is the folder of the `python3` whose packages the stubs see.

    Returns its process once both ensembles answer. Raises Failure with the end of the log; nothing is left then.
    """
    name = record["name"]
    check_paths(record, state)
    program = wheel.tritonserver(state, record.get("packages", ""))
    check_ports(record)
    steps = None if record["only"] else model_loader.steps(record["weights"], state)
    ours = (steps, model_loader.ENSEMBLES, model_loader.VARIANTS) if steps else ()
    half, metrics = record["weights"] == "fp16", metrics_address(record)
    record["configs"] = model_loader.configurations(steps, record["plan"], metrics, half) if steps else {}
    try:
        if log:
            keep_log(log)
        with log.open("a") if log else contextlib.nullcontext() as output:  # two processes append to it
            server = start(program, record, ours, output)
        fill(server, record, steps, log, say)
    except (Ended, Unreachable) as gone:
        stop(name, patience=1)
        raise Failure(f"{gone}; its log, {log}, ends: {last_error(log)}" if log else gone) from None
    except BaseException:
        stop(name, patience=1)  # nobody's request is in flight yet, and a server that loads does not listen
        raise
    return server


def keep_log(log: Path) -> None:
    """Rename the log of the server before, if there is one, which may say why it died; only the last one is kept.

    Raises Failure if something has its place that is no file: who opens a named pipe waits until somebody reads it.
    """
    if log.is_file():
        log.replace(earlier_log(log))
    elif os.path.lexists(log):
        raise Failure(f"{log} is no file; remove it, or give another --state")


def earlier_log(log: Path) -> Path:
    """Return where the log of the server before is kept."""
    return log.with_name(f"{log.name}.1")


def supervise(record: dict, state: Path) -> None:
    """Start the supervisor of a server that is up: a process on the same cores, which writes to the same log."""
    with (state / "server.log").open("a") as output:
        spawn([sys.executable, "-m", "serving", "supervise", f"--state={state}"], record, dict(os.environ), output)


def last_error(log: Path) -> str:
    """Return the last line of a log that looks like an error, or else its last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["(empty)"]
    return next((line for line in reversed(lines) if re.match(r"[EF]\d{4} |error|ERROR", line)), lines[-1]).strip()


def alive(name: str) -> bool:
    """Return whether the tritonserver of this name runs."""
    return SERVER in processes(name).values()


def supervisors(name: str) -> list[int]:
    """Return the pids of the processes of this name that are neither tritonserver nor a stub."""
    return [pid for pid, program in processes(name).items() if program not in (SERVER, STUB)]


def drain(record: dict) -> None:
    """Refuse new requests from now on, and wait for those in flight as long as the SLO, DRAIN seconds at most.

    After SIGTERM alone tritonserver goes on accepting requests until its exit timeout, as long as any client keeps a
    connection open, and then drops those that are in flight. An ensemble's steps answer until the ensemble is done.
    """
    api = TritonAPI(record["address"], record["admin_key"])
    deadline = time.monotonic() + max(EXIT_TIMEOUT, min(DRAIN, record["slo"] / 1e3 or DRAIN))
    with contextlib.suppress(Failure):
        computing = record.get("more_plan", {})
        served = [model for model, reason in record.get("more_models", {}).items() if not reason]
        ensembles = [model for model in reversed(served) if model not in computing]
        ours = [] if record["only"] else model_loader.names(model_loader.ENSEMBLES)
        for models in ([*ensembles, *ours], [*computing, *record["plan"]]):
            for model in models:
                api.unload(model)
            while time.monotonic() < deadline and any(api.index().get(model) in AT_WORK for model in models):
                time.sleep(0.05)


def stop(name: str, patience: float = EXIT_TIMEOUT + 5) -> bool:
    """End all processes of this name, remove their shared memory and folders; True if there was a process.

    The supervisor is killed first, as this is no crash. The server gets SIGTERM and `patience` seconds; what is left
    then, or has lost its server, is killed.
    """
    for pid in supervisors(name):
        kill(pid, signal.SIGKILL)
    running = processes(name)
    for pid, program in running.items():
        if program == SERVER:
            kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while alive(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    while left := processes(name):
        for pid in left:
            kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for segment in SHM.glob(f"{name}.*"):
        segment.unlink(missing_ok=True)
    environment_folders.remove(name)
    return bool(running)
