"""The server as a process of this machine: started, filled, stopped, and nothing of it left behind.

Everything it starts inherits CROSSOVER_SERVER=<name> in its environment, and its shared memory bears the same name:
so `down` also finds what a killed server left (its stubs outlive it, and so does their memory).
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
from pathlib import Path

from serving import ROOT, Failure, model_loader, smoke_test, wheel
from serving.processes import SERVER, SHM, STUB, kill, processes
from serving.triton_api import Rest, Unreachable

EXIT_TIMEOUT = 5  # seconds that tritonserver waits for requests in flight
DRAIN = 10  # seconds at most that a server is given to answer what it has accepted; less if its SLO is shorter
RESTRICTED = "model-repository,shared-memory,trace,logging"
STACK = 2**28  # bytes of each thread's: Triton 2.51 puts 16 there for every piece in which a body came
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP  # what ends the launcher


def check_ports(record: dict) -> None:
    host = record["host"]
    for kind in ("http", "grpc", "metrics"):
        port = record[f"{kind}_port"]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as refused:
                why = refused.strerror.lower()
                raise Failure(f"{host}:{port}: {why}; free it, or give another --{kind}-port or --host") from None


def flags(record: dict, steps: Path) -> list[str]:
    """What tritonserver is told.

    The key to the restricted interfaces can be read here by every user of this machine: it keeps away requests from
    the network and careless clients, not them.
    """
    host, key = record["host"], record["admin_key"]
    return [
        f"--id={record['name']}",
        f"--model-repository={steps}",
        f"--model-repository={model_loader.ENSEMBLES}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",  # which starts every stub twice; the configurations are complete
        f"--http-address={host}",
        f"--grpc-address={host}",
        f"--metrics-address={host}",
        f"--http-port={record['http_port']}",
        f"--grpc-port={record['grpc_port']}",
        f"--metrics-port={record['metrics_port']}",
        f"--http-thread-count={max(2, min(8, len(record['cores'])))}",
        f"--http-restricted-api={RESTRICTED}:admin-key={key}",
        f"--grpc-restricted-protocol={RESTRICTED}:admin-key={key}",
        f"--exit-timeout-secs={EXIT_TIMEOUT}",
        f"--backend-config=python,shm-region-prefix-name={record['name']}.",
    ]


def metrics(record: dict) -> str:
    """Where a model of this server finds its metrics."""
    host = "127.0.0.1" if record["host"] == "0.0.0.0" else record["host"]
    return f"{host}:{record['metrics_port']}"


def start(program: tuple, record: dict, steps: Path, output) -> subprocess.Popen:
    """Start tritonserver on the record's cores, out of reach of the terminal's Ctrl-C. No model is loaded yet."""
    command, environment = program
    return spawn([*command, *flags(record, steps)], record, environment, output, prepare)


def spawn(command: list, record: dict, environment: dict, output, prepare=lambda: None) -> subprocess.Popen:
    """Start a process that bears the record's name and runs on its cores; `prepare` runs in it before the program.

    The process bears its name only once its program runs. Until then signals wait: an exception would leave a process
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


def fill(server: subprocess.Popen, record: dict, steps: Path, say=print) -> None:
    """Waits for the server's interface, loads the models and sends the canary.

    Raises Failure with the server's reason, or with Unreachable if it is gone. Another server that took the port
    meanwhile bears another name: ours is going to end then, as it cannot listen.
    """
    rest = Rest(record["address"], record["admin_key"])
    while rest.identity() != record["name"]:
        if server.poll() is not None:
            raise Unreachable(f"tritonserver exited with code {server.returncode}")
        time.sleep(0.1)
    model_loader.load_all(rest, record["name"], steps, record["configs"], say)
    smoke_test.sing(rest)
    say("  canary: a photograph through image and a sound through audio, both answered")


def up(record: dict, state: Path, log: Path | None, say) -> subprocess.Popen:
    """Start the server, which writes to `log` (None: to our own output), with `configs` put into the record.

    If it cannot come up, nothing is left.
    """
    name = record["name"]
    program = wheel.tritonserver(state)
    check_ports(record)
    steps = model_loader.steps(record["weights"], state)
    record["configs"] = model_loader.configurations(steps, record["plan"], metrics(record))
    try:
        if log:
            log.unlink(missing_ok=True)
        with log.open("a") if log else contextlib.nullcontext() as output:  # two processes append to it
            server = start(program, record, steps, output)
        fill(server, record, steps, say)
    except Unreachable as gone:
        stop(name, patience=1)
        raise Failure(f"{gone}; its log, {log}, ends: {last_error(log)}" if log else gone) from None
    except BaseException:
        stop(name, patience=1)  # nobody's request is in flight yet, and a server that loads does not listen
        raise
    return server


def supervise(record: dict, state: Path) -> None:
    """Start the supervisor of a server that is up: a process beside it, on its cores, that writes to its log."""
    with (state / "server.log").open("a") as output:
        spawn([sys.executable, "-m", "serving", "supervise", f"--state={state}"], record, dict(os.environ), output)


def last_error(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["(empty)"]
    return next((line for line in reversed(lines) if re.match(r"[EF]\d{4} |error|ERROR", line)), lines[-1]).strip()


def alive(name: str) -> bool:
    return SERVER in processes(name).values()


def supervisors(name: str) -> list[int]:
    return [pid for pid, program in processes(name).items() if program not in (SERVER, STUB)]


def drain(record: dict) -> None:
    """Refuses new requests from now on and waits for those in flight, as long as the SLO, DRAIN seconds at most.

    After SIGTERM alone tritonserver goes on accepting requests until its exit timeout, as long as any client keeps a
    connection open, and then drops those that are in flight. An ensemble's steps answer until the ensemble is done.
    """
    rest = Rest(record["address"], record["admin_key"])
    deadline = time.monotonic() + max(EXIT_TIMEOUT, min(DRAIN, record["slo"] / 1e3 or DRAIN))
    with contextlib.suppress(Failure):
        for models in (model_loader.names(model_loader.ENSEMBLES), record["plan"]):
            for model in models:
                rest.unload(model)
            while time.monotonic() < deadline and {rest.index().get(model) for model in models} & {
                "READY",
                "UNLOADING",
            }:
                time.sleep(0.05)


def stop(name: str, patience: float = EXIT_TIMEOUT + 5) -> bool:
    """Ends the server and all that bears its name, stubs and shared memory included; True if there was a process.

    The supervisor goes first, at once: this is no crash. The server gets SIGTERM and its exit timeout; whatever is left
    then, or has lost its server, is killed.
    """
    for pid in supervisors(name):
        kill(pid, signal.SIGKILL)
    found = processes(name)
    for pid, program in found.items():
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
    return bool(found)
