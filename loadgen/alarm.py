"""Wakes one greenlet at an absolute instant, to a tenth of a millisecond.

`gevent.sleep` rounds up to the event loop's milliseconds. Linux's timerfd, waited for through the same event
loop, does not: see timerfd_create(2). Where there is none (not Linux), gevent.sleep has to do.
"""

import ctypes
import os
import sys
import time

import gevent
from gevent.socket import wait_read

TFD_NONBLOCK, TFD_CLOEXEC, TFD_TIMER_ABSTIME = os.O_NONBLOCK, os.O_CLOEXEC, 1


class Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Timer(ctypes.Structure):
    _fields_ = (("interval", Timespec), ("value", Timespec))


class Alarm:
    """`until(ns)` returns when the monotonic clock (time.monotonic_ns) shows `ns`, never before."""

    def __init__(self):
        self._fd = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)

    def until(self, ns: int) -> None:
        while (wait := ns - time.monotonic_ns()) > 0:
            if self._fd < 0:
                gevent.sleep(wait / 1e9)
                continue
            timer = Timer(Timespec(0, 0), Timespec(*divmod(ns, 10**9)))
            if self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(timer), None):
                raise OSError(ctypes.get_errno(), "timerfd_settime failed")
            wait_read(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
