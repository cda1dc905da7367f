"""The gateways of a run: processes that stand between clients and server while it is measured, and end with it.

Each workload whose --arms name `gateway` has one. It runs on the server's cores, unless --gateway-cores names others,
and its CPU is counted with the server's (`Trial.server_cpu`); how much of it is the gateway's stands beside it.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import IO

from common.access import find as find_access
from common.address import parse
from common.messages import first_line
from serving import ROOT, thread_plan
from serving.server import Server, Unavailable
from workloads import flags
from workloads.placement import Gateway
from workloads.workload import Workload

PATIENCE = 60.0  # seconds for a gateway's port: it imports libraries and builds a graph for each core


@dataclass
class Process:
    """A gateway that was started."""

    workload: Workload
    child: subprocess.Popen
    errors: IO[bytes]
    """What it has said on standard error."""
    port: int = 0

    def end(self) -> None:
        """End it, wait for its end, and close what it has written to."""
        self.child.kill()
        with self.child, self.errors:
            pass


class Gateways:
    """Starts the gateways that placements need; `stop` ends them.

    `options` are a command's; `say` gets a line for each that is started. Raises ValueError for --gateway-cores that
    are no cores of this process.
    """

    def __init__(self, server: Server, options: Namespace, say: Callable[[str], object] = print):
        self.server, self.library, self.say = server, options.library, say
        self.own = parse_cores(getattr(options, "gateway_cores", ""))
        """Those of --gateway-cores; empty without it."""
        self.running: dict[str, Process] = {}
        """By the workload's name."""

    @property
    def cores(self) -> list[int]:
        """The numbers of the cores that they run on; empty if those of the server are not known."""
        return self.own or self.server.cores

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of all gateways."""
        return tuple(each.child.pid for each in self.running.values())

    def start(self, workload: Workload, names: Iterable[str]) -> Workload:
        """Start the gateway of a workload if one of these placements needs it. Returns the workload with its address.

        Raises ValueError, in one line, if no cores are known, and Unavailable if it does not start.
        """
        needing = [name for name in names if workload.placements[name].gateway]
        if not needing:
            return workload
        if not self.cores:
            unknown = f"runs on the server's cores, and those of {self.server.url} are not known"
            raise ValueError(f"{workload.describe_placement(needing[0])} {unknown}; name some by --gateway-cores")
        if workload.name not in self.running:
            self.running[workload.name] = self._launch(workload, 0)
            listed = ", ".join(map(str, self.cores))
            self.say(f"{workload.name}: a gateway until the end of this run, on cores {listed}")
        gateway = Gateway(f"http://127.0.0.1:{self.running[workload.name].port}")
        changed = {name: replace(workload.placements[name], gateway=gateway) for name in needing}
        return replace(workload, placements={**workload.placements, **changed})

    def restore(self, server: Server) -> Server:
        """Start those again that have died, at the same ports. Returns the server that knows them.

        Raises Unavailable if one does not start any more.
        """
        self.server = server
        for name, process in self.running.items():
            if (code := process.child.poll()) is not None:
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                self.say(f"{name}: the gateway has died ({how}{read_last(process.errors)}); another one takes its port")
                process.end()
                self.running[name] = self._launch(process.workload, process.port)
        apart = not set(self.cores) & set(server.cores)
        return replace(server, gateways=self.pids, gateways_apart=apart) if self.running else server

    def stop(self) -> None:
        """End all gateways, and wait for their end."""
        for process in self.running.values():
            process.end()
        self.running = {}

    def _launch(self, workload: Workload, port: int) -> Process:
        """Start a gateway, and wait until it listens. Raises Unavailable with the last line that it said."""
        access = find_access(parse(self.server.url))
        asked = {
            "parent": os.getpid(),
            "cores": self.cores,
            "url": self.server.url,
            "access": [access.ca_file, access.insecure, bool(access.authorization)],  # the login is the environment's
            "workload": workload.file or workload.name,
            "library": flags.choose_library(self.library, workload),
            "port": port,
        }
        command = [sys.executable, "-m", "crossover.measurement.gateway_process", json.dumps(asked)]
        errors = tempfile.TemporaryFile()  # noqa: SIM115 -- the process holds it to its end
        # In a session of its own, so that Ctrl-C ends it no sooner than the run.
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        assert child.stdout
        try:
            ready, _, _ = select.select([child.stdout], [], [], PATIENCE)
            line = child.stdout.readline() if ready else b""
            if not line:
                why = read_last(errors) if ready else f": it said nothing for {PATIENCE:g} s"
                raise Unavailable(f"the gateway of {workload.reference} does not start{why}")
        except BaseException:
            child.kill()
            child.wait()
            raise
        return Process(workload, child, errors, int(line))


def read_last(errors: IO[bytes]) -> str:
    """Return ": " and the last line of a file; empty if there is none."""
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return f": {first_line(lines[-1])}" if lines else ""


def parse_cores(text: str) -> list[int]:
    """Return the cores of --gateway-cores; none if it is empty. Raises ValueError for others than this process's."""
    try:
        return thread_plan.server_cores(text) if text else []
    except ValueError as error:
        raise ValueError(str(error).replace("--cores", "--gateway-cores", 1)) from None
