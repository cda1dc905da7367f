"""Checks that end badly, each in its own way, as `gpu-check` runs them: in processes of their own."""

import os
import signal
import sys
import time

from crossover.gpu_check.finding import ok


def finish(text="well"):
    yield ok("check", text, figure=1.5)


def raise_error():
    yield ok("check", "begun")
    raise RuntimeError("cuDNN says\nno, at 0x7f0000")


def import_missing():
    yield ok("check", "begun")
    import no_such_library  # noqa: F401


def run_out_of_memory():
    yield ok("check", "begun")
    raise RuntimeError("CUDA failure 2: out of memory; GPU=0")


def crash():
    yield ok("check", "begun")
    os.kill(os.getpid(), signal.SIGSEGV)


def leave():
    yield ok("check", "begun")
    sys.stderr.write("terminate called: the driver went away\n")
    sys.stderr.flush()
    os._exit(3)


def hang():
    yield ok("check", "begun")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    time.sleep(600)


def chatter():
    print("a library's own words on standard output")
    os.write(1, b'{"name": "not a finding"}\n')
    yield ok("check", "well")
