"""How Ctrl-C, SIGTERM (`timeout`, `docker stop`, CI) and SIGHUP (a closed terminal) end a run: all three alike.

The first one raises KeyboardInterrupt, so that whoever measures can write down what there is. A second one, TOGETHER
seconds later or more, cuts that short.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOGETHER = 1.0  # seconds: `timeout` signals its child and then its group, and Locust its workers once more: one request

_received = 0
_last = float("-inf")
_held = 0
_waiting = False


def heed(stop: Callable[[int], None] | None = None) -> None:
    """Install the handler in this process, except for signals that it was started to ignore, as by `nohup`.

    `stop(count)` replaces the KeyboardInterrupt; it gets the number of the request, from 1.
    """
    global _stop
    _stop = stop or interrupt
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def interrupt(count: int) -> None:
    raise KeyboardInterrupt


_stop = interrupt


def handle(number: int, frame: object) -> None:
    """The handler of all SIGNALS."""
    global _received, _last, _waiting
    now = time.monotonic()
    if now - _last < TOGETHER:
        return
    _last, _received = now, _received + 1
    if _held and _received == 1:
        _waiting = True
        return
    _stop(_received)


@contextmanager
def held() -> Iterator[None]:
    """Finish what is written in here: a first request to end waits until then, a second one cuts it short."""
    global _held, _waiting
    _held += 1
    try:
        yield
    finally:
        _held -= 1
        if not _held and _waiting:
            _waiting = False
            _stop(_received)
