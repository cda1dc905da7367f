"""The operating system's own threads, locks, queues, sockets and sleep, also in a process that gevent has patched.

Locust replaces the standard library's by greenlets, of which only one runs at a time and none while a socket of C code
or a computation blocks. The pacer and the workers must not wait for each other, so they take what they need from here:
the originals that gevent keeps where it has patched, the standard library's otherwise. Nothing here imports gevent.
"""

import sys
import threading
from _queue import Empty, SimpleQueue  # the C type, which gevent does not patch; it replaces the name in `queue`
from importlib import import_module
from typing import Any

__all__ = ["Empty", "Lock", "SimpleQueue", "Socket", "getaddrinfo", "import_with_real_locks", "sleep", "start_thread"]


def find_original(module: str, name: str) -> Any:
    """Return the function or type `name` of a standard module as it was before gevent patched it, if it has."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else getattr(import_module(module), name)


start_thread = find_original("_thread", "start_new_thread")  # start_thread(function, arguments)
Lock = find_original("_thread", "allocate_lock")
sleep = find_original("time", "sleep")
Socket = find_original("socket", "socket")
getaddrinfo = find_original("socket", "getaddrinfo")


def import_with_real_locks(name: str) -> None:
    """Import a module so that the locks that it makes meanwhile are the operating system's.

    Threads that wait for gevent's may wait for ever: its release wakes greenlets of its own thread. It has no effect on
    a module that has been imported already.
    """
    patched, threading.Lock = threading.Lock, Lock
    try:
        import_module(name)
    finally:
        threading.Lock = patched
