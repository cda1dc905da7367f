"""What a command prints, whether or not anybody goes on reading it."""

import os


class Output:
    """A text stream that drops what is written once its reader has gone, as in `... | head`.

    So a measurement goes on to its end and its report, whether or not anything reads what it prints.
    """

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write the text, or drop it. Return its length in characters."""
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self.drop()
            return len(text)

    def flush(self) -> None:
        """Flush the stream, unless its reader has gone."""
        try:
            self.stream.flush()
        except BrokenPipeError:
            self.drop()

    def drop(self) -> None:
        """Send everything from now on, and what is still buffered, to /dev/null."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
