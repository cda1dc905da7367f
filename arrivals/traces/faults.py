"""Errors in a trace file; their texts are written behind the file's name."""


class Fault(ValueError):
    """An error of the whole file; the text begins with a space or a colon."""


class LineFault(Fault):
    """An error on one line of the file."""

    def __init__(self, line: int, text: str):
        super().__init__(f", line {line}: {text}")


def cut(text: str) -> str:
    """Return a cell or a name for an error: on one line, control characters escaped, at most 40 characters."""
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:37] + "...")[1:-1]


def quote(text: str) -> str:
    """Return `cut(text)` in quotes."""
    return f"'{cut(text)}'"


def pluralise(n: int, noun: str) -> str:
    """Return "1 arrival", "2 arrivals", "1,000 arrivals"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"
