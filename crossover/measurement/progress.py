"""How far it is, how long it will take, what it looks like so far: one line that is written over, or a log's lines."""

import sys
import time


class Progress:
    def __init__(self, stream=None):
        self._stream = stream or sys.stdout
        self._over = self._stream.isatty()
        self._wide = 0

    def begin(self, blocks: int, done: int, seconds: float) -> None:
        """`done` of so many blocks, of about so many seconds each, are there already."""
        self._blocks, self._done, self._seconds, self._told = blocks, done, seconds, ""
        self._began, self._measured = time.monotonic(), 0

    def now(self, what: str) -> None:
        """Before each block."""
        if self._measured:
            self._seconds = (time.monotonic() - self._began) / self._measured
        left = (self._blocks - self._done) * self._seconds
        filled = 20 * self._done // self._blocks
        bar = "#" * filled + "." * (20 - filled)
        self._show(f"[{bar}] {self._done}/{self._blocks}  {left:.0f} s left  {what}  {self._told}".rstrip())
        self._done, self._measured = self._done + 1, self._measured + 1

    def tell(self, estimate: str) -> None:
        """Of what is measured so far, shown from now on."""
        self._told = estimate

    def say(self, line: str) -> None:
        """A line that stays."""
        self.end()
        print(f"  {line}", file=self._stream, flush=True)

    def end(self) -> None:
        if self._wide:
            print(file=self._stream, flush=True)
        self._wide = 0

    def _show(self, line: str) -> None:
        if self._over:
            print("\r" + line.ljust(self._wide), end="", file=self._stream, flush=True)
            self._wide = len(line)
        else:
            print("  " + line, file=self._stream, flush=True)
