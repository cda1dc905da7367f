"""Servers for the length of a `with` block: on free ports, with nothing of them left afterwards."""

import contextlib
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from serving import ROOT, Failure, environment_folders, local, state, wheel
from serving.ports import PORTS, free_ports
from serving.server import Server, Unavailable

UNBOUNDED = "0"  # ms: a server that refuses what takes long would hide how long that takes


@contextlib.contextmanager
def temporary_server(
    directory: Path,
    weights: str,
    engine: str = "local",
    cores: str = "",
    host: str = "127.0.0.1",
    slo: str = "",
    flags: Sequence[str] = (),
) -> Iterator[Server]:
    """Start the launcher's server with all models, and run `down` when the block ends, however it ends.

    `directory` is its state directory, in which the log stays; the other arguments are flags of `crossover up`, and
    `flags` more of them.
    Networks that are missing are not exported. What a killed run left there is cleared first. SIGTERM and SIGHUP end
    the block, as Ctrl-C does; a second one does not keep the server from being stopped. Raises Unavailable with the
    launcher's last line if it does not come up.
    """
    launcher, state_flag = [sys.executable, "-m", "crossover"], ["--state", str(directory)]
    with heed_sigterm():
        stop([*launcher, "down", *state_flag])
        try:
            ports = dict(zip(PORTS, free_ports(), strict=True))
            optional = {name: value for name, value in (("cores", cores), ("slo", slo)) if value}
            given = {**{f"{kind}-port": str(port) for kind, port in ports.items()}, **optional}
            more = [*(word for name, value in given.items() for word in (f"--{name}", value)), *flags]
            up = [*launcher, "up", *state_flag, "--weights", weights, "--engine", engine, "--host", host]
            # What an export prints would not be seen, and it takes minutes.
            up += ["--no-export", *more]
            done = subprocess.run(up, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unavailable((done.stderr.strip().splitlines() or ["the server did not start"])[-1])
            yield Server.at(f"http://127.0.0.1:{ports['http']}", directory)
        finally:
            stop([*launcher, "down", *state_flag])


def stop(down: list[str]) -> None:
    """Run `down` in a session of its own and wait for its end: an interrupted one would leave half a server."""
    quiet = subprocess.DEVNULL
    stopping = subprocess.Popen(down, cwd=ROOT, stdout=quiet, stderr=quiet, start_new_session=True)
    while stopping.returncode is None:
        with contextlib.suppress(KeyboardInterrupt):
            stopping.wait()


@contextlib.contextmanager
def temporary_triton(models: dict[str, tuple[Path, Path]], cores: list[int], shm: bool = False) -> Iterator[Server]:
    """Start a tritonserver with other models than ours, on these cores, and end it when the block ends.

    `models`: name -> (its config.pbtxt, its code, a `model.py` or a `dali.py`, which becomes version 1). There is no
    supervisor. `shm`: as `crossover up --shm`.
    Raises Failure with the last error of its log, or with the server's words on a model.
    """
    with heed_sigterm(), tempfile.TemporaryDirectory(prefix="crossover-") as directory:
        folder, log = Path(directory), Path(directory) / "log"
        record: dict = {f"{kind}_port": port for kind, port in zip(PORTS, free_ports(), strict=True)}
        record |= {"name": state.name(folder), "host": "127.0.0.1", "cores": cores, "admin_key": secrets.token_hex()}
        record["shm_key"] = secrets.token_hex() if shm else ""
        server = Server(f"http://127.0.0.1:{record['http_port']}", record)
        try:
            with log.open("w") as output:
                repository = link_models(models, folder / "models")
                process = local.start(wheel.tritonserver(folder), record, [repository], output)
            while not server.api.is_live():
                if process.poll() is not None:
                    raise Failure(f"the server exited with code {process.returncode}: {local.last_error(log)}")
                time.sleep(0.1)
            for model in models:
                with environment_folders.claim(record["name"]):
                    server.admin_api.load(model, None)
            yield Server(server.url, {**record, "pid": process.pid})
        finally:
            local.stop(record["name"], patience=1)


def link_models(models: dict[str, tuple[Path, Path]], repository: Path) -> Path:
    """Make a model repository of links to these files, and return its path."""
    repository.mkdir()
    for name, (config, code) in models.items():
        version = repository / name / "1"
        version.mkdir(parents=True)
        (version / code.name).symlink_to(code)
        (version.parent / "config.pbtxt").symlink_to(config)
    return repository


@contextlib.contextmanager
def heed_sigterm() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP, so that what this process started is cleared before it ends.

    Signals that have a handler of the program's own, or that it was started to ignore, are left alone; so are all of
    them outside the main thread, where Python allows no handler.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(number: int, frame: object) -> None:
    """Raise KeyboardInterrupt, as the handler of a signal."""
    raise KeyboardInterrupt
