"""Prints one line per phase of a long command: its name, its seconds, its result."""

import time
from contextlib import contextmanager


@contextmanager
def phase(what):
    """Print `what`, run the block, then print its result and the seconds it took on the same line.

    The block gets a function that sets the text of the result.
    """
    began = time.monotonic()
    result: list[str] = []
    print(f"{what:<52}", end="", flush=True)
    try:
        yield result.append
    except BaseException:
        print(flush=True)
        raise
    print(f"{time.monotonic() - began:6.1f} s  {''.join(result)}".rstrip(), flush=True)
