"""Our programs in processes that have the libraries already: forks of one that imported them, once per test worker.

Importing numpy, scipy, matplotlib or Locust takes a core up to two seconds, and most tests want to see what a program
does afterwards. `Fork` is a Popen whose child is such a fork; from there on the program runs as `python -m` runs it.
What is said of a process's first seconds, and of its signals meanwhile, is tested on processes of their own.
"""

import gc
import json
import os
import runpy
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from common.real_threads import find_original

OURS = ["common", "workloads.image", "workloads.audio", "scipy.stats", "pyarrow.parquet", "PIL.Image"]
OURS += ["preprocess.audio", "preprocess.image_dali"]  # they start no threads, which a fork would lack
PRELOADED = {
    "crossover": [*OURS, "crossover.cli.main", "crossover.report.html", "matplotlib.figure"],
    "locust": ["locust.main", *OURS, "loadgen.locust_plugin.user", "loadgen.locust_plugin.own"],
}
"""Program -> what its parent imports; `crossover` imports its commands, too."""
ROOT = Path(__file__).resolve().parent.parent
MOST = 1 << 20
"""Bytes of a request: arguments and environment."""


@cache
def parent(program: str) -> socket.socket:
    """A process that forks at each request, for as long as this one lives: the socket on which it is asked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in (ours, theirs):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
    command = [sys.executable, "-m", "tests.forks", program, str(theirs.fileno())]
    subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()
    return ours


class Fork(subprocess.Popen):
    """`python -m PROGRAM ARGUMENTS`, or `python -c SCRIPT ARGUMENTS` in a process with PROGRAM's libraries."""

    def __init__(self, program: str, *arguments, script: str = "", **popen):
        self._program, self._script, self._code = program, script, None
        super().__init__([program, *map(str, arguments)], **popen)

    def _execute_child(  # what Popen does between the pipes, which it makes and reads, and waiting
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, restore_signals, *rest,
    ):  # fmt: skip
        assert not (preexec_fn or pass_fds or shell)
        asked = {"args": args, "script": self._script, "cwd": str(cwd or Path.cwd()), "env": dict(env or os.environ)}
        self._ends, there = socket.socketpair()
        streams = [number if given == -1 else given for number, given in enumerate((p2cread, c2pwrite, errwrite))]
        text = json.dumps({**asked, "session": rest[4]}).encode()
        socket.send_fds(parent(self._program), [text], [*streams, there.fileno()])
        there.close()
        self.pid, self._child_created = int(self._ends.recv(20)), True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _try_wait(self, flags: int) -> tuple[int, int]:
        with suppress(BlockingIOError):
            self._ends.setblocking(not flags & os.WNOHANG)
            return self.pid, int(self._ends.recv(20))
        return 0, 0

    def _internal_poll(self, *_, **__) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode


def start(program: str, *arguments, script: str = "", **popen) -> subprocess.Popen:
    """A `Fork`, with its output in one pipe; a process of its own where coverage or `preexec_fn` asks for one."""
    streams = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **popen}
    if popen.get("preexec_fn") or any(name.startswith("COVERAGE") for name in os.environ):
        given = [sys.executable, *(["-c", script] if script else ["-m", program]), *map(str, arguments)]
        return subprocess.Popen(given, **streams)
    return Fork(program, *arguments, script=script, **streams)


def run(program: str, *arguments, timeout: float = 300, **popen) -> subprocess.CompletedProcess:
    """The same to its end, with output and errors apart."""
    with start(program, *arguments, **{"stderr": subprocess.PIPE, **popen}) as process:
        output, errors = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


# what follows runs in the parent, and in the forks; gevent's fork, waitpid and close want its event loop to run


def main(program: str, channel: int) -> None:
    """Import what the program needs, and fork at each request; in a fork, run it."""
    for name in PRELOADED[program]:
        import_module(name)
    if program == "crossover":
        for section in import_module("crossover.cli.main").COMMANDS.values():
            for entry in section.values():
                import_module(entry.place.partition(":")[0])
    gc.freeze()  # a fork's collections leave alone what it shares with its parent
    asked = serve(channel)
    sys.argv = asked["args"]
    if asked["script"]:
        sys.argv[0] = "-c"
        exec(compile(asked["script"], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def serve(channel: int) -> dict:
    """Fork at each request until the tests have ended; returns, in each fork, what it was asked for."""
    fork, waitpid, close = (find_original("os", name) for name in ("fork", "waitpid", "close"))
    while True:
        text, files, *_ = socket.recv_fds(open_socket(channel), MOST, 4)
        if not text:
            os._exit(0)
        if not fork():
            break
        for each in files:
            close(each)
        with suppress(ChildProcessError):
            while waitpid(-1, os.WNOHANG)[0]:
                pass
    close(channel)
    asked, (*streams, ends) = json.loads(text), files
    if child := fork():  # this one only waits for the other, and tells
        for each in (0, 1, 2, *streams):
            close(each)
        told = open_socket(ends)
        told.send(str(child).encode())
        status = waitpid(child, 0)[1]
        with suppress(OSError):
            told.send(str(status).encode())
        os._exit(0)
    close(ends)
    for number, each in enumerate(streams):
        os.dup2(each, number)
        close(each)
    if gevent := sys.modules.get("gevent"):
        gevent.reinit()
    if asked["session"]:
        os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    return asked


@cache
def open_socket(number: int) -> socket.socket:
    """The socket of a file's number, as it is without gevent."""
    return find_original("socket", "socket")(fileno=number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
