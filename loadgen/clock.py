"""Waking a thread at an absolute instant of the monotonic clock, to a tenth of a millisecond."""

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable

from common.real_threads import sleep  # gevent's would wake a greenlet, at the event loop's next millisecond

PR_SET_TIMERSLACK = 29  # prctl(2)
NAP = 0.1  # seconds: the longest that a sleep goes on after `over` has become true


def prioritise_thread() -> None:
    """Let the kernel wake the calling thread on time.

    The kernel then wakes it without its usual 50 us of timer slack (PR_SET_TIMERSLACK of prctl(2)). Where the process
    may (root, CAP_SYS_NICE, an rtprio limit), it also wakes before other threads of its core (SCHED_FIFO of sched(7)).
    Threads that it starts do not inherit the priority. On other systems than Linux nothing happens.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def sleep_until(ns: int, over: Callable[[], bool] = lambda: False) -> bool:
    """Sleep until the instant `ns` of time.monotonic_ns, never less; return True at once if it has passed.

    Return False as soon as `over()` is true, which is asked every NAP seconds.
    """
    while not over():
        wait = ns - time.monotonic_ns()
        if wait <= 0:
            return True
        sleep(min(wait / 1e9, NAP))
    return False
