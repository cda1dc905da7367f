"""How Ctrl-C, SIGTERM (`timeout`, `docker stop`, CI) and SIGHUP (a closed terminal) end a run: all three alike.

The first signal raises KeyboardInterrupt, so that a measurement can write down what it has. A second one, TOGETHER
seconds later or more, cuts that short.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOGETHER = 1.0
"""Seconds within which several signals are one request to end: `timeout` signals its child and then its group, and
Locust its workers once more."""

_received = 0
_last = float("-inf")
_deferred = 0  # how many blocks of `defer_interrupts` the process is in
_waiting = False


def install(stop: Callable[[int], None] | None = None) -> None:
    """Install the handler in this process, except for signals that it was started to ignore, as by `nohup`.

    `stop(count)` replaces the KeyboardInterrupt; it is called with the number of the request, which begins at 1.
    """
    global _stop
    _stop = stop or raise_interrupt
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def raise_interrupt(count: int) -> None:
    """Raise KeyboardInterrupt, whatever the number of the request."""
    raise KeyboardInterrupt


_stop = raise_interrupt


def handle(number: int, frame: object) -> None:
    """Handle one of SIGNALS: count it as a request to end, unless it belongs to the last one, and stop."""
    global _received, _last, _waiting
    now = time.monotonic()
    if now - _last < TOGETHER:
        return
    _last, _received = now, _received + 1
    if _deferred and _received == 1:
        _waiting = True
        return
    _stop(_received)


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
