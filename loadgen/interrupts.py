"""How Ctrl-C, SIGTERM (`timeout`, `docker stop`, CI) and SIGHUP (a closed terminal) end a run: all three alike.

The first signal raises KeyboardInterrupt, so that a measurement can write down what it has. A second one, TOGETHER
seconds later or more, cuts that short.
"""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from common import real_threads

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOGETHER = 1.0
"""Seconds within which several signals are one request to end: `timeout` signals its child and then its group, and
Locust its workers once more."""
PATIENCE = 2.0
"""Seconds for which a request to end waits for the end of an import."""

_received = 0
_last = float("-inf")
_deferred = 0  # how many blocks of `defer_interrupts` the process is in
_waiting = False
_lost = False
_collecting = False


def install(stop: Callable[[int], None] | None = None) -> None:
    """Install the handler in this process, except for signals that it was started to ignore, as by `nohup`.

    `stop(count)` replaces the KeyboardInterrupt; it is called with the number of the request, which begins at 1.
    """
    global _stop
    _stop = stop or raise_interrupt
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)
    sys.unraisablehook = raise_again
    if note_collection not in gc.callbacks:
        gc.callbacks.append(note_collection)
        # A fork copies one thread: another one's collection does not end in the child.
        os.register_at_fork(after_in_child=lambda: note_collection("stop", {}))


def raise_interrupt(count: int) -> None:
    """Raise KeyboardInterrupt, whatever the number of the request."""
    raise KeyboardInterrupt


_stop = raise_interrupt


def handle(number: int, frame: FrameType | None) -> None:
    """Handle one of SIGNALS: count it as a request to end, unless it belongs to the last one, and stop."""
    global _received, _last, _waiting, _lost
    now = time.monotonic()
    if _lost:
        if would_lose(frame, now - _last):
            return
        _lost = False
        if _deferred:
            _waiting = True
        else:
            _stop(_received)
        return
    if now - _last < TOGETHER:
        return
    _last, _received = now, _received + 1
    if would_lose(frame, 0):
        call_again()
        return
    if _deferred and _received == 1:
        _waiting = True
        return
    _stop(_received)


def would_lose(frame: FrameType | None, waited: float) -> bool:
    """Return whether an exception raised in this frame may be lost; `waited` is how long it has waited, in seconds.

    What runs while garbage is collected drops it. What imports a module may make an ImportError of KeyboardInterrupt,
    as numpy's import_array() does; an import that lasts longer than PATIENCE stands still.
    """
    if _collecting or (frame is not None and frame.f_code is note_collection.__code__):
        return True
    while _stop is raise_interrupt and frame is not None and waited < PATIENCE:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def raise_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raise once more what a request to end has raised and Python has dropped, as it drops whatever a `__del__` raises.

    DALI takes long to delete a pipeline, so that many a Ctrl-C comes just then. Other exceptions are shown as usual.
    """
    if issubclass(unraisable.exc_type, (KeyboardInterrupt, SystemExit) if _received else KeyboardInterrupt):
        call_again()
    else:
        sys.__unraisablehook__(unraisable)


def note_collection(phase: str, info: dict) -> None:
    """Note that the garbage collector begins or ends, as one of `gc.callbacks`: `handle` raises nothing meanwhile.

    What is deleted may run Python code, and CPython drops what that raises, often without telling sys.unraisablehook:
    so do `sock_finalize` of Modules/socketmodule.c and `iobase_finalize` of Modules/_io/iobase.c.
    """
    global _collecting
    _collecting = phase == "start"


def call_again() -> None:
    """Let `handle` be called once more, a moment later, for a request to end that could not be carried out."""
    global _lost
    _lost = True
    real_threads.start_thread(signal_again, ())


def signal_again() -> None:
    """Send this process a signal of the handler's every 0.05 s until `handle` has carried the request out.

    Where no handler is installed there is nothing to send, and nothing was dropped.
    """
    handled = [number for number in SIGNALS if signal.getsignal(number) is handle]
    while _lost and handled:
        real_threads.sleep(0.05)
        os.kill(os.getpid(), handled[0])  # the main thread gets it, also in a system call, which it ends


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Let the body finish: a first request to end is carried out behind it; a second one cuts the body short."""
    global _deferred, _waiting
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1
        if not _deferred and _waiting:
            _waiting = False
            _stop(_received)
